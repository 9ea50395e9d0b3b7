//! Owns `provision secret rotate`: every file encrypted again, to those who may read it now.

use crate::ProvisionPlugin;
use crate::open::project_flag;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::labeled;

pub struct SecretRotate;

impl PluginCommand for SecretRotate {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision secret rotate"
    }

    fn description(&self) -> &str {
        "Encrypt every secret of the project again, to the recipients as they are now."
    }

    fn extra_description(&self) -> &str {
        "Run it after a change of secrets/recipients.txt. All files are opened before the first is written, and each\n\
        is replaced whole. What has a passphrase has no recipients and stays as it is.\n\
        Who was taken off the list keeps what they could read before: change the passwords too."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "age", "rekey", "re-encrypt", "recipients", "revoke"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .switch(
                "new-identity",
                "Make a new key for yourself first; it takes the place of yours among the recipients.",
                None,
            )
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision secret rotate", description: "After somebody joined or left", result: None },
            Example {
                example: "provision secret rotate --new-identity",
                description: "After your own key may have become known",
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
        let written = super::secrets(engine, call)?
            .rotate(call.has_flag("new-identity")?)
            .map_err(|failure| labeled(&failure, call.head, "while encrypting the secrets again"))?;
        let rows = written.iter().map(|row| super::value(row, call.head, &[])).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
