//! Owns the policy crate's contract: names, places, decisions, partial decisions, and what is said of bad input.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_diagnostic::{Diagnostic, Severity};
use provision_policy::{Authorizer, EntityRef, Partial, PolicySet, PolicySource, Question, Schema, Verdict};
use serde_json::{Value, json};
use std::sync::Arc;

const SCHEMA: &str = "entity User; entity Server { size: String, cores?: Long };\n\
    action \"create\", \"delete\" appliesTo { principal: User, resource: Server, context: { mfa: Bool } };";

fn source(name: &str, text: &str) -> PolicySource {
    PolicySource { name: name.to_owned(), text: text.to_owned() }
}

fn set(text: &str) -> Arc<PolicySet> {
    Arc::new(PolicySet::parse(&[source("p.cedar", text)]).unwrap())
}

fn question(action: &str, attrs: Value) -> Question {
    Question {
        principal: EntityRef::new("User", "ann"),
        action: EntityRef::new("Action", action),
        resource: EntityRef::new("Server", "web"),
        context: json!({"mfa": true}),
        entities: vec![json!({"uid": "Server::\"web\"", "attrs": attrs, "parents": []})],
    }
}

#[test]
fn a_decision_names_the_policy_its_file_and_line() {
    let policies = "permit(principal, action, resource);\n\n@id(\"no-big\")\n@advice(\"use a small one\")\n\
        forbid(principal, action, resource) when { resource.size == \"big\" };";
    let authorizer = Authorizer::new(set(policies), None, &[]).unwrap();
    let denied = authorizer.decide(&question("create", json!({"size": "big"}))).unwrap();
    assert_eq!(denied.decision, Verdict::Deny);
    let reason = &denied.reasons[0];
    assert_eq!(
        (reason.policy.as_str(), reason.effect.as_str(), reason.file.as_str(), reason.line),
        ("no-big", "forbid", "p.cedar", 3)
    );
    assert_eq!(reason.annotations["advice"], "use a small one");
    let allowed = authorizer.decide(&question("create", json!({"size": "s"}))).unwrap();
    assert_eq!((allowed.decision, allowed.reasons[0].policy.as_str()), (Verdict::Allow, "policy0"));
    let text = serde_json::to_value(&allowed).unwrap();
    assert_eq!(text["decision"], json!("allow"));
}

#[test]
fn a_default_deny_has_no_reasons_and_an_error_is_named() {
    let authorizer =
        Authorizer::new(set("permit(principal, action, resource) when { resource.none == 1 };"), None, &[]).unwrap();
    let decision = authorizer.decide(&question("create", json!({"size": "s"}))).unwrap();
    assert_eq!((decision.decision, decision.reasons.len()), (Verdict::Deny, 0));
    assert_eq!((decision.errors[0].policy.as_str(), decision.errors[0].line), ("policy0", 1));
    assert!(decision.errors[0].message.contains("none"), "{:?}", decision.errors);
}

#[test]
fn policies_of_a_folder_are_named_by_file_and_position() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("team")).unwrap();
    std::fs::write(folder.path().join("team/a.cedar"), "forbid(principal, action, resource);").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not cedar").unwrap();
    let policies = PolicySet::load(folder.path(), "").unwrap();
    assert_eq!(policies.info("team/a.cedar:policy0").unwrap().file, "team/a.cedar");
    assert!(!policies.is_empty());
    let error = PolicySet::load(&folder.path().join("none"), "").unwrap_err();
    assert_eq!(error.code().as_str(), "policy::io");
}

#[test]
fn all_syntax_errors_of_all_files_with_their_places() {
    let sources =
        [source("a.cedar", "permit(principal, action, resource)\nwhen { };\n"), source("b.cedar", "permit(;")];
    let failure = PolicySet::parse(&sources).unwrap_err();
    let at: Vec<String> = failure.diagnostics().map(|one| one.position.as_ref().unwrap().to_string()).collect();
    assert_eq!(at[0], "a.cedar:2:1");
    assert!(at.iter().any(|at| at.starts_with("b.cedar:1:")), "{at:?}");
    assert!(
        failure
            .diagnostics()
            .all(|one| one.code.as_str() == "policy::parse" && one.help.is_some() && one.excerpt.is_some())
    );
}

#[test]
fn one_id_may_not_be_given_twice() {
    let text = "@id(\"x\") permit(principal, action, resource);\n@id(\"x\") forbid(principal, action, resource);";
    let failure = PolicySet::parse(&[source("a.cedar", text)]).unwrap_err();
    assert_eq!(failure.first.message, "two policies have the id `x`");
}

