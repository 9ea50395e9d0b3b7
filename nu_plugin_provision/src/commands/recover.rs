//! Owns `provision recover`: settling what a crash left open.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{project_flag, session, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::labeled;

pub struct Recover;

impl PluginCommand for Recover {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision recover"
    }

    fn description(&self) -> &str {
        "Settle what a crash left open, and list what carries our mark and is in no state."
    }

    fn extra_description(&self) -> &str {
        "`provision apply` does this by itself first; this command shows what was found. Where the state is older than its audit log\n\
        shows, it also writes into the log what is gone, and `apply` goes on from there: a stray with an `address` is one that the\n\
        state lost, and a row of the next plan adopts it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "crash", "repair", "settle", "stray"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(provider_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision recover"#, description: "Settle open operations", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let session = with_given(session(plugin, engine, call)?, plugin, engine, call)?;
        let _guard = stoppable(engine, &session)?;
        let _busy = Busy::with("settling");
        let found = session.recover().map_err(|failure| labeled(&failure, call.head, "while settling"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, &[])).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
