//! Owns `provision output`: what the configuration promises to tell.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_nu_bridge::{from_json, labeled};

pub struct Output;

impl PluginCommand for Output {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision output"
    }

    fn description(&self) -> &str {
        "Show the outputs of the project as data."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "outputs", "result"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("name", SyntaxShape::String, "One output; all as a record by default.")
            .input_output_types(vec![(Type::Nothing, Type::Any)])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: r#"provision output"#, description: "All outputs", result: None },
            Example { example: r#"provision output web_ip"#, description: "One output", result: None },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let session = session(plugin, engine, call)?;
        let value = match call.opt::<Spanned<String>>(0)? {
            Some(name) => session.output(&name.item).map_err(|failure| labeled(&failure, name.span, "this output"))?,
            None => session
                .outputs()
                .map(provision_engine::Json::Object)
                .map_err(|failure| labeled(&failure, call.head, "while reading the outputs"))?,
        };
        Ok(PipelineData::value(from_json(&value, call.head), None))
    }
}