#[test]
fn validation_gives_places_and_the_nearest_name() {
    let schema = Schema::parse("s.cedarschema", SCHEMA).unwrap();
    let text = "permit(principal, action == Action::\"creat\", resource);\n\
        forbid(principal, action, resource is Server) when { resource.siz == \"big\" };";
    let found = set(text).validate(&schema);
    let errors: Vec<&Diagnostic> = found.iter().filter(|one| one.severity == Severity::Error).collect();
    let help = |one: &Diagnostic| one.help.clone().unwrap_or_default();
    assert!(errors[0].headline().contains("(p.cedar:1:"), "{errors:#?}");
    assert!(help(errors[0]).contains("create"), "{errors:#?}");
    let typo = errors.iter().find(|one| one.message.contains("siz")).unwrap();
    assert_eq!(typo.position.as_ref().unwrap().line, 2);
    assert!(help(typo).contains("`size`"), "{typo:#?}");
    assert!(
        set("permit(principal, action, resource is Server) when { resource.size == \"s\" };")
            .validate(&schema)
            .is_empty()
    );
}

#[test]
fn a_broken_schema_has_its_place() {
    let failure = Schema::parse("s.cedarschema", "entity User;\nentity ;").unwrap_err();
    assert_eq!(failure.code().as_str(), "policy::schema");
    assert_eq!(failure.first.position.as_ref().unwrap().line, 2);
}

#[test]
fn requests_and_entities_are_checked_against_the_schema() {
    let schema = Arc::new(Schema::parse("s", SCHEMA).unwrap());
    let authorizer = Authorizer::new(set("permit(principal, action, resource);"), Some(schema), &[]).unwrap();
    assert_eq!(authorizer.decide(&question("create", json!({"size": "s"}))).unwrap().decision, Verdict::Allow);
    assert_eq!(
        authorizer.decide(&question("destroy", json!({"size": "s"}))).unwrap_err().code().as_str(),
        "policy::request"
    );
    assert_eq!(
        authorizer.decide(&question("create", json!({"size": 3}))).unwrap_err().code().as_str(),
        "policy::entity"
    );
    let mut other = question("create", json!({"size": "s"}));
    other.context = json!({"mfa": "yes"});
    assert_eq!(authorizer.decide(&other).unwrap_err().code().as_str(), "policy::request");
}

#[test]
fn base_entities_are_there_for_every_question() {
    let base = [json!({"uid": {"type": "User", "id": "ann"}, "attrs": {}, "parents": ["Group::\"ops\""]})];
    let authorizer =
        Authorizer::new(set("permit(principal in Group::\"ops\", action, resource);"), None, &base).unwrap();
    assert_eq!(authorizer.decide(&question("create", json!({}))).unwrap().decision, Verdict::Allow);
    let mut bare = question("create", json!({}));
    bare.entities.clear();
    assert_eq!(authorizer.decide(&bare).unwrap().decision, Verdict::Allow);
}

#[test]
fn the_unknown_decides_only_where_it_matters() {
    let unknown = json!({"size": "s", "cores": {"$unknown": true}});
    let policies = "permit(principal, action, resource);\n\
        @id(\"cores\") forbid(principal, action == Action::\"create\", resource) when { resource.cores > 4 };\n\
        @id(\"mfa\") forbid(principal, action, resource) unless { context.mfa };";
    let schema = Arc::new(Schema::parse("s", SCHEMA).unwrap());
    let authorizer = Authorizer::new(set(policies), Some(schema), &[]).unwrap();
    assert_eq!(authorizer.decide_partial(&question("create", unknown.clone())).unwrap(), Partial::Pending);
    let Partial::Decided(decision) = authorizer.decide_partial(&question("delete", unknown.clone())).unwrap() else {
        panic!("a delete does not depend on the cores")
    };
    assert_eq!(decision.decision, Verdict::Allow);
    let mut no_mfa = question("create", unknown);
    no_mfa.context = json!({"mfa": false});
    let Partial::Decided(decision) = authorizer.decide_partial(&no_mfa).unwrap() else {
        panic!("it is denied whatever the cores are")
    };
    assert_eq!((decision.decision, decision.reasons[0].policy.as_str()), (Verdict::Deny, "mfa"));
    assert!(decision.errors.is_empty(), "{decision:?}");
    let known = authorizer.decide_partial(&question("create", json!({"size": "s", "cores": 8}))).unwrap();
    assert!(matches!(known, Partial::Decided(decision) if decision.decision == Verdict::Deny));
}
