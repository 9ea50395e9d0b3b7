//! Owns `provision secret list`: the secrets of the project, without their values.

use crate::ProvisionPlugin;
use crate::open::project_flag;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::{Kind, labeled};

/// The columns that are no plain text or number.
const COLUMNS: &[(&str, Kind)] = &[("modified", Kind::Date), ("size", Kind::Filesize)];

pub struct SecretList;

impl PluginCommand for SecretList {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision secret list"
    }

    fn description(&self) -> &str {
        "List the secrets of the project: how many may read each, and whether you do."
    }

    fn extra_description(&self) -> &str {
        "`recipients` counts the keys that a file is encrypted to; it is 0 where a passphrase opens it. Nothing is decrypted."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "age", "passwords", "readable", "recipients"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision secret list | where not readable",
            description: "What others have not yet shared with you",
            result: None,
        }]
    }

    fn run(
        &self,
        _: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let found = super::secrets(engine, call)?
            .list()
            .map_err(|failure| labeled(&failure, call.head, "while looking at the secrets"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, COLUMNS)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
