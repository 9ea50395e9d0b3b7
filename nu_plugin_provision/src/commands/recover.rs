//! Owns `provision recover`: settling what a crash left open.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{project_flag, session, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_engine::Event;
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
        state lost, and a row of the next plan adopts it.\n\n\
        What a process that was killed had sent may still arrive, so an operation without an answer stays open for as long as a\n\
        request can be under way (75 seconds, or a quarter more than `PROVISION_REQUEST_TIMEOUT`), unless the cloud shows the result\n\
        earlier. One that cannot be settled has the outcome `in_doubt`, and the reason follows the rows as an error."
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
        let busy = Busy::with("settling");
        let told = |event: Event| busy.say(format!("{}: {}", event.address, event.message.unwrap_or_default()));
        let found = session.recover(&told).map_err(|failure| labeled(&failure, call.head, "while settling"))?;
        let rows = found.rows.iter().map(|row| super::value(row, call.head, &[])).collect();
        super::table(rows, found.problems, call.head, "while settling")
    }
}
