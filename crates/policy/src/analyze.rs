//! Owns what can be proved of policies: which never apply, which others make needless, which actions are decided once
//! and for all, and how two sets differ. By the Cedar symbolic compiler and an SMT solver, not by sampling.

use crate::set::{PolicySet, Schema};
use crate::slice::is_true;
use cedar_policy::{Effect, EntityUid, Policy, RequestEnv};
use cedar_policy_core::ast;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env};
use provision_diagnostic::{Code, Failure};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One thing that was proved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `never_matches`, `redundant`, `shadowed`, `always_allows`, `always_denies`; of two sets `equivalent`,
    /// `more_permissive`, `less_permissive`.
    pub finding: &'static str,
    /// The policies concerned; the one that can go stands first.
    pub policies: Vec<String>,
    pub message: String,
    /// A request that shows it, with its entities, as `policy authorize` takes it; null where there is none to show.
    pub counterexample: Json,
}

/// How long one question to the solver may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Proves things about policies.
pub struct Prover<'a> {
    schema: &'a Schema,
    program: PathBuf,
    runtime: tokio::runtime::Runtime,
    compiler: Option<CedarSymCompiler<LocalSolver>>,
    /// Every kind of request, in a fixed order.
    envs: Vec<RequestEnv>,
    stop: Arc<AtomicBool>,
}

/// A policy compiled for every kind of request, and requests it matches.
struct Compiled<'p> {
    policy: &'p Policy,
    id: String,
    /// By kind of request; `None` where it cannot match.
    matching: Vec<Option<(CompiledPolicy, Env)>>,
}

impl Compiled<'_> {
    fn samples(&self) -> impl Iterator<Item = &Env> {
        self.matching.iter().flatten().map(|(_, sample)| sample)
    }

    fn first_sample(&self) -> Json {
        self.samples().next().map_or(Json::Null, question)
    }
}

type Ask<T> = Result<T, Failure>;

impl<'a> Prover<'a> {
    /// `program` is the solver cvc5; `stop`, set to true, ends the work with an error.
    pub fn new(schema: &'a Schema, program: PathBuf, stop: Arc<AtomicBool>) -> Ask<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| solver(format!("the solver cannot be talked to: {error}")))?;
        let mut envs: Vec<RequestEnv> = schema.cedar.request_envs().collect();
        envs.sort_by_key(|env| (env.action().to_string(), env.principal().to_string(), env.resource().to_string()));
        Ok(Prover { schema, program, runtime, compiler: None, envs, stop })
    }

    /// What is wrong in a set. Policies that do not fit the schema are an error.
    pub fn analyze(&mut self, set: &PolicySet) -> Ask<Vec<Finding>> {
        set.fits(self.schema)?;
        let mut findings = Vec::new();
        let mut all = Vec::new();
        for policy in set.in_order() {
            all.push(self.compile(policy)?);
        }
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        for (at, one) in all.iter().enumerate() {
            if one.matching.iter().all(Option::is_none) {
                gone.insert(at);
                findings.push((at, self.never_matches(one)?));
            }
        }
        // The last of several equal ones is the one that can go.
        for look in [Self::redundant, Self::shadowed, Self::redundant_together] {
            for at in (0..all.len()).rev() {
                if gone.contains(&at) {
                    continue;
                }
                if let Some(finding) = look(self, &all, at, &gone)? {
                    gone.insert(at);
                    findings.push((at, finding));
                }
            }
        }
        findings.sort_by_key(|(at, _)| *at);
        let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
        findings.extend(self.decided_actions(set, &all)?);
        Ok(findings)
    }

