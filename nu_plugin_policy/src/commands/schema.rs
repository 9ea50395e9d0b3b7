//! Owns `policy schema`: the schema generated from the installed providers.

use crate::PolicyPlugin;
use crate::given::generated;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, PipelineMetadata, Signature, Type, Value};
use provision_nu_bridge::{from_json, labeled};
use provision_policy::schema_json;

pub struct SchemaCommand;

impl PluginCommand for SchemaCommand {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy schema"
    }

    fn description(&self) -> &str {
        "Show the Cedar schema generated from the installed providers."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "types", "attributes", "cedarschema"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .switch("json", "Give its JSON form as a record.", Some('j'))
            .input_output_types(vec![(Type::Nothing, Type::String), (Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "policy schema | save infra.cedarschema",
                description: "Keep it for an editor",
                result: None,
            },
            Example {
                example: "policy schema --json | get Hetzner.entityTypes",
                description: "Look at the types of one provider",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let text = generated(plugin, engine, call.head)?.text;
        if call.has_flag("json")? {
            let json = schema_json("generated.cedarschema", &text)
                .map_err(|failure| labeled(&failure, call.head, "while converting the schema"))?;
            return Ok(PipelineData::value(from_json(&json, call.head), None));
        }
        let metadata = PipelineMetadata { content_type: Some("text/plain".to_owned()), ..PipelineMetadata::default() };
        Ok(PipelineData::value(Value::string(text, call.head), Some(metadata)))
    }
}
