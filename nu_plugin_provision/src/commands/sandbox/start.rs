//! Owns `provision sandbox start`: starting the embedded clouds.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::labeled;
use provision_sandbox::control::{self, StartOptions};

pub struct SandboxStart;

impl PluginCommand for SandboxStart {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox start"
    }

    fn description(&self) -> &str {
        "Start the embedded clouds on a loopback port, and point this session at them."
    }

    fn extra_description(&self) -> &str {
        "It survives its own restart: what was made stays until `provision sandbox reset`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "simulate", "mock", "localstack", "clouds"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .named("port", SyntaxShape::Int, "Port to listen on; a free one by default.", None)
            .named(
                "action-duration",
                SyntaxShape::Duration,
                "How long the clouds' actions take, 150ms by default.",
                None,
            )
            .named("hetzner-rate-limit", SyntaxShape::Int, "Requests per hour and token, 3600 by default.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#"provision sandbox start"#,
            description: "Start, and set HCLOUD_ENDPOINT, AWS_ENDPOINT_URL and the like",
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
        let _ = (plugin, input);
        let raised = |failure: Failure| labeled(&failure, call.head, "while starting the sandbox");
        let options = StartOptions {
            port: call.get_flag::<i64>("port")?.and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
            action_duration_ms: call
                .get_flag::<i64>("action-duration")?
                .and_then(|nanos| u64::try_from(nanos / 1_000_000).ok()),
            hetzner_rate_limit: call.get_flag::<i64>("hetzner-rate-limit")?.and_then(|limit| u32::try_from(limit).ok()),
            exit_with_parent: None,
        };
        let binary = std::env::current_exe()
            .map(|plugin| plugin.with_file_name("provisiond"))
            .map_err(|error| raised(Failure::new(Code::SandboxFailed, format!("cannot find provisiond: {error}"))))?;
        let started = control::start(&home(engine)?, &binary, &options).map_err(raised)?;
        for (name, value) in &started.env {
            engine.add_env_var(name, Value::string(value, call.head))?;
        }
        Ok(PipelineData::value(super::value(&started, call.head, &[]), None))
    }
}
