//! Owns `provision provider remove`: taking a provider out of a project.

use crate::ProvisionPlugin;
use crate::open::{project_flag, required_project};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value, record};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::labeled;
use provision_registry::{Lock, folder_of};

pub struct ProviderRemove;

impl PluginCommand for ProviderRemove {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider remove"
    }

    fn description(&self) -> &str {
        "Take a provider out of the project."
    }

    fn extra_description(&self) -> &str {
        "Refused while a state of the project holds resources of it; the message lists them."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "uninstall", "delete", "extension"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("provider", SyntaxShape::String, "Name of a provider of the project.")
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision provider remove acme"#, description: "Take a provider out", result: None }]
    }

    fn run(
        &self,
        _plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let name: Spanned<String> = call.req(0)?;
        let project = required_project(engine, call)?;
        let raised = |failure: Failure| labeled(&failure, name.span, "this provider");
        let lock = Lock::read(&project).map_err(raised)?;
        let valid = !name.item.contains(['/', '\\', '.']) && !name.item.is_empty();
        let there = valid && folder_of(&project).join(&name.item).is_dir();
        if !there && !lock.providers.contains_key(&name.item) {
            let failure = Failure::new(Code::ProviderUnknown, format!("the project has no provider `{}`", name.item))
                .with_help(
                    "Built-in providers and those of your home stay; `provision provider list` shows the origin.",
                );
            return Err(raised(failure));
        }
        let held = super::held(engine, call, &project, &name.item)?;
        if !held.is_empty() {
            let all: Vec<&str> = held.iter().map(|(address, _)| address.as_str()).collect();
            let message = format!("the state holds resources of `{}`: {}", name.item, all.join(", "));
            let failure = Failure::new(Code::ProviderInUse, message)
                .with_help("Run `provision destroy --target …` or `provision state forget …` for them first.");
            return Err(raised(failure));
        }
        provision_registry::remove(&project, &name.item).map_err(raised)?;
        let version = lock.providers.get(&name.item).map(|pin| pin.version.clone());
        let row = record! {
            "name" => Value::string(&name.item, call.head),
            "version" => version.map_or(Value::nothing(call.head), |text| Value::string(text, call.head)),
        };
        Ok(PipelineData::value(Value::record(row, call.head), None))
    }
}
