//! Owns `provision policy accept`: making changed policies the ones in force.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::record;
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_nu_bridge::labeled;

pub struct PolicyAccept;

impl PluginCommand for PolicyAccept {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision policy accept"
    }

    fn description(&self) -> &str {
        "Make the changed policies of the project the ones in force, if those in force allow it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "cedar", "policies", "approve"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named(
                "policies",
                SyntaxShape::String,
                "Folder of the policies, relative to the project; `policies` by default.",
                None,
            )
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#"provision policy accept"#,
            description: "Accept the policies as they are now",
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
        drop(input);
        let session = session(plugin, engine, call)?;
        let folder = call.get_flag::<String>("policies")?;
        let accepted = session
            .accept_policies(folder.as_deref())
            .map_err(|failure| labeled(&failure, call.head, "while accepting the policies"))?;
        let files = accepted.sources.iter().map(|(name, _)| Value::string(name, call.head)).collect();
        let record = record! {
            "digest" => Value::string(accepted.digest, call.head),
            "files" => Value::list(files, call.head),
        };
        Ok(PipelineData::value(Value::record(record, call.head), None))
    }
}
