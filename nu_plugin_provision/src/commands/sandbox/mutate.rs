//! Owns `provision sandbox mutate`: what somebody else does in the embedded clouds.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_nu_bridge::labeled;
use provision_sandbox::control;

pub struct SandboxMutate;

impl PluginCommand for SandboxMutate {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox mutate"
    }

    fn description(&self) -> &str {
        "Change or remove a resource of the embedded clouds, as somebody else would."
    }

    fn extra_description(&self) -> &str {
        "The changes are in the vendor's own words and are merged into the resource: records deep, everything else in its place.\n\
         A field that the vendor does not have is added to its answers. No rule of the vendor is asked, no request is logged.\n\
         Without changes the resource is shown."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "drift", "tamper", "console", "outside"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .required(
                "id",
                SyntaxShape::OneOf(vec![SyntaxShape::String, SyntaxShape::Int]),
                "Id of the resource in its cloud.",
            )
            .optional("changes", SyntaxShape::record(), "Fields to set, as the vendor writes them.")
            .named("kind", SyntaxShape::String, "Kind, where several have this id.", None)
            .switch("remove", "Take it away.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision sandbox mutate 4000001 {labels: {team: ops}}",
                description: "Somebody changes a label in the console",
                result: None,
            },
            Example {
                example: "provision sandbox mutate vpc-0123456789abcdef0 --remove",
                description: "Somebody deletes a network",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let id = match call.req::<Value>(0)? {
            Value::Int { val, .. } => val.to_string(),
            other => other.coerce_into_string()?,
        };
        let set = match call.opt::<Value>(1)? {
            Some(changes) => provision_nu_bridge::to_json(&changes)?.as_object().cloned().unwrap_or_default(),
            None => serde_json::Map::new(),
        };
        let mutation =
            provision_sandbox::Mutation { id, kind: call.get_flag("kind")?, set, remove: call.has_flag("remove")? };
        let changed = control::mutate(&home(engine)?, &mutation)
            .map_err(|failure| labeled(&failure, call.head, "while changing it"))?;
        Ok(PipelineData::value(super::value(&changed, call.head, &[]), None))
    }
}
