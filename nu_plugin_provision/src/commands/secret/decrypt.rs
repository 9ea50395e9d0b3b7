//! Owns `provision secret decrypt`: the value of a secret of the project, or of ciphertext on the pipeline.

use crate::ProvisionPlugin;
use crate::open::project_flag;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_engine::Secrets;
use provision_nu_bridge::{from_json, labeled};

pub struct SecretDecrypt;

impl PluginCommand for SecretDecrypt {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision secret decrypt"
    }

    fn description(&self) -> &str {
        "Decrypt a secret of the project, or ciphertext on the pipeline, to the value it was."
    }

    fn extra_description(&self) -> &str {
        "Opened with the identity of $env.PROVISION_AGE_IDENTITY (an age secret key, or the path of an age or SSH one),\n\
        else with that of your configuration folder; what has a passphrase with $env.PROVISION_AGE_PASSPHRASE."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "age", "sops", "password", "reveal"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("name", SyntaxShape::String, "Name of the secret; ciphertext on the pipeline by default.")
            .named("field", SyntaxShape::String, "Give the field at this dotted path.", Some('f'))
            .input_output_types(vec![
                (Type::Nothing, Type::Any),
                (Type::String, Type::Any),
                (Type::Binary, Type::Any),
                (Type::Any, Type::Any),
            ])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision secret decrypt app/db --field password",
                description: "One field of a secret",
                result: None,
            },
            Example {
                example: "open --raw for-bob.age | provision secret decrypt",
                description: "Decrypt ciphertext that somebody sent",
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
        let (json, what, span) = match call.opt::<Spanned<String>>(0)? {
            Some(name) => {
                let found = secrets.get(&name.item);
                let json = found.map_err(|failure| labeled(&failure, name.span, "this secret"))?;
                (json, format!("`{}`", name.item), name.span)
            }
            None => {
                let value = input.into_value(call.head)?;
                let span = value.span();
                let ciphertext = match value {
                    Value::String { val, .. } => val.into_bytes(),
                    Value::Binary { val, .. } => val.into_owned(),
                    Value::Error { error, .. } => return Err((*error).into()),
                    other => {
                        let message = format!("there is no ciphertext, but {}", other.get_type());
                        let failure = Failure::new(Code::SecretMalformed, message)
                            .with_help("Name a secret, or put what `provision secret encrypt` gave on the pipeline.");
                        return Err(labeled(&failure, span, "expected a name or text"));
                    }
                };
                let found = secrets.decrypt(&ciphertext);
                (found.map_err(|failure| labeled(&failure, span, "this text"))?, "the value".to_owned(), span)
            }
        };
        let field: Option<Spanned<String>> = call.get_flag("field")?;
        let json = match field {
            Some(field) => Secrets::pick(&json, &what, &field.item)
                .map_err(|failure| labeled(&failure, field.span, "this field"))?,
            None => json,
        };
        Ok(PipelineData::value(from_json(&json, span), None))
    }
}
