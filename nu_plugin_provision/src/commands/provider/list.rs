//! Owns `provision provider list`: the providers in force.

use crate::ProvisionPlugin;
use crate::open::{project_flag, project_folder};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::record;
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_registry::Origin;

pub struct ProviderList;

impl PluginCommand for ProviderList {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider list"
    }

    fn description(&self) -> &str {
        "List the installed providers with their version, engine API, types and origin."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "providers", "clouds", "extensions"]
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
        let registry = super::registry(plugin, engine, call, project.as_deref())?;
        let text = |text: &str| Value::string(text, call.head);
        let rows = registry
            .manifests()
            .map(|manifest| {
                let about = registry.provider(&manifest.name);
                let maybe = |it: Option<String>| it.map_or(Value::nothing(call.head), |it| text(&it));
                let folder = about.and_then(|about| about.folder.as_ref());
                let types = manifest.types.keys().map(|name| text(&format!("{}.{name}", manifest.name))).collect();
                Value::record(
                    record! {
                        "name" => text(&manifest.name),
                        "version" => text(&manifest.version),
                        "api" => text(&manifest.api),
                        "doc" => text(&manifest.doc),
                        "types" => Value::list(types, call.head),
                        "origin" => text(match about.map(|about| about.origin) {
                            Some(Origin::Project) => "project",
                            Some(Origin::User) => "user",
                            Some(Origin::Session) => "session",
                            _ => "built-in",
                        }),
                        "path" => maybe(folder.map(|folder| folder.display().to_string())),
                        "digest" => maybe(about.and_then(|about| about.digest.clone())),
                        "pinned" => Value::bool(about.is_some_and(|about| about.pinned), call.head),
                    },
                    call.head,
                )
            })
            .collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
