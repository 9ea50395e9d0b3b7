//! A plugin that does nothing but give a value: what Nushell itself needs to bring data out of a plugin. The yardstick
//! of `cargo xtask bench`.

use nu_plugin::{EngineInterface, EvaluatedCall, MsgPackSerializer, Plugin, PluginCommand, serve_plugin};
use nu_protocol::{LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_nu_bridge::from_json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
struct EchoPlugin {
    kept: Mutex<HashMap<String, Value>>,
}

struct Echo;

impl PluginCommand for Echo {
    type Plugin = EchoPlugin;

    fn name(&self) -> &str {
        "bench echo"
    }

    fn description(&self) -> &str {
        "Give the value of a JSON file, read once."
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .required("file", SyntaxShape::Filepath, "Absolute path of a JSON file.")
            .input_output_type(Type::Nothing, Type::Any)
    }

    fn run(
        &self,
        plugin: &EchoPlugin,
        _engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let file: Spanned<String> = call.req(0)?;
        let mut kept = plugin.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.get(&file.item) {
            return Ok(PipelineData::value(value.clone(), None));
        }
        let text = std::fs::read_to_string(&file.item)
            .map_err(|error| LabeledError::new(error.to_string()).with_label("this file", file.span))?;
        let json: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| LabeledError::new(error.to_string()).with_label("this file", file.span))?;
        let value = from_json(&json, call.head);
        kept.insert(file.item, value.clone());
        Ok(PipelineData::value(value, None))
    }
}

/// Rows in, the same rows out: what Nushell itself needs to send a stream through a plugin.
struct Pass;

impl PluginCommand for Pass {
    type Plugin = EchoPlugin;

    fn name(&self) -> &str {
        "bench pass"
    }

    fn description(&self) -> &str {
        "Give the rows of a stream."
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name()).input_output_type(Type::Any, Type::Any)
    }

    fn run(
        &self,
        _plugin: &EchoPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let rows = provision_nu_bridge::rows(input, call.head)?;
        Ok(provision_nu_bridge::stream(rows, call.head, engine.signals().clone()))
    }
}

impl Plugin for EchoPlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        vec![Box::new(Echo), Box::new(Pass)]
    }
}

fn main() {
    serve_plugin(&EchoPlugin::default(), MsgPackSerializer);
}
