//! Owns `provision audit`: who did what.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{Kind, labeled, shell, stream};

pub struct Audit;

impl PluginCommand for Audit {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision audit"
    }

    fn description(&self) -> &str {
        "Show who did what, when, and which policies allowed it; the oldest entry first."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "log", "compliance", "who"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named("from", SyntaxShape::Int, "The first entry to show.", None)
            .switch("lines", "Give JSON lines instead of rows.", None)
            .input_output_types(vec![(Type::Nothing, Type::table()), (Type::Nothing, Type::String)])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision audit | where subject == web",
                description: "What happened to `web`",
                result: None,
            },
            Example {
                example: "provision audit --lines | save audit.jsonl",
                description: "Export the log",
                result: None,
            },
            Example {
                example: "provision audit | where event == apply.deny | get detail.denials",
                description: "What was denied",
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
        let raised = |failure| labeled(&failure, call.head, "while reading the audit log");
        let mut next = call.get_flag::<i64>("from")?.unwrap_or(1).max(1);
        let lines = call.has_flag("lines")?;
        let span = call.head;
        // A page at a time: the log may be longer than the memory.
        let mut page = session.workspace.store.audit_page(next).map_err(raised)?.into_iter();
        let store = session.workspace.store.clone();
        let rows = std::iter::from_fn(move || {
            let row = match page.next() {
                Some(row) => row,
                None => {
                    page = match store.audit_page(next) {
                        Ok(page) => page.into_iter(),
                        Err(failure) => return Some(Err(failure)),
                    };
                    page.next()?
                }
            };
            next = row.seq + 1;
            Some(Ok(row))
        });
        if lines {
            let mut text = String::new();
            for row in rows {
                let row = row.map_err(raised)?;
                let line = serde_json::to_string(&row).map_err(|error| {
                    raised(Failure::new(Code::StateIo, format!("the row {} cannot be written down: {error}", row.seq)))
                })?;
                text.push_str(&line);
                text.push('\n');
            }
            return Ok(PipelineData::value(Value::string(text, span), None));
        }
        let values = rows.map(move |row| match row {
            Ok(row) => super::value(&row, span, &[("time", Kind::Date)]),
            Err(failure) => Value::error(shell(&failure, span, "while reading the audit log"), span),
        });
        Ok(stream(values, span, engine.signals().clone()))
    }
}
