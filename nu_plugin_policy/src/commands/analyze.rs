//! Owns `policy analyze`: what can be proved of policies.

use crate::PolicyPlugin;
use crate::given::{policies, policies_of, policy_flag, solver, solver_flags, text};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_nu_bridge::{from_serialize, labeled};

pub struct Analyze;

impl PluginCommand for Analyze {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy analyze"
    }

    fn description(&self) -> &str {
        "Prove what is wrong with policies, or how they differ from others."
    }

    fn extra_description(&self) -> &str {
        "Findings are proved for every possible request of the schema, with the Cedar symbolic compiler and the solver cvc5:\n\
        `never_matches` (a policy that can never apply), `redundant` (others of its effect cover it), `shadowed` (a permit whose every\n\
        request is forbidden), `always_allows` and `always_denies` (an action that is decided once and for all).\n\
        With --against OLD: `equivalent`, or for each action `more_permissive` or `less_permissive` than OLD.\n\
        `policies` names the one that can go first. `counterexample` is a request that shows it, which `policy authorize` takes.\n\
        Templates are not looked at; links are."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "prove", "solver", "smt", "cvc5", "shadowed", "redundant", "equivalent"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named("against", SyntaxShape::Any, "Other policies to compare with.", Some('a'))
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::String, Type::table()),
                (Type::record(), Type::table()),
            ])
            .category(super::category());
        policy_flag(solver_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "policy analyze | select finding policies message",
                description: "What the project's policies have too much of",
                result: None,
            },
            Example {
                example: "policy analyze --policies new --against old | where finding == more_permissive",
                description: "What new policies allow that old ones did not",
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
        let raise = |failure| labeled(&failure, given.span, "in these policies");
        let set = given.what.map_err(raise)?;
        let other = call.get_flag_value("against").map(|value| policies_of(plugin, engine, &value)).transpose()?;
        let solver = solver(plugin, engine, call)?;
        let mut prover = solver.prover().map_err(raise)?;
        let findings = match other {
            None => prover.analyze(&set).map_err(raise)?,
            Some(other) => {
                let old = other.what.map_err(|failure| labeled(&failure, other.span, "in these policies"))?;
                prover.compare(&old, &set).map_err(raise)?
            }
        };
        Ok(PipelineData::value(from_serialize(&findings, call.head)?, None))
    }
}
