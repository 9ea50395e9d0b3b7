//! Owns `provision lock break`: taking the lease from who does not renew it.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::labeled;

pub struct LockBreak;

impl PluginCommand for LockBreak {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision lock break"
    }

    fn description(&self) -> &str {
        "Take the lease from somebody who does not renew it any more, and write down why."
    }

    fn extra_description(&self) -> &str {
        "A live owner keeps it. Nobody needs this: a dead process's lease is free at once on its own machine, and after its term\n\
        elsewhere.\n\n\
        An owner that is alive, hangs and cannot be stopped loses it with `--force`. It cannot write or send anything any more once\n\
        its term of 30 s is over; what it sent before may arrive for another 75 s, so the lease is free after that. Until then\n\
        `provision lock show` says `broken`. What it had begun is settled by the next apply."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "lease", "unlock", "force"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .switch("force", "Take it from an owner that is alive and hangs.", None)
            .named("reason", SyntaxShape::String, "Why; kept in the audit log.", Some('m'))
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision lock break --reason 'the runner was switched off'",
            description: "Go on without waiting for the term to end",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let raised = |failure| labeled(&failure, call.head, "while breaking the lease");
        let reason = call.get_flag::<String>("reason")?.filter(|reason| !reason.trim().is_empty());
        let reason = reason.ok_or_else(|| {
            let failure = Failure::new(Code::LeaseReason, "a lease is broken for a reason, and none is given");
            raised(failure.with_help("Give one with --reason; it is kept in the audit log."))
        })?;
        let row =
            session.workspace.store.break_lease(&session.actor.id, &reason, call.has_flag("force")?).map_err(raised)?;
        Ok(PipelineData::value(super::value(&row, call.head, super::COLUMNS), None))
    }
}
