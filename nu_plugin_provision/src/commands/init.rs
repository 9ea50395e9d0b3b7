//! Owns `provision init`: beginning a project.

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_nu_bridge::{labeled, user_dir};
use std::path::PathBuf;

pub struct Init;

impl PluginCommand for Init {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision init"
    }

    fn description(&self) -> &str {
        "Begin a project that works: infrastructure, policies with tests, a check for CI."
    }

    fn extra_description(&self) -> &str {
        "With a name the project is a new folder, without one it is this folder, called like it. Files that are there stay as they are. What `import \"provision.ncl\"` gives is written to `.provision/schemas`, and `.envrc` points editors and the official Nickel command to it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "new", "start", "scaffold", "template"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .optional("name", SyntaxShape::String, "Name of the project, and of its new folder.")
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision init shop",
                description: "Begin a project in the new folder shop",
                result: None,
            },
            Example { example: "provision init", description: "Make this folder a project", result: None },
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
        let given: Option<Spanned<String>> = call.opt(0)?;
        let span = given.as_ref().map_or(call.head, |name| name.span);
        let here = PathBuf::from(engine.get_current_dir()?);
        let (folder, name) = match given {
            Some(name) => (here.join(&name.item), name.item),
            None => {
                let own = here.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
                (here, own.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-"))
            }
        };
        let user_dir = user_dir(engine)?;
        let raised = |failure| labeled(&failure, span, "while beginning this project");
        let registry = plugin.registry.get(None, user_dir.as_deref(), &plugin.evaluator).map_err(raised)?;
        let begun = provision_engine::init(&folder, &name, &registry).map_err(raised)?;
        Ok(PipelineData::value(super::value(&begun, call.head, &[]), None))
    }
}
