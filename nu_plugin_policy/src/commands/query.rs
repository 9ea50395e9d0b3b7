//! Owns `policy query`: who may do something, what somebody may do, and on what.

use crate::PolicyPlugin;
use crate::asking::{Answering, Asking, one_row, request_flags};
use crate::given::policy_flags;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value, record};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{from_serialize, labeled, to_json};
use provision_policy::{EntityRef, Query as Asked};
use serde_json::{Map, Value as Json};

pub struct Query;

impl PluginCommand for Query {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy query"
    }

    fn description(&self) -> &str {
        "List who may do something, what somebody may do, or on what."
    }

    fn extra_description(&self) -> &str {
        "Leave out one of --principal, --action and --resource (or the columns of a record on the pipeline): the rows are all\n\
        that is allowed in its place. Candidates are the entities of --entities; with a schema those of the types the action takes.\n\
        Actions are those of the schema, else those that entities and policies name.\n\
        Each candidate is decided once, after the policies were evaluated as far as the known parts go.\n\
        `errors` names the policies that could not be evaluated: had a `forbid` among them not failed, the row might not be there."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "who", "access", "review", "permissions", "entitlements"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table()), (Type::record(), Type::table())])
            .category(super::category());
        policy_flags(request_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"policy query --action 'Action::"view"' --resource 'Photo::"sea"' --entities [{ uid: 'User::"ann"' } { uid: 'User::"bob"' }] --policies 'permit(principal == User::"ann", action, resource);'"#,
                description: "Who may view a photo",
                result: Some(Value::test_list(vec![Value::test_record(record! {
                    "principal" => Value::test_string("User::\"ann\""), "action" => Value::test_string("Action::\"view\""),
                    "resource" => Value::test_string("Photo::\"sea\""), "decision" => Value::test_string("allow"),
                    "policies" => Value::test_list(vec![Value::test_string("policy0")]),
                    "errors" => Value::test_list(vec![]),
                })])),
            },
            Example {
                example: r#"policy query --principal 'User::"ann"' --resource 'Photo::"sea"' --policies p.cedar --schema s.cedarschema | get action"#,
                description: "What ann may do with it",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let answering = Answering::new(plugin, engine, call)?;
        let asking = Asking::new(engine, call)?;
        let row = one_row(input, call.head)?;
        let span = row.span();
        if !asking.is_constant() {
            return Err(labeled(
                &Failure::new(Code::PolicyRequest, "a query has no row for a closure to look at")
                    .with_help("Give constants, or ask row by row with `each {|row| policy query …}`."),
                call.head,
                "this query",
            ));
        }
        let given = match to_json(&row)? {
            Json::Object(given) => given,
            _ => Map::new(),
        };
        let part = |name: &str| asking.constant(name).or_else(|| given.get(name)).filter(|value| !value.is_null());
        let entity = |name: &str| -> Result<Option<EntityRef>, LabeledError> {
            let Some(value) = part(name) else { return Ok(None) };
            let told = |error: serde_json::Error| {
                let failure = Failure::new(Code::PolicyRequest, error.to_string());
                labeled(&failure.with_help("Write it as `Type::\"id\"` or `{type, id}`."), span, "this query")
            };
            serde_json::from_value(value.clone()).map(Some).map_err(told)
        };
        let asked = Asked {
            principal: entity("principal")?,
            action: entity("action")?,
            resource: entity("resource")?,
            context: part("context").cloned().unwrap_or_else(|| Json::Object(Map::new())),
            entities: given.get("entities").and_then(Json::as_array).cloned().unwrap_or_default(),
        };
        let action = asked.action.as_ref().map(|action| action.kind.as_str());
        let of_provision = asked.principal.as_ref().is_some_and(|principal| principal.kind.starts_with("Provision::"));
        let authorizer = match action.or(of_provision.then_some("Provision::Action")) {
            Some(action) => answering.about(action)?,
            None => answering.plain(),
        };
        let rows = authorizer.query(&asked).map_err(|failure| labeled(&failure, span, "this query"))?;
        Ok(PipelineData::value(from_serialize(&rows, call.head)?, None))
    }
}
