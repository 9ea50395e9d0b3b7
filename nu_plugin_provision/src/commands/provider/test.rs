//! Owns `provision provider test`: the contract suite of a provider.

use crate::ProvisionPlugin;
use crate::open::{environment, project_flag, project_folder, session_in};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_contract::{CheckRow, Suite, Target, Verdict};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{Kind, labeled, resolve_path};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct ProviderTest;

impl PluginCommand for ProviderTest {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision provider test"
    }

    fn description(&self) -> &str {
        "Prove every type of a provider: create, read back, list, change and replace each field, drift, delete, bad days."
    }

    fn extra_description(&self) -> &str {
        "It runs against the sandbox in this process, a Nushell module in a folder that is gone afterwards, against a cloud of your own with --endpoint, or against a recording with --replay. It makes and deletes real resources there; in a project its policies are asked first, about the action `test_provider`. Values come from `example` and `other` of each field in the manifest; what has none is skipped and says so."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "contract", "conformance", "suite", "verify"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("provider", SyntaxShape::String, "Name of the provider.")
            .named("type", crate::commands::texts_shape(), "Only this type, or these.", Some('t'))
            .named(
                "endpoint",
                SyntaxShape::String,
                "Address of a cloud to test against; credentials come from the environment.",
                None,
            )
            .named("record", SyntaxShape::Directory, "Write what goes over the wire here, secrets taken out.", None)
            .named("replay", SyntaxShape::Directory, "Take the answers from what was recorded here; no network.", None)
            .switch("strict", "Raise an error when a check failed.", None)
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision provider test hetzner | where result == failed",
                description: "What does not hold",
                result: None,
            },
            Example {
                example: "provision provider test acme --endpoint http://127.0.0.1:8080 --strict",
                description: "Stop a script unless a provider of your own passes",
                result: None,
            },
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
        let name: Spanned<String> = call.req(0)?;
        let types = crate::commands::texts(call, "type")?.unwrap_or_default();
        let folder = |flag: &str| -> Result<Option<std::path::PathBuf>, LabeledError> {
            let given: Option<String> = call.get_flag(flag)?;
            Ok(match given {
                Some(path) => Some(resolve_path(engine, &path)?),
                None => None,
            })
        };
        let (record, replay) = (folder("record")?, folder("replay")?);
        let endpoint: Option<String> = call.get_flag("endpoint")?;
        let raised = |failure: Failure| labeled(&failure, call.head, "while testing the provider");
        if record.is_some() && replay.is_some() || endpoint.is_some() && replay.is_some() {
            let failure = Failure::new(Code::ProviderNoCloud, "a recording is replayed without a cloud")
                .with_help("Leave out --endpoint and --record with --replay.");
            return Err(raised(failure));
        }
        let project = project_folder(engine, call)?;
        let registry = super::registry(plugin, engine, call, project.as_deref())?;
        super::manifest(&registry, &name)?;
        // In a project nobody changes a cloud past its policies, in whatever state the changes are kept.
        if let (Some(endpoint), Some(project)) = (&endpoint, &project) {
            let session = session_in(plugin, engine, call.head, project, environment(engine, call)?)?;
            session.may_test_provider(&name.item, &types, endpoint).map_err(raised)?;
        }
        let target = match (endpoint, replay) {
            (Some(endpoint), _) => Target::Network(Some(endpoint)),
            (None, Some(folder)) => Target::Replay(folder),
            (None, None) => Target::Sandbox,
        };
        let suite = Suite {
            registry,
            rust: plugin.rust.clone(),
            evaluator: plugin.evaluator.clone(),
            env: super::env(engine)?,
            provider: name.item.clone(),
            types,
            target,
            record,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let _guard = engine.register_signal_handler(Box::new(move |_| flag.store(true, Ordering::SeqCst)))?;
        let mut rows: Vec<CheckRow> = Vec::new();
        suite.run(&stop, &mut |row| rows.push(row)).map_err(raised)?;
        if call.has_flag("strict")?
            && let Some(first) = rows.iter().find(|row| row.result == Verdict::Failed)
        {
            let failed = rows.iter().filter(|row| row.result == Verdict::Failed).count();
            let why = first.message.clone().unwrap_or_default();
            let message = format!("{failed} of {} checks failed; {} of {}: {why}", rows.len(), first.check, first.kind);
            let failure =
                Failure::new(Code::ProviderTest, message).with_help("Run it without --strict to see all rows.");
            return Err(raised(failure));
        }
        let shown = rows.iter().map(|row| super::value(row, call.head, &[("duration", Kind::DurationNanos)]));
        Ok(PipelineData::value(Value::list(shown.collect(), call.head), None))
    }
}
