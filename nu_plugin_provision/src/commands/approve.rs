//! Owns `provision approve`: letting a plan through in a role.

use crate::ProvisionPlugin;
use crate::commands::approvals::shown;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_diagnostic::Code;
use provision_engine::{Address, ApproveOptions};
use provision_nu_bridge::labeled;
use std::time::Duration;

pub struct Approve;

impl PluginCommand for Approve {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision approve"
    }

    fn description(&self) -> &str {
        "Approve a plan, so that policies marked `@approval(\"role\")` let it through."
    }

    fn extra_description(&self) -> &str {
        "PLAN is the `plan` column of its rows. The approval is for the plan as it stands, is used by one apply, and holds for a day\n\
        unless --for says otherwise. Without --role it is given for every role that the plan waits for.\n\
        Who may approve is for the policies to say: action `Provision::Action::\"approve\"`, with `context.role` and `context.author`,\n\
        who made the plan. Where there are policies and none permits it, nobody may."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "approval", "review", "four eyes", "sign off"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("plan", SyntaxShape::String, "The plan, as its rows name it.")
            .named("role", SyntaxShape::String, "The role in which to approve.", Some('r'))
            .named("address", SyntaxShape::List(Box::new(SyntaxShape::String)), "Approve these rows alone.", Some('a'))
            .named("for", SyntaxShape::Duration, "How long the approval holds; a day by default.", None)
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision approve (open plan.json | get 0.plan)",
                description: "Approve a plan whose rows somebody saved",
                result: None,
            },
            Example {
                example: "provision approve $digest --role team-lead --address [web] --for 2hr",
                description: "Approve one row of it, for two hours",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let plan: String = call.req(0)?;
        let addresses: Option<Vec<String>> = call.get_flag("address")?;
        let holds = match call.get_flag_value("for") {
            None => None,
            Some(value) => {
                let nanos = u64::try_from(value.as_duration()?).ok().filter(|nanos| *nanos > 0);
                Some(Duration::from_nanos(nanos.ok_or_else(|| {
                    LabeledError::new("an approval holds for some time")
                        .with_code(Code::ApplyApproval)
                        .with_help("Give a duration above zero, `8hr` for instance.")
                        .with_label("not above zero", value.span())
                })?))
            }
        };
        let options = ApproveOptions {
            role: call.get_flag("role")?,
            addresses: addresses.unwrap_or_default().into_iter().map(Address::new).collect(),
            holds,
        };
        let given = session
            .approve(&plan, &options)
            .map_err(|failure| labeled(&failure, call.head, "while approving this plan"))?;
        let rows = given.iter().map(|approval| shown(approval, call.head)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
