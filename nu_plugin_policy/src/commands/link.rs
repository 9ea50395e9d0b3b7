//! Owns `policy link`: templates with their slots filled.

use crate::PolicyPlugin;
use crate::given::{policies, policy_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, ShellError, Signature, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{from_serialize, labeled, rows, shell, stream, to_json, until_error};
use provision_policy::{Link as Filled, PolicySet};

pub struct Link;

impl PluginCommand for Link {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy link"
    }

    fn description(&self) -> &str {
        "Fill the slots of policy templates, a policy for each row."
    }

    fn extra_description(&self) -> &str {
        "A row has `template`, the new `id`, and `principal` or `resource` as the template has slots. What comes out has the policy's\n\
        `text`, and the table is taken by --policies of the other commands."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "template", "slot", "instantiate"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![
                (Type::table(), Type::table()),
                (Type::list(Type::record()), Type::table()),
                (Type::record(), Type::table()),
            ])
            .category(super::category());
        policy_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#"[[template, id, principal]; [viewer, "ann views", 'User::"ann"']] | policy link --policies '@id("viewer") permit(principal == ?principal, action, resource);' | get text"#,
            description: "One policy from a template",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let given = policies(plugin, engine, call, None)?;
        let set = given.what.map_err(|failure| labeled(&failure, given.span, "in these policies"))?;
        let head = call.head;
        let signals = engine.signals().clone();
        let linked = rows(input, head)?.map(move |row| {
            let span = row.span();
            link(&set, &row)
                .and_then(|linked| from_serialize(&linked, head))
                .unwrap_or_else(|error| Value::error(error, span))
        });
        Ok(stream(until_error(linked), head, signals))
    }
}

fn link(set: &PolicySet, row: &Value) -> Result<provision_policy::LinkedPolicy, ShellError> {
    let filled: Filled = serde_json::from_value(to_json(row)?).map_err(|error| {
        let failure = Failure::new(Code::PolicyRequest, format!("this is no link: {error}"))
            .with_help("Give rows with `template`, `id`, and `principal` or `resource`.");
        shell(&failure, row.span(), "this row")
    })?;
    set.link(&filled).map_err(|failure| shell(&failure, row.span(), "this row"))
}
