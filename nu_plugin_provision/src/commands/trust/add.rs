//! Owns `provision trust add`: giving consent.

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature};

pub struct TrustAdd;

impl PluginCommand for TrustAdd {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision trust add"
    }

    fn description(&self) -> &str {
        "Trust a host, an extension or an import, and keep that in the project."
    }

    fn extra_description(&self) -> &str {
        "Run it after you have read what you agree to. A host then gets the credentials of one provider; an extension takes the place of a built-in provider, until its files change; Nickel files may import a file or a folder outside the project. The consent is written to `provision.lock`, which is committed, and to the audit log. Give rows of what is trusted then."
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
                example: "provision trust add host https://hcloud.internal.example --provider hetzner",
                description: "Let a host of your own have Hetzner's token",
                result: None,
            },
            Example {
                example: "provision trust add provider hetzner",
                description: "Use the extension instead of the built-in provider",
                result: None,
            },
            Example {
                example: "provision trust add import ../shared/network.ncl",
                description: "Let Nickel files import one file outside the project",
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
        super::change(engine, call, true)
    }
}
