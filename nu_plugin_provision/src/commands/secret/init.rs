//! Owns `provision secret init`: a key for the user, and who may read the project's secrets.

use crate::ProvisionPlugin;
use crate::open::project_flag;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;

pub struct SecretInit;

impl PluginCommand for SecretInit {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision secret init"
    }

    fn description(&self) -> &str {
        "Prepare the project for secrets: your key, and the public keys of those who may read them."
    }

    fn extra_description(&self) -> &str {
        "Makes an age identity in your configuration folder if you have none, and writes its public key into\n\
        secrets/recipients.txt of the project, which is to be committed. Run again it changes nothing. An identity that\n\
        you have already, age or SSH, is given with $env.PROVISION_AGE_IDENTITY, as text or as the path of its file.\n\
        Whoever was added reads what is encrypted from then on; `provision secret rotate` encrypts the rest again."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "age", "sops", "key", "recipient", "identity"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        let what = "Add this public key, or each of a list: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`.";
        project_flag(super::recipient_flag(signature, what))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision secret init", description: "Become a reader of the secrets", result: None },
            Example {
                example: "provision secret init --recipient (open ~/.ssh/bob.pub)",
                description: "Let somebody else read them, with an SSH key",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let secrets = super::secrets(engine, call)?;
        let others = super::given_recipients(call)?;
        let span = others.as_ref().map_or(call.head, |others| others.span);
        let ready = secrets
            .init(&others.map(|others| others.item).unwrap_or_default())
            .map_err(|failure| labeled(&failure, span, "while preparing the project's secrets"))?;
        Ok(PipelineData::value(super::value(&ready, call.head, &[]), None))
    }
}
