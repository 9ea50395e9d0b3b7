//! Owns what the prover finds in sets with planted flaws, and that it finds nothing in a clean one. Needs cvc5.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_policy::{Authorizer, Finding, PolicySet, PolicySource, Prover, Question, Schema, Verdict};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

const SCHEMA: &str = r#"
entity Team;
entity User in [Team] { level: Long, home: String };
entity Doc in [Folder] { owner: User, size: Long, labels: Set<String>, public: Bool };
entity Folder in [Folder] { owner: User, public: Bool };
action view, edit, delete, share appliesTo { principal: User, resource: [Doc, Folder], context: { mfa: Bool, hour: Long, ip: ipaddr, at: datetime } };
action audit, purge, ping appliesTo { principal: User, resource: Folder, context: { mfa: Bool } };
"#;

fn set(text: &str) -> PolicySet {
    PolicySet::parse(&[PolicySource { name: "p.cedar".into(), text: text.into() }]).unwrap()
}

fn schema() -> Schema {
    Schema::parse("s.cedarschema", SCHEMA).unwrap()
}

fn cvc5() -> PathBuf {
    PathBuf::from("cvc5")
}

/// Thirty policies without a flaw, ten for each of three teams.
fn clean() -> String {
    let mut text = String::new();
    for team in ["red", "green", "blue"] {
        let policies = [
            ("view", "permit", "view", "resource", "when { resource.public }".to_owned()),
            ("view-own", "permit", "view", "resource", "when { resource.owner == principal }".to_owned()),
            ("edit", "permit", "edit", "resource is Doc", "when { resource.size < 100 && context.mfa }".to_owned()),
            ("edit-folder", "permit", "edit", "resource is Folder", "when { principal.level > 3 }".to_owned()),
            (
                "delete",
                "permit",
                "delete",
                "resource is Doc",
                "when { resource.owner == principal } unless { resource.labels.contains(\"keep\") }".to_owned(),
            ),
            ("share", "permit", "share", "resource", "when { context.ip.isInRange(ip(\"10.0.0.0/8\")) }".to_owned()),
            ("audit", "permit", "audit", "resource", "when { principal.level > 5 }".to_owned()),
            ("purge", "permit", "purge", "resource", "when { context.mfa && principal.home == \"hq\" }".to_owned()),
            ("night", "forbid", "delete", "resource", format!("when {{ context.hour > 2{} }}", team.len() % 3)),
            (
                "old",
                "forbid",
                "share",
                "resource is Doc",
                "when { context.at < datetime(\"2020-01-01\") && resource.size > 5 }".to_owned(),
            ),
        ];
        for (name, effect, action, resource, when) in policies {
            text += &format!(
                "@id(\"{team}-{name}\")\n{effect}(principal in Team::\"{team}\", action == Action::\"{action}\", {resource}) {when};\n"
            );
        }
    }
    // So that this action is neither always allowed nor always denied.
    text + "@id(\"ping\") permit(principal, action == Action::\"ping\", resource) when { context.mfa };\n"
}

const PLANTED: &[(&str, &str, &str)] = &[
    (
        "never_matches",
        "f1",
        "permit(principal, action == Action::\"view\", resource is Doc) when { resource.size > 5 && resource.size < 3 };",
    ),
    (
        "never_matches",
        "f2",
        "forbid(principal, action == Action::\"edit\", resource is Doc) when { context.mfa } unless { context.mfa };",
    ),
    (
        "redundant",
        "f3",
        "permit(principal == User::\"ann\", action == Action::\"ping\", resource) when { context.mfa };",
    ),
    (
        "redundant",
        "f4",
        "permit(principal in Team::\"red\", action == Action::\"edit\", resource is Folder) when { principal.level > 7 };",
    ),
    (
        "shadowed",
        "f5",
        "permit(principal in Team::\"red\", action == Action::\"share\", resource is Doc) when { context.at < datetime(\"2019-01-01\") && resource.size > 10 };",
    ),
    (
        "redundant",
        "f6",
        "forbid(principal in Team::\"blue\", action == Action::\"delete\", resource is Doc) when { context.hour == 23 };",
    ),
    (
        "redundant",
        "f7",
        "permit(principal in Team::\"green\", action == Action::\"edit\", resource) when { (resource is Doc && resource.size < 50 && context.mfa) || (resource is Folder && principal.level > 7) };",
    ),
    (
        "redundant",
        "f8",
        "@id(\"f8\") permit(principal in Team::\"blue\", action == Action::\"purge\", resource) when { principal.home == \"hq\" && context.mfa };",
    ),
];

/// A finding's counterexample, decided by the set itself.
fn decided(set: &PolicySet, finding: &Finding) -> Option<(Verdict, BTreeSet<String>)> {
    let question: Question = serde_json::from_value(finding.counterexample.clone()).ok()?;
    let authorizer = Authorizer::new(Arc::new(set.clone()), Some(Arc::new(schema())), &[]).unwrap();
    let decision = authorizer.decide(&question).unwrap();
    Some((decision.decision, decision.reasons.iter().map(|reason| reason.policy.clone()).collect()))
}

