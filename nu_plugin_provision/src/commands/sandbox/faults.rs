//! Owns `provision sandbox faults`: making the embedded clouds misbehave on request.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_nu_bridge::labeled;
use provision_sandbox::control;

pub struct SandboxFaults;

impl PluginCommand for SandboxFaults {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox faults"
    }

    fn description(&self) -> &str {
        "Show the faults of the embedded clouds, or set them with flags."
    }

    fn extra_description(&self) -> &str {
        "Rates are probabilities from 0 to 1. A flag changes its fault and leaves the others; --clear takes all away first."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "chaos", "latency", "error", "throttle"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .named("latency", SyntaxShape::Duration, "Added to every answer.", None)
            .named("error-rate", SyntaxShape::Number, "5xx before anything is changed.", None)
            .named("throttle", SyntaxShape::Number, "Too many requests, with Retry-After.", None)
            .named("reset-before", SyntaxShape::Number, "Connection closed before anything is changed.", None)
            .named("reset-after-commit", SyntaxShape::Number, "Connection closed after the change was made.", None)
            .named("stale-reads", SyntaxShape::Duration, "New resources stay out of lists this long.", None)
            .named("seed", SyntaxShape::Int, "Makes the dice repeatable.", None)
            .switch("clear", "Take all faults away first.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision sandbox faults --latency 200ms --reset-after-commit 0.1",
                description: "Slow clouds that lose one answer in ten",
                result: None,
            },
            Example { example: "provision sandbox faults --clear", description: "Well-behaved again", result: None },
        ]
    }

    fn run(
        &self,
        _: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let home = home(engine)?;
        let raised = |failure| labeled(&failure, call.head, "while asking the sandbox");
        let mut faults = match call.has_flag("clear")? {
            true => control::faults(&home, Some(provision_sandbox::Faults::default())).map_err(raised)?,
            false => control::faults(&home, None).map_err(raised)?,
        };
        let before = faults.clone();
        let millis = |name: &str| -> Result<Option<u64>, LabeledError> {
            Ok(call.get_flag::<i64>(name)?.and_then(|nanos| u64::try_from(nanos / 1_000_000).ok()))
        };
        let rate = |name: &str| -> Result<Option<f64>, LabeledError> { Ok(call.get_flag::<f64>(name)?) };
        faults.latency_ms = millis("latency")?.unwrap_or(faults.latency_ms);
        faults.stale_reads_ms = millis("stale-reads")?.unwrap_or(faults.stale_reads_ms);
        faults.error_rate = rate("error-rate")?.unwrap_or(faults.error_rate);
        faults.throttle_rate = rate("throttle")?.unwrap_or(faults.throttle_rate);
        faults.reset_before_rate = rate("reset-before")?.unwrap_or(faults.reset_before_rate);
        faults.reset_after_commit_rate = rate("reset-after-commit")?.unwrap_or(faults.reset_after_commit_rate);
        faults.seed = call.get_flag::<i64>("seed")?.and_then(|seed| u64::try_from(seed).ok()).or(faults.seed);
        if faults != before {
            faults = control::faults(&home, Some(faults)).map_err(raised)?;
        }
        let latency =
            Value::duration(i64::try_from(faults.latency_ms).unwrap_or(0).saturating_mul(1_000_000), call.head);
        let stale =
            Value::duration(i64::try_from(faults.stale_reads_ms).unwrap_or(0).saturating_mul(1_000_000), call.head);
        let number = |rate: f64| Value::float(rate, call.head);
        let record = nu_protocol::record! {
            "latency" => latency,
            "error_rate" => number(faults.error_rate),
            "throttle" => number(faults.throttle_rate),
            "reset_before" => number(faults.reset_before_rate),
            "reset_after_commit" => number(faults.reset_after_commit_rate),
            "stale_reads" => stale,
        };
        Ok(PipelineData::value(Value::record(record, call.head), None))
    }
}
