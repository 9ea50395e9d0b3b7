//! Owns `nickel`: the help of the group.

use crate::NickelPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand, SimplePluginCommand};
use nu_protocol::{Example, LabeledError, Signature, Type, Value};

pub struct NickelCommand;

impl SimplePluginCommand for NickelCommand {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel"
    }

    fn description(&self) -> &str {
        "Evaluate and check Nickel, as structured data."
    }

    fn extra_description(&self) -> &str {
        "You must use one of the subcommands; alone it shows this help. The official command of this name is `^nickel`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "configuration", "contract"]
    }

    fn signature(&self) -> Signature {
        Signature::build(PluginCommand::name(self))
            .input_output_type(Type::Nothing, Type::String)
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: "nickel", description: "Show the subcommands", result: None }]
    }

    fn run(
        &self,
        _plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: &Value,
    ) -> Result<Value, LabeledError> {
        Ok(Value::string(engine.get_help()?, call.head))
    }
}