    /// How a new set differs from an old one: a row for each action on which it allows more, and on which less.
    pub fn compare(&mut self, old: &PolicySet, new: &PolicySet) -> Ask<Vec<Finding>> {
        let mut rows = Vec::new();
        for (more, env) in self.differences(old, new)? {
            let (finding, verb, decided) = match more {
                true => ("more_permissive", "allow", self.deciders(new, &env)),
                false => ("less_permissive", "deny", {
                    let by = self.deciders(new, &env);
                    if by.is_empty() { self.deciders(old, &env) } else { by }
                }),
            };
            let action = env.request.action().map(ToString::to_string).unwrap_or_default();
            let other = if more { "deny" } else { "allow" };
            rows.push(Finding {
                finding,
                policies: decided,
                message: format!("the new policies {verb} a request for {action} that the old ones {other}"),
                counterexample: question(&env),
            });
        }
        if rows.is_empty() {
            rows.push(Finding {
                finding: "equivalent",
                policies: Vec::new(),
                message: "both sets decide every request alike".to_owned(),
                counterexample: Json::Null,
            });
        }
        Ok(rows)
    }

    /// A request for each action and direction in which two sets differ, as `policy authorize` takes it.
    pub fn differing(&mut self, old: &PolicySet, new: &PolicySet) -> Ask<Vec<Json>> {
        Ok(self.differences(old, new)?.iter().map(|(_, env)| question(env)).collect())
    }

    /// The same; `true` where the new set allows it.
    fn differences(&mut self, old: &PolicySet, new: &PolicySet) -> Ask<Vec<(bool, Env)>> {
        old.fits(self.schema)?;
        new.fits(self.schema)?;
        let mut told: BTreeSet<(bool, String)> = BTreeSet::new();
        let mut found = Vec::new();
        for env in self.envs.clone() {
            let schema = &self.schema.cedar;
            let compile = |set: &PolicySet| CompiledPolicySet::compile(&set.cedar, &env, schema).map_err(uncompiled);
            let (before, after) = (compile(old)?, compile(new)?);
            for (more, from, to) in [(true, &after, &before), (false, &before, &after)] {
                if told.contains(&(more, env.action().to_string())) {
                    continue;
                }
                let example =
                    self.ask(async |compiler| compiler.check_implies_with_counterexample_opt(from, to).await)?;
                if let Some(example) = example {
                    told.insert((more, env.action().to_string()));
                    found.push((more, example));
                }
            }
        }
        Ok(found)
    }

    /// Asks the solver for an example. Where it cannot tell there is no answer to build on.
    fn ask<T>(&mut self, question: impl AsyncFn(&mut CedarSymCompiler<LocalSolver>) -> Result<T, Error>) -> Ask<T> {
        self.try_ask(question)?.ok_or_else(undecided)
    }

    /// Whether the solver proves something; what it cannot tell is not proved.
    fn proves(
        &mut self,
        question: impl AsyncFn(&mut CedarSymCompiler<LocalSolver>) -> Result<bool, Error>,
    ) -> Ask<bool> {
        Ok(self.try_ask(question)? == Some(true))
    }

    /// Asks the solver; `None` where it cannot tell.
    fn try_ask<T>(
        &mut self,
        question: impl AsyncFn(&mut CedarSymCompiler<LocalSolver>) -> Result<T, Error>,
    ) -> Ask<Option<T>> {
        if self.compiler.is_none() {
            let limit = format!("--tlimit-per={}", LIMIT.as_millis());
            let mut command = tokio::process::Command::new(&self.program);
            command.args(["--lang", "smt", &limit]).kill_on_drop(true);
            let _inside = self.runtime.enter();
            let started = LocalSolver::from_command(&mut command).map_err(|error| solver(error.to_string()))?;
            self.compiler = Some(CedarSymCompiler::new(started).map_err(|error| solver(error.to_string()))?);
        }
        let Some(compiler) = &mut self.compiler else { return Ok(None) };
        let stop = &self.stop;
        let answer = self.runtime.block_on(async {
            tokio::select! {
                answer = question(compiler) => Some(answer),
                () = stopped(stop) => None,
            }
        });
        match answer {
            Some(Ok(answer)) => Ok(Some(answer)),
            Some(Err(Error::SolverUnknown)) => Ok(None),
            Some(Err(Error::SolverError(error))) => {
                // A solver that failed once is not asked again.
                self.compiler = None;
                Err(solver(format!("cvc5 failed: {error}")))
            }
            Some(Err(error)) => Err(solver(error.to_string())),
            None => {
                self.compiler = None;
                Err(solver("the proof was stopped").with_help("Ask again to go on from the start."))
            }
        }
    }

