//! Owns `provision provider list`: the providers in force.

use crate::ProvisionPlugin;
use crate::open::{project_flag, project_folder};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::record;
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::{labeled, user_dir};

pub struct ProviderList;

impl PluginCommand for ProviderList {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider list"
    }

    fn description(&self) -> &str {
        "List the installed providers with their version, engine API and types."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["providers", "clouds", "extensions"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision provider list"#, description: "The installed providers", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let project = project_folder(engine, call)?;
        let user_dir = user_dir(engine)?;
        let registry = plugin
            .registry
            .get(project.as_deref(), user_dir.as_deref(), &plugin.evaluator)
            .map_err(|failure| labeled(&failure, call.head, "while loading the manifests"))?;
        let text = |text: &str| Value::string(text, call.head);
        let rows = registry
            .manifests()
            .map(|manifest| {
                let types = manifest.types.keys().map(|name| text(&format!("{}.{name}", manifest.name))).collect();
                Value::record(
                    record! {
                        "name" => text(&manifest.name),
                        "version" => text(&manifest.version),
                        "api" => text(&manifest.api),
                        "doc" => text(&manifest.doc),
                        "types" => Value::list(types, call.head),
                    },
                    call.head,
                )
            })
            .collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
