//! Owns `provision audit head`: the signed end of the log, to be kept elsewhere.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::{Kind, labeled};

pub struct AuditHead;

impl PluginCommand for AuditHead {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision audit head"
    }

    fn description(&self) -> &str {
        "Give the signed end of the audit log, to be kept where nobody who has the state can change it."
    }

    fn extra_description(&self) -> &str {
        "The record is `version, lineage, seq, hash, at, signature`. Whoever has the state's files and its key can write another log; a\n\
        head kept elsewhere shows it: `provision audit verify --head`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "anchor", "sign", "tamper", "notary"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "$\"(provision audit head | to json --raw)\\n\" | save --append /mnt/worm/shop.heads",
                description: "Anchor the head on another machine after each apply",
                result: None,
            },
            Example { example: "provision audit head | select seq hash", description: "Print it", result: None },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let head = session
            .workspace
            .store
            .head()
            .map_err(|failure| labeled(&failure, call.head, "while reading the audit log"))?;
        Ok(PipelineData::value(super::value(&head, call.head, &[("at", Kind::Date)]), None))
    }
}