    fn compile<'p>(&mut self, policy: &'p Policy) -> Ask<Compiled<'p>> {
        let mut matching = Vec::new();
        for env in self.envs.clone() {
            let compiled = CompiledPolicy::compile(policy, &env, &self.schema.cedar).map_err(uncompiled)?;
            let example =
                self.ask(async |compiler| compiler.check_never_matches_with_counterexample_opt(&compiled).await)?;
            matching.push(example.map(|example| (compiled, example)));
        }
        Ok(Compiled { policy, id: policy.id().to_string(), matching })
    }

    fn never_matches(&mut self, one: &Compiled<'_>) -> Ask<Finding> {
        // A request the scope is about, which the conditions then refuse.
        let mut json = one.policy.to_json().unwrap_or_default();
        json["conditions"] = json!([]);
        let scope = Policy::from_json(Some(one.policy.id().clone()), json).ok();
        let example = match &scope {
            Some(scope) => self.compile(scope)?.first_sample(),
            None => Json::Null,
        };
        let why = if example.is_null() { "no request is in its scope" } else { "its conditions never hold" };
        Ok(Finding {
            finding: "never_matches",
            policies: vec![one.id.clone()],
            message: format!("`{}` never applies: {why}", one.id),
            counterexample: example,
        })
    }

    /// Whether everything `one` matches is matched by `other`.
    fn implies(&mut self, one: &Compiled<'_>, other: &Compiled<'_>) -> Ask<bool> {
        if !one.samples().all(|sample| matches(other.policy, sample)) {
            return Ok(false);
        }
        for (mine, theirs) in one.matching.iter().zip(&other.matching) {
            let Some((mine, _)) = mine else { continue };
            let Some((theirs, _)) = theirs else { return Ok(false) };
            let proved = self.proves(async |compiler| compiler.check_matches_implies_opt(mine, theirs).await)?;
            if !proved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn redundant(&mut self, all: &[Compiled<'_>], at: usize, gone: &BTreeSet<usize>) -> Ask<Option<Finding>> {
        let one = &all[at];
        for (_, other) in all.iter().enumerate().filter(|(other, _)| *other != at && !gone.contains(other)) {
            if can_stand_in(other, one) && self.implies(one, other)? {
                let verb = if one.policy.effect() == Effect::Permit { "permits" } else { "forbids" };
                return Ok(Some(Finding {
                    finding: "redundant",
                    policies: vec![one.id.clone(), other.id.clone()],
                    message: format!("`{}` is redundant: `{}` {verb} everything it {verb}", one.id, other.id),
                    counterexample: one.first_sample(),
                }));
            }
        }
        Ok(None)
    }

    fn shadowed(&mut self, all: &[Compiled<'_>], at: usize, _gone: &BTreeSet<usize>) -> Ask<Option<Finding>> {
        let one = &all[at];
        if one.policy.effect() != Effect::Permit {
            return Ok(None);
        }
        // What waits for an approval is not forbidden for good.
        let forbids: Vec<&Compiled<'_>> =
            all.iter().filter(|other| other.policy.effect() == Effect::Forbid && approval(other).is_none()).collect();
        if !one.samples().all(|sample| forbids.iter().any(|forbid| matches(forbid.policy, sample))) {
            return Ok(None);
        }
        let mut by = Vec::new();
        for forbid in &forbids {
            if self.implies(one, forbid)? {
                by = vec![forbid.id.clone()];
                break;
            }
        }
        if by.is_empty() {
            if !self.covered(one, &forbids)? {
                return Ok(None);
            }
            by = forbids
                .iter()
                .filter(|forbid| one.samples().any(|sample| matches(forbid.policy, sample)))
                .map(|forbid| forbid.id.clone())
                .collect();
        }
        let named = by.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" and ");
        let verb = if by.len() == 1 { "forbids" } else { "forbid" };
        let message = format!("`{}` permits nothing: {named} {verb} everything it permits", one.id);
        let policies = std::iter::once(one.id.clone()).chain(by).collect();
        Ok(Some(Finding { finding: "shadowed", policies, message, counterexample: one.first_sample() }))
    }

    fn redundant_together(&mut self, all: &[Compiled<'_>], at: usize, gone: &BTreeSet<usize>) -> Ask<Option<Finding>> {
        let one = &all[at];
        let others: Vec<&Compiled<'_>> = all
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at && !gone.contains(other))
            .map(|(_, other)| other)
            .filter(|other| can_stand_in(other, one))
            .collect();
        if others.len() < 2
            || !one.samples().all(|sample| others.iter().any(|other| matches(other.policy, sample)))
            || !self.covered(one, &others)?
        {
            return Ok(None);
        }
        // Those that take part, found by leaving out one after the other.
        let mut needed = others.clone();
        for other in others {
            let rest: Vec<&Compiled<'_>> = needed.iter().copied().filter(|left| left.id != other.id).collect();
            if self.covered(one, &rest)? {
                needed = rest;
            }
        }
        let named = needed.iter().map(|other| format!("`{}`", other.id)).collect::<Vec<_>>().join(", ");
        let verb = if one.policy.effect() == Effect::Permit { "permit" } else { "forbid" };
        Ok(Some(Finding {
            finding: "redundant",
            message: format!("`{}` is redundant: {named} together {verb} everything it {verb}s", one.id),
            policies: std::iter::once(one.id.clone()).chain(needed.iter().map(|other| other.id.clone())).collect(),
            counterexample: one.first_sample(),
        }))
    }

    /// Whether everything `one` matches is matched by one of the others.
    fn covered(&mut self, one: &Compiled<'_>, others: &[&Compiled<'_>]) -> Ask<bool> {
        let union = permitting(others.iter().map(|other| other.policy))?;
        let single = permitting(std::iter::once(one.policy))?;
        for (at, env) in self.envs.clone().iter().enumerate() {
            if one.matching.get(at).is_none_or(Option::is_none) {
                continue;
            }
            let schema = &self.schema.cedar;
            let single = CompiledPolicySet::compile(&single, env, schema).map_err(uncompiled)?;
            let union = CompiledPolicySet::compile(&union, env, schema).map_err(uncompiled)?;
            let proved = self.proves(async |compiler| compiler.check_implies_opt(&single, &union).await)?;
            if !proved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Actions that every request for is allowed, or denied.
    fn decided_actions(&mut self, set: &PolicySet, all: &[Compiled<'_>]) -> Ask<Vec<Finding>> {
        let mut by_action: BTreeMap<EntityUid, Vec<RequestEnv>> = BTreeMap::new();
        for env in &self.envs {
            by_action.entry(env.action().clone()).or_default().push(env.clone());
        }
        let mut findings = Vec::new();
        for (action, envs) in by_action {
            let (mut allowed, mut denied) = (None, None);
            for env in &envs {
                let compiled = CompiledPolicySet::compile(&set.cedar, env, &self.schema.cedar).map_err(uncompiled)?;
                if allowed.is_none() {
                    allowed = self
                        .ask(async |compiler| compiler.check_always_denies_with_counterexample_opt(&compiled).await)?;
                }
                if denied.is_none() {
                    denied = self
                        .ask(async |compiler| compiler.check_always_allows_with_counterexample_opt(&compiled).await)?;
                }
            }
            let (finding, example, word) = match (allowed, denied) {
                (Some(_), Some(_)) | (None, None) => continue,
                (Some(example), None) => ("always_allows", example, "allowed"),
                (None, Some(example)) => ("always_denies", example, "denied"),
            };
            let effect = if finding == "always_allows" { Effect::Permit } else { Effect::Forbid };
            let policies: Vec<String> = all
                .iter()
                .filter(|one| one.policy.effect() == effect && matches(one.policy, &example))
                .map(|one| one.id.clone())
                .collect();
            let why = match (effect, policies.is_empty()) {
                (Effect::Forbid, true) => ": no policy permits it",
                _ => "",
            };
            findings.push(Finding {
                finding,
                policies,
                message: format!("every request for {action} is {word}{why}"),
                counterexample: question(&example),
            });
        }
        Ok(findings)
    }

    fn deciders(&self, set: &PolicySet, env: &Env) -> Vec<String> {
        let outcome = set.slices.evaluate(env.request.as_ref(), env.entities.as_ref());
        let (_, reasons, _) = outcome.decided();
        reasons.iter().filter_map(|at| Some(set.reasons.get(*at)?.policy.clone())).collect()
    }
}

fn approval(one: &Compiled<'_>) -> Option<String> {
    one.policy.annotation("approval").map(str::to_owned)
}

/// Whether a policy could do another's work: the same effect, and not set aside by an approval that leaves the other.
fn can_stand_in(one: &Compiled<'_>, other: &Compiled<'_>) -> bool {
    let lasting = one.policy.effect() == Effect::Permit || approval(one).is_none() || approval(one) == approval(other);
    one.policy.effect() == other.policy.effect() && lasting
}

/// Ends when the flag is set, within a tenth of a second.
async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Whether a policy, scope included, holds for a request.
fn matches(policy: &Policy, env: &Env) -> bool {
    let ast: &ast::Policy = policy.as_ref();
    let request: &ast::Request = env.request.as_ref();
    let evaluator = Evaluator::new(request.clone(), env.entities.as_ref(), Extensions::all_available());
    evaluator.interpret(&ast.condition(), ast.env()).is_ok_and(|value| is_true(&value))
}

/// The policies as permits, whatever their effect.
fn permitting<'p>(policies: impl Iterator<Item = &'p Policy>) -> Ask<cedar_policy::PolicySet> {
    let told = |error: &dyn std::fmt::Display| Failure::new(Code::PolicyParse, error.to_string());
    let mut set = cedar_policy::PolicySet::new();
    for policy in policies {
        let mut json = policy.to_json().map_err(|error| told(&error))?;
        json["effect"] = json!("permit");
        let permit = Policy::from_json(Some(policy.id().clone()), json).map_err(|error| told(&error))?;
        set.add(permit).map_err(|error| told(&error))?;
    }
    Ok(set)
}

/// A request as `policy authorize` takes it.
fn question(env: &Env) -> Json {
    let text = |uid: Option<&EntityUid>| uid.map_or(Json::Null, |uid| Json::from(uid.to_string()));
    let context = env.request.context().and_then(|context| {
        let context: &ast::Context = context.as_ref();
        context.to_json_value().ok()
    });
    let rows: Vec<Json> = env
        .entities
        .iter()
        .filter(|entity| !entity.uid().as_ref().is_action())
        .filter_map(|entity| entity.to_json_value().ok())
        .collect();
    json!({
        "principal": text(env.request.principal()),
        "action": text(env.request.action()),
        "resource": text(env.request.resource()),
        "context": context.unwrap_or_else(|| json!({})),
        "entities": rows,
    })
}

/// What the solver cannot tell is no proof of anything.
fn undecided() -> Failure {
    let limit = LIMIT.as_secs();
    solver(format!("cvc5 could not decide a question within {limit} seconds, so nothing is proved"))
        .with_help("Analyze fewer policies at a time, or simplify their conditions.")
}

fn solver(message: impl Into<String>) -> Failure {
    Failure::new(Code::PolicySolver, message)
}

/// Policies were validated before, so what is left is what the symbolic compiler cannot say.
fn uncompiled(error: Error) -> Failure {
    solver(format!("the policies cannot be compiled for the solver: {error}"))
}
