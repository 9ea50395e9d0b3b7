//! Owns `provision state rekey`: giving the state another key.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;

pub struct StateRekey;

impl PluginCommand for StateRekey {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state rekey"
    }

    fn description(&self) -> &str {
        "Give the state another key: everything sealed is sealed anew, and the old key opens nothing of it any more."
    }

    fn extra_description(&self) -> &str {
        "The new key takes the place of `.provision/identity.txt`. Where PROVISION_STATE_KEY holds the key, the new one is taken\n\
        from PROVISION_STATE_NEW_KEY, and is to be given as PROVISION_STATE_KEY from then on. Backups go, a new one is made;\n\
        plans made before are stale, and values of `replace_when` are noted anew by the next apply. Copies of the state that are\n\
        elsewhere stay readable with the old key: change passwords that somebody may have read."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "rotate", "key", "seal", "identity"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision state rekey",
            description: "Somebody who had the key has left",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let found = session.rekey().map_err(|failure| labeled(&failure, call.head, "while sealing anew"))?;
        Ok(PipelineData::value(super::value(&found, call.head, &[]), None))
    }
}