#[test]
fn a_clean_set_has_no_finding() {
    let schema = schema();
    let found = Prover::new(&schema, cvc5(), Arc::default()).unwrap().analyze(&set(&clean())).unwrap();
    assert_eq!(found, [], "of a clean set");
}

#[test]
fn every_planted_flaw_is_found_with_a_request_that_shows_it() {
    let mut text = clean();
    for (_, id, policy) in PLANTED {
        text += &if policy.contains("@id") { format!("{policy}\n") } else { format!("@id(\"{id}\")\n{policy}\n") };
    }
    // Nobody may audit any more, and everybody may purge: those are decided once and for all.
    text += "@id(\"f9\") forbid(principal, action == Action::\"audit\", resource);\n";
    let set = set(&text);
    let schema = schema();
    let found = Prover::new(&schema, cvc5(), Arc::default()).unwrap().analyze(&set).unwrap();
    let told: BTreeSet<(&str, &str)> =
        found.iter().map(|one| (one.finding, one.policies.first().map_or("", String::as_str))).collect();
    let mut expected: BTreeSet<(&str, &str)> = PLANTED.iter().map(|(finding, id, _)| (*finding, *id)).collect();
    // The forbid of all audits leaves the permits nothing.
    expected.extend([("shadowed", "red-audit"), ("shadowed", "green-audit"), ("shadowed", "blue-audit")]);
    expected.insert(("always_denies", "f9"));
    assert_eq!(told, expected);
    for one in &found {
        let (verdict, reasons) = decided(&set, one).unwrap_or_else(|| panic!("no counterexample: {one:?}"));
        let first = one.policies.first().unwrap();
        match one.finding {
            "never_matches" => assert!(!reasons.contains(first), "{one:?}"),
            "redundant" => assert!(reasons.contains(first) && reasons.len() > 1 || verdict == Verdict::Deny, "{one:?}"),
            _ => assert_eq!(verdict, Verdict::Deny, "{one:?}"),
        }
    }
    let by_two = found.iter().find(|one| one.policies.first().is_some_and(|id| id == "f7")).unwrap();
    assert_eq!(by_two.policies, ["f7", "green-edit", "green-edit-folder"]);
}

#[test]
fn two_sets_are_equivalent_or_differ_by_a_request() {
    let schema = schema();
    let mut prover = Prover::new(&schema, cvc5(), Arc::default()).unwrap();
    let old = set("permit(principal, action == Action::\"view\", resource) when { resource.public };");
    let same = set("permit(principal, action, resource) when { action == Action::\"view\" && resource.public };");
    assert_eq!(prover.compare(&old, &same).unwrap()[0].finding, "equivalent");
    let more = set("permit(principal, action == Action::\"view\", resource);");
    let found = prover.compare(&old, &more).unwrap();
    assert_eq!(found.iter().map(|one| one.finding).collect::<Vec<_>>(), ["more_permissive"]);
    assert_eq!(decided(&old, &found[0]).unwrap().0, Verdict::Deny);
    assert_eq!(decided(&more, &found[0]).unwrap().0, Verdict::Allow);
    let less = prover.compare(&more, &old).unwrap();
    assert_eq!(less[0].finding, "less_permissive");
}

#[test]
fn an_action_everybody_may_do_is_told_and_a_missing_solver_is_one_clear_error() {
    let schema = schema();
    let set = set("@id(\"all\") permit(principal, action == Action::\"ping\", resource);");
    let found = Prover::new(&schema, cvc5(), Arc::default()).unwrap().analyze(&set).unwrap();
    let allows: Vec<&Finding> = found.iter().filter(|one| one.finding == "always_allows").collect();
    assert_eq!(allows.len(), 1);
    assert_eq!(allows[0].policies, ["all"]);
    assert!(allows[0].message.contains("ping"));
    let failure = Prover::new(&schema, "no-such-solver".into(), Arc::default()).unwrap().analyze(&set).unwrap_err();
    assert_eq!(failure.code().as_str(), "policy::solver");
}

#[test]
fn what_waits_for_an_approval_does_not_stand_in_for_what_is_forbidden() {
    let schema = schema();
    let text = "@id(\"strict\") forbid(principal, action == Action::\"ping\", resource) when { context.mfa };\n\
        @id(\"soft\") @approval(\"lead\") forbid(principal, action == Action::\"ping\", resource);\n\
        @id(\"some\") permit(principal, action == Action::\"ping\", resource) when { principal.level > 1 };\n";
    let found = Prover::new(&schema, cvc5(), Arc::default()).unwrap().analyze(&set(text)).unwrap();
    let told: Vec<&str> =
        found.iter().map(|one| one.finding).filter(|finding| !finding.starts_with("always")).collect();
    assert!(told.is_empty(), "{found:?}");
}
