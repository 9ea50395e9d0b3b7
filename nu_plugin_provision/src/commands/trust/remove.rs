//! Owns `provision trust remove`: taking consent back.

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature};

pub struct TrustRemove;

impl PluginCommand for TrustRemove {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision trust remove"
    }

    fn description(&self) -> &str {
        "Stop trusting a host, an extension or an import."
    }

    fn extra_description(&self) -> &str {
        "The consent goes from `provision.lock`; the audit log keeps that it was there. Give rows of what is still trusted."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "consent", "lock", "security", "endpoint"]
    }

    fn signature(&self) -> Signature {
        super::signature(self.name())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision trust remove host https://hcloud.internal.example --provider hetzner",
                description: "Keep Hetzner's token from a host again",
                result: None,
            },
            Example {
                example: "provision trust remove provider hetzner",
                description: "Refuse the extension again",
                result: None,
            },
            Example {
                example: "provision trust remove import ../shared/network.ncl",
                description: "Keep imports inside the project again",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        super::change(engine, call, false)
    }
}
