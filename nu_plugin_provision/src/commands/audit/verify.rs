//! Owns `provision audit verify`: proving that the log is whole.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_engine::Checkpoint;
use provision_nu_bridge::{labeled, to_json};

pub struct AuditVerify;

impl PluginCommand for AuditVerify {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision audit verify"
    }

    fn description(&self) -> &str {
        "Prove that nothing in the audit log, the history, the approvals and the policies in force was altered, removed or added."
    }

    fn extra_description(&self) -> &str {
        "The record is `valid, entries, checkpoints, head, problems, gaps`; problems are rows `seq, problem`. Gaps are what going\n\
        back to a backup cut off, as the log itself tells: `seq` of the entry that tells it, `from` and `until`, `hash` at the end.\n\
        Whoever has the state's files and its key can write another log; `--head` compares it with heads kept elsewhere."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "chain", "tamper", "integrity", "signature"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named(
                "head",
                SyntaxShape::Any,
                "What `provision audit head` gave: a record, a list of them, or JSON.",
                None,
            )
            .switch("strict", "Raise an error when the log is not whole.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision audit verify", description: "Look at the whole log", result: None },
            Example {
                example: "provision audit verify --strict",
                description: "The same in a script, which then stops",
                result: None,
            },
            Example {
                example: "provision audit verify --head (open --raw /mnt/worm/shop.heads | lines | each { from json })",
                description: "Compare the log with all heads that were anchored",
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
        let raised = |failure| labeled(&failure, call.head, "while verifying the audit log");
        let anchored = match call.get_flag_value("head") {
            Some(value) => {
                let given = heads(&value)?;
                if given.is_empty() {
                    // Held against nothing, every log would be whole.
                    let failure = Failure::new(Code::AuditHead, "there is no head in what `--head` gives")
                        .with_help("Give what `provision audit head` gave, as a record, a list or JSON.");
                    return Err(labeled(&failure, value.span(), "this is empty"));
                }
                given
            }
            None => Vec::new(),
        };
        let found = session.workspace.store.verify_audit(&anchored).map_err(raised)?;
        if let (true, Some(first)) = (call.has_flag("strict")?, found.problems.first()) {
            let message = format!("the audit log is not whole: entry {}: {}", first.seq, first.problem);
            let help = "Compare it with an exported copy; the file audit.head has the newest signed entry.";
            return Err(raised(Failure::new(Code::AuditBroken, message).with_help(help)));
        }
        Ok(PipelineData::value(super::value(&found, call.head, &[]), None))
    }
}

/// The heads that `--head` gives.
fn heads(value: &Value) -> Result<Vec<Checkpoint>, LabeledError> {
    let wrong = |error: serde_json::Error| {
        let failure = Failure::new(Code::AuditHead, format!("this is no head of an audit log: {error}"))
            .with_help("Give what `provision audit head` gave, as a record, a list or JSON.");
        labeled(&failure, value.span(), "this head")
    };
    match value {
        // One after the other, each on lines of its own or not.
        Value::String { val, .. } => {
            serde_json::Deserializer::from_str(val).into_iter().map(|head| head.map_err(wrong)).collect()
        }
        Value::List { vals, .. } => {
            vals.iter().map(|value| serde_json::from_value(to_json(value)?).map_err(wrong)).collect()
        }
        one => Ok(vec![serde_json::from_value(to_json(one)?).map_err(wrong)?]),
    }
}
