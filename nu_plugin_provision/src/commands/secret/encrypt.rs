//! Owns `provision secret encrypt`: a value as ciphertext, on the pipeline or in a file of the project.

use crate::ProvisionPlugin;
use crate::open::project_flag;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_engine::Audience;
use provision_nu_bridge::{labeled, to_json};

pub struct SecretEncrypt;

impl PluginCommand for SecretEncrypt {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision secret encrypt"
    }

    fn description(&self) -> &str {
        "Encrypt a value with age: to text, or into a file of the project."
    }

    fn extra_description(&self) -> &str {
        "With NAME it becomes secrets/NAME.age, in the place of what is there, and a record is given; without it the\n\
        ciphertext is. Either is safe to commit. Any data is taken, records and lists too, and comes back as it was.\n\
        --passphrase takes the passphrase of $env.PROVISION_AGE_PASSPHRASE and no recipients."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "age", "sops", "password", "seal", "cipher"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("name", SyntaxShape::String, "Name of the secret; `/` makes folders.")
            .switch("passphrase", "Encrypt with a passphrase instead of to recipients.", Some('p'))
            .input_output_types(vec![(Type::Any, Type::Any)])
            .category(super::category());
        let what = "Encrypt to this public key, or to each of a list, instead of to the project's recipients.";
        project_flag(super::recipient_flag(signature, what))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "input --suppress-output | provision secret encrypt db",
                description: "Ask for a password and keep it",
                result: None,
            },
            Example {
                example: "{ user: app, password: (random chars --length 32) } | provision secret encrypt app/db",
                description: "Keep a record with a password that nobody has seen",
                result: None,
            },
            Example {
                example: "'hello' | provision secret encrypt --recipient (open ~/.ssh/bob.pub) | save for-bob.age",
                description: "Encrypt something for one person",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let secrets = super::secrets(engine, call)?;
        let name: Option<Spanned<String>> = call.opt(0)?;
        let keys = super::given_recipients(call)?;
        let passphrase = call.has_flag("passphrase")?;
        if let (Some(keys), true) = (&keys, passphrase) {
            let failure = Failure::new(Code::SecretRecipient, "a passphrase and recipients exclude each other")
                .with_help("Leave out --passphrase or --recipient.");
            return Err(labeled(&failure, keys.span, "given beside --passphrase"));
        }
        let value = input.into_value(call.head)?;
        if value.is_nothing() {
            let failure = Failure::new(Code::SecretMalformed, "there is nothing to encrypt")
                .with_help("Put a value on the pipeline: `input --suppress-output | provision secret encrypt db`.");
            return Err(labeled(&failure, call.head, "nothing comes in here"));
        }
        let json = to_json(&value)?;
        let audience = match &keys {
            _ if passphrase => Audience::Passphrase,
            Some(keys) => Audience::Keys(&keys.item),
            None => Audience::Project,
        };
        let span = keys.as_ref().map_or(call.head, |keys| keys.span);
        let raised = |failure: Failure, span| labeled(&failure, span, "while encrypting the value");
        let out = match &name {
            Some(name) => {
                let span = if keys.is_some() { span } else { name.span };
                let written = secrets.put(&name.item, &json, audience).map_err(|failure| raised(failure, span))?;
                super::value(&written, call.head, &[])
            }
            None => {
                let text = secrets.encrypt(&json, audience).map_err(|failure| raised(failure, span))?;
                Value::string(text, call.head)
            }
        };
        Ok(PipelineData::value(out, None))
    }
}
