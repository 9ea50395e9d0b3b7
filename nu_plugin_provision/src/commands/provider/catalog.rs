//! Owns `provision provider catalog`: what an account offers.

use crate::ProvisionPlugin;
use crate::open::{actor, project_flag, project_folder, session_in, stoppable, variables};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_engine::{Host, Project, Session};
use provision_nu_bridge::labeled;

pub struct ProviderCatalog;

impl PluginCommand for ProviderCatalog {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider catalog"
    }

    fn description(&self) -> &str {
        "List what the account offers: regions, sizes, images and prices, as the cloud says now."
    }

    fn extra_description(&self) -> &str {
        "Every row has the column `catalog` and every column of the catalogues shown; absent is null. What is listed stands in the manifest under `listings`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "regions", "sizes", "prices", "images", "plans", "zones"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("provider", SyntaxShape::String, "Name of the provider.")
            .optional("catalog", SyntaxShape::String, "One catalogue, such as `server_types`.")
            .named("region", SyntaxShape::String, "Region to ask in; the account's by default.", Some('r'))
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"provision provider catalog hetzner server_types | sort-by price_monthly | first"#,
                description: "The cheapest server type",
                result: None,
            },
            Example {
                example: r#"provision provider catalog upcloud zones | get name"#,
                description: "The zones of UpCloud",
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
        let name: Spanned<String> = call.req(0)?;
        let only: Option<String> = call.opt(1)?;
        let region: Option<String> = call.get_flag("region")?;
        let project = project_folder(engine, call)?;
        let raised = |failure| labeled(&failure, call.head, "while asking the cloud");
        let registry = super::registry(plugin, engine, call, project.as_deref())?;
        super::manifest(&registry, &name)?;
        let session = match project {
            Some(project) => session_in(plugin, engine, call.head, &project, crate::open::environment(engine, call)?)?,
            None => {
                let actor = actor(&variables(engine)?).map_err(raised)?;
                let host = Host::new(super::env(engine)?).map_err(raised)?;
                let project = Project::none(registry, plugin.evaluator.clone());
                Session::in_memory(project, host, actor).map_err(raised)?
            }
        };
        let _guard = stoppable(engine, &session)?;
        let rows = session.catalog(&name.item, only.as_deref(), region.as_deref()).map_err(raised)?;
        let rows = rows.iter().map(|row| super::value(row, call.head, &[])).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
