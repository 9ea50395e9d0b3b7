//! Owns `provision state import`: taking over an exported state.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{labeled, to_json};

pub struct StateImport;

impl PluginCommand for StateImport {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state import"
    }

    fn description(&self) -> &str {
        "Take over what `provision state export` gave, into a new state."
    }

    fn extra_description(&self) -> &str {
        "The state it goes into must be new, and have the key that sealed the old one: put `identity.txt` into `.provision` first, or\n\
        set PROVISION_STATE_KEY."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "migrate", "load"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::record(), Type::record()), (Type::String, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "open state.json | provision state import",
            description: "Take over an exported state",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let raised = |failure| labeled(&failure, call.head, "while importing");
        let state = match input.into_value(call.head)? {
            Value::String { val, .. } => serde_json::from_str(&val).map_err(|error| {
                let message = format!("this is no exported state: it is not JSON: {error}");
                raised(
                    Failure::new(Code::StateMalformed, message).with_help("Give what `provision state export` gave."),
                )
            })?,
            value => to_json(&value)?,
        };
        let imported = session.import_state(&state).map_err(raised)?;
        Ok(PipelineData::value(super::value(&imported, call.head, &[]), None))
    }
}
