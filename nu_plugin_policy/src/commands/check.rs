//! Owns `policy check`: what is wrong in policies, as a table.

use crate::PolicyPlugin;
use crate::given::{generated, policies, policy_flags, schema, text};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_diagnostic::{Code, Diagnostic, Failure, Severity};
use provision_nu_bridge::{diagnostics_table, labeled};

/// Said where a schema was taken that was not given.
const GENERATED: &str = "This is the schema generated from the installed providers; --schema gives another.";

pub struct Check;

impl PluginCommand for Check {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy check"
    }

    fn description(&self) -> &str {
        "Parse Cedar policies and validate them against a schema, giving what is wrong as a table."
    }

    fn extra_description(&self) -> &str {
        "The policies are those of --policies, else the text on the pipeline, else the project's. The table is empty when nothing is wrong."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "lint", "validate", "diagnostics"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .switch("strict", "Raise the first error instead of returning it.", None)
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::String, Type::table()),
                (Type::record(), Type::table()),
            ])
            .category(super::category());
        policy_flags(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#""permit(principal, action, resource);" | policy check --schema "entity User; action view appliesTo { principal: User, resource: User };""#,
                description: "Check one policy against a schema of one's own",
                result: Some(Value::test_list(vec![])),
            },
            Example {
                example: "policy check --strict",
                description: "Stop a script when the project's policies are wrong",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let given = policies(plugin, engine, call, text(call, input)?)?;
        let mut found = Vec::new();
        let own = schema(plugin, engine, call)?;
        match given.what {
            Err(failure) => {
                found.extend(failure.into_diagnostics());
                if let Some(Err(failure)) = own.map(|own| own.what) {
                    found.extend(failure.into_diagnostics());
                }
            }
            Ok(set) if set.is_empty() => found.push(
                Diagnostic::error(Code::PolicyIo, "there is no policy in what was checked")
                    .with_help("Without a policy every request is denied. Check the path given with --policies, and that its files end with `.cedar`."),
            ),
            Ok(set) => match own.map(|own| own.what) {
                None => {
                    let mut wrong = set.validate(&generated(plugin, engine, call.head)?.schema);
                    for one in &mut wrong {
                        let help = one.help.take().map(|help| format!("{help}\n")).unwrap_or_default();
                        one.help = Some(format!("{help}{GENERATED}"));
                    }
                    found.extend(wrong);
                }
                Some(Ok(schema)) => found.extend(set.validate(&schema)),
                Some(Err(failure)) => found.extend(failure.into_diagnostics()),
            },
        }
        if call.has_flag("strict")? {
            let errors = found.iter().filter(|one| one.severity == Severity::Error).cloned().collect();
            Failure::check(errors).map_err(|failure| labeled(&failure, given.span, "in these policies"))?;
        }
        Ok(PipelineData::value(diagnostics_table(&found, call.head), None))
    }
}
