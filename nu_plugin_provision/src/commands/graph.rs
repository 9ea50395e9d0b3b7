//! Owns `provision graph`: what depends on what, as a picture.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, PipelineMetadata, Signature, Spanned, SyntaxShape, Type,
    Value,
};
use provision_engine::Picture;
use provision_nu_bridge::labeled;

pub struct Graph;

impl PluginCommand for Graph {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision graph"
    }

    fn description(&self) -> &str {
        "Draw the resources and what depends on what, as DOT, Mermaid or SVG."
    }

    fn extra_description(&self) -> &str {
        "The nodes are the resources that infra.ncl declares and those that the state holds besides; an edge goes from a resource\n\
        to what it needs. An SVG has at most 1000 resources."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "dependencies", "graphviz", "diagram", "picture"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .param(
                Flag::new("format")
                    .short('F')
                    .arg(SyntaxShape::String)
                    .desc("Format of the text: dot (the default), mermaid or svg.")
                    .completion(Completion::new_list(&Picture::NAMES)),
            )
            .input_output_types(vec![(Type::Nothing, Type::String)])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision graph --format svg | save shop.svg",
                description: "A picture for a browser",
                result: None,
            },
            Example {
                example: "provision graph --format mermaid",
                description: "A diagram for a Markdown page",
                result: None,
            },
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
        let format = match call.get_flag::<Spanned<String>>("format")? {
            None => Picture::Dot,
            Some(name) => Picture::named(&name.item).map_err(|failure| labeled(&failure, name.span, "this format"))?,
        };
        let session = session(plugin, engine, call)?;
        let text =
            session.picture(format).map_err(|failure| labeled(&failure, call.head, "while drawing the graph"))?;
        let content_type = match format {
            Picture::Dot => "text/vnd.graphviz",
            Picture::Mermaid => "text/plain",
            Picture::Svg => "image/svg+xml",
        };
        let metadata = PipelineMetadata { content_type: Some(content_type.to_owned()), ..PipelineMetadata::default() };
        Ok(PipelineData::value(Value::string(text, call.head), Some(metadata)))
    }
}
