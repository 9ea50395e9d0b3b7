//! Owns `provision trust list`: showing what the project trusts.

use crate::ProvisionPlugin;
use crate::open::{project_flag, required_project};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;
use provision_registry::Lock;

pub struct TrustList;

impl PluginCommand for TrustList {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision trust list"
    }

    fn description(&self) -> &str {
        "List the hosts, extensions and imports that the project trusts."
    }

    fn extra_description(&self) -> &str {
        "The rows are those of `provision.lock`: a host with the provider whose credentials it gets, an extension that replaces a \
         built-in provider with the digest of its files, a path outside the project that Nickel files may import."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "consent", "lock", "hosts", "security"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision trust list", description: "See what was agreed to", result: None },
            Example {
                example: "provision trust list | where kind == host",
                description: "See which hosts get credentials",
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
        let project = required_project(engine, call)?;
        let lock = Lock::read(&project).map_err(|failure| labeled(&failure, call.head, "while reading the lock"))?;
        Ok(super::rows(&lock, call))
    }
}
