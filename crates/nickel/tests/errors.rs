//! Owns what is said about mistakes: for each code the sentence, the place and the next step, and all in one run.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_diagnostic::Diagnostic;
use provision_nickel::{Evaluator, Library, Request, Source};
use std::path::PathBuf;
use std::sync::Arc;

fn request(source: &str) -> Request {
    let library =
        [("p.ncl", "{ hetzner.server = { server_type | String, image | String, .. } }"), ("bad.ncl", "{ x = }")];
    let files = library.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    Request {
        sources: vec![Source::Text {
            name: "a.ncl".into(),
            folder: PathBuf::from("/nowhere"),
            text: source.to_owned(),
        }],
        library: Some(Arc::new(Library { files })),
        ..Request::default()
    }
}

fn errors(source: &str) -> Vec<Diagnostic> {
    let all = Evaluator::default().eval(&request(source)).unwrap_err().into_diagnostics();
    assert!(all.iter().all(|one| one.help.is_some() && !one.message.contains('\n')));
    all
}

/// The one error of a source: code, headline, and its help.
#[track_caller]
fn check(source: &str, code: &str, headline: &str, help: &str) {
    let all = errors(source);
    let first = &all[0];
    assert_eq!((first.code.as_str(), first.headline().as_str()), (code, headline), "{all:#?}");
    assert!(first.help.as_deref().unwrap().contains(help), "{first:#?}");
    assert!(first.excerpt.as_deref().unwrap().contains('^'));
    assert_eq!(all.len(), 1, "{all:#?}");
}

#[test]
fn syntax() {
    check("{\n  x = ,\n}", "nickel::parse", "unexpected token (a.ncl:2:7)", "Mend the syntax");
}

#[test]
fn static_types() {
    check("let x : Number = \"a\" in x", "nickel::typecheck", "incompatible types (a.ncl:1:18)", "Number");
}

#[test]
fn unbound_identifier() {
    let help = "Did you mean `server`?";
    check("let server = 1 in { x = servr }", "nickel::typecheck", "unbound identifier `servr` (a.ncl:1:25)", help);
}

#[test]
fn import() {
    check(
        "{ x = import \"none.ncl\" }",
        "nickel::import",
        "the import `none.ncl` cannot be found (a.ncl:1:7)",
        "/nowhere",
    );
}

#[test]
fn contract_points_at_the_value() {
    check(
        "{\n  image\n    | String\n    = 3\n}",
        "nickel::eval::contract",
        "contract broken by the value of `image` (a.ncl:4:7)",
        "Change the value",
    );
}

#[test]
fn unknown_field_suggests_the_nearest() {
    check(
        "let p = import \"p.ncl\" in\n{ web = p.hetzner.servr & { image = \"x\" } }",
        "nickel::eval::missing_field",
        "missing field `servr` (a.ncl:2:9)",
        "Did you mean `server`?",
    );
}

#[test]
fn missing_definition_points_at_the_users_record() {
    check(
        "let p = import \"p.ncl\" in\n{\n  web = p.hetzner.server & { server_typ = \"x\", image = \"y\" }\n}",
        "nickel::eval::missing_field",
        "missing definition for `server_type` (a.ncl:3:9)",
        "did you mean `server_type`?",
    );
    check(
        "{\n  name | String,\n  other = 1\n}",
        "nickel::eval::missing_field",
        "missing definition for `name` (a.ncl:2:3)",
        "Define the field",
    );
}

#[test]
fn merge() {
    check(
        "{\n  x = { y = 1 } & { y = 2 }\n}",
        "nickel::eval::merge",
        "two definitions of `x.y` cannot be merged (a.ncl:2:13)",
        "equal",
    );
}

#[test]
fn infinite_recursion() {
    check(
        "{\n  a = a + 1\n}",
        "nickel::eval::infinite_recursion",
        "`a` is defined by itself (a.ncl:2:7)",
        "Break the cycle",
    );
}

#[test]
fn dynamic_type() {
    let all = errors("{ x = 1 + \"a\" }");
    assert_eq!(all[0].code.as_str(), "nickel::eval::type");
    assert_eq!(all[0].headline(), "(+) expects its 2nd argument to be a Number (a.ncl:1:11)");
    assert!(all[0].help.as_deref().unwrap().contains("has type String"));
}

#[test]
fn functions_are_not_data() {
    check(
        "{ a.b = fun x => x }",
        "nickel::eval::not_serializable",
        "`a.b` is a function, not data (a.ncl:1:9)",
        "Apply the function",
    );
}

#[test]
fn unreadable_file() {
    let failure = Evaluator::default().eval(&Request::file("/nowhere/none.ncl")).unwrap_err();
    assert_eq!(failure.code().as_str(), "nickel::io");
    assert_eq!(failure.first.message, "there is no file `/nowhere/none.ncl`");
}

#[test]
fn all_mistakes_in_one_run_and_each_once() {
    let all = errors(
        "let p = import \"p.ncl\" in\n{\n  a = p.hetzner.server & { server_type = 3, image = 4 },\n  b = p.hetzner.server & { server_type = \"x\" },\n  c = a.image,\n  ok = 1,\n}",
    );
    let heads: Vec<String> = all.iter().map(Diagnostic::headline).collect();
    assert_eq!(
        heads,
        [
            "contract broken by the value of `image` (a.ncl:3:53)",
            "contract broken by the value of `server_type` (a.ncl:3:42)",
            "missing definition for `image` (a.ncl:4:7)",
        ]
    );
}

#[test]
fn all_syntax_errors_in_one_run() {
    let all = errors("{\n  a = ],\n  b = 1,\n  c = ),\n}");
    assert!(all.iter().all(|one| one.code.as_str() == "nickel::parse"));
    assert!(all.len() >= 2, "{all:#?}");
}

#[test]
fn a_broken_import_is_told_in_its_own_file() {
    let all = errors("{ x = import \"bad.ncl\" }");
    assert_eq!(all[0].code.as_str(), "nickel::parse");
    assert_eq!(all[0].position.as_ref().unwrap().file, "<built-in>/bad.ncl");
}

#[test]
fn check_tells_of_every_source_and_raises_nothing() {
    let mut request = request("let x : Number = \"a\" in x");
    let source = |name: &str, text: &str| Source::Text { name: name.into(), folder: "/".into(), text: text.into() };
    request.sources.push(source("b.ncl", "{ x = }"));
    request.sources.push(source("c.ncl", "{ x = 1 + \"only at run time\" }"));
    let found = Evaluator::default().check(&request).unwrap();
    let at: Vec<_> =
        found.iter().map(|one| (one.code.as_str(), one.position.as_ref().unwrap().file.as_str())).collect();
    assert_eq!(at, [("nickel::typecheck", "a.ncl"), ("nickel::parse", "b.ncl")]);
}
