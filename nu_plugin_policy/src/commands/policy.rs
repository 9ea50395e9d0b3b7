//! Owns `policy`: the help of the group.

use crate::PolicyPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand, SimplePluginCommand};
use nu_protocol::{Example, LabeledError, Signature, Type, Value};

pub struct PolicyCommand;

impl SimplePluginCommand for PolicyCommand {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy"
    }

    fn description(&self) -> &str {
        "Decide and check with Cedar policies."
    }

    fn extra_description(&self) -> &str {
        "You must use one of the subcommands; alone it shows this help."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "authorization", "permission", "allow", "deny"]
    }

    fn signature(&self) -> Signature {
        Signature::build(PluginCommand::name(self))
            .input_output_type(Type::Nothing, Type::String)
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: "policy", description: "Show the subcommands", result: None }]
    }

    fn run(
        &self,
        _plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: &Value,
    ) -> Result<Value, LabeledError> {
        Ok(Value::string(engine.get_help()?, call.head))
    }
}
