//! Owns `provision destroy`: taking everything down, in reverse order.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{parallel, project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_engine::ApplyOptions;

pub struct Destroy;

impl PluginCommand for Destroy {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision destroy"
    }

    fn description(&self) -> &str {
        "Delete everything the state holds, in reverse order."
    }

    fn extra_description(&self) -> &str {
        "Protected resources refuse; retained ones are forgotten. Policies are asked as for an apply. What there is, is in the\n\
        state: a mistake in infra.ncl, or a file of it that is gone, keeps nothing from being deleted."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "delete", "remove", "teardown"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named("parallel", SyntaxShape::Int, "Operations at a time, 16 by default.", None)
            .switch("yes", "Consent to delete everything.", Some('y'))
            .named("reason", SyntaxShape::String, "Why, for `provision history` and the audit log.", Some('m'))
            .switch("quiet", "Draw no progress bar.", Some('q'))
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(provider_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: r#"provision destroy --yes"#, description: "Delete everything", result: None },
            Example { example: r#"provision plan --destroy"#, description: "See what would be deleted", result: None },
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
        let session = with_given(session(plugin, engine, call)?, plugin, engine, call)?;
        let options = ApplyOptions {
            parallel: parallel(engine, call)?,
            yes: call.has_flag("yes")?,
            destroy: true,
            reason: call.get_flag("reason")?,
            ..ApplyOptions::default()
        };
        super::apply::start(session, None, options, engine, call)
    }
}
