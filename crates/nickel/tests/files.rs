//! Owns what is looked at before a file is read: what kind of file it is, where it lies, and what the library cannot bear.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_nickel::{Evaluator, Format, Request, Source};
use serde_json::{Value, json};
use std::path::Path;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn text(folder: &Path, text: &str) -> Request {
    let source = Source::Text { name: "t.ncl".into(), folder: folder.to_owned(), text: text.to_owned() };
    Request { sources: vec![source], ..Request::default() }
}

fn value(request: &Request) -> Value {
    Evaluator::default().eval(request).unwrap().value.clone()
}

/// Code and message of what is wrong.
fn told(request: &Request) -> (String, String) {
    let failure = Evaluator::default().eval(request).unwrap_err();
    (failure.code().as_str().to_owned(), failure.first.message.clone())
}

#[test]
fn a_number_that_nickel_does_not_have_is_told_at_its_place() {
    for (toml, number, line) in [
        ("x = inf", "inf", 1),
        ("a = 1\n[b]\nx = [1.5, -inf]", "-inf", 3),
        ("[[c]]\ny = 1\n[[c]]\ny = { z = nan }", "NaN", 4),
    ] {
        let folder = folder(&[("a.toml", toml)]);
        for request in [Request::file(folder.path().join("a.toml")), text(folder.path(), "{ it = import \"a.toml\" }")]
        {
            let failure = Evaluator::default().eval(&request).unwrap_err();
            assert_eq!(failure.code().as_str(), "nickel::parse", "{failure:?}");
            assert!(failure.first.message.contains(number), "{failure:?}");
            assert_eq!(failure.first.position.as_ref().unwrap().line, line, "{failure:?}");
            let found = Evaluator::default().check(&request).unwrap();
            assert_eq!(found.first().map(|one| one.code.as_str()), Some("nickel::parse"));
        }
    }
    let fine = folder(&[("a.toml", "foo.bar = 1\nwhen = 1979-05-27T07:32:00Z\nhalf = 0.5\n")]);
    let whole = json!({"foo": {"bar": 1}, "when": "1979-05-27T07:32:00Z", "half": 0.5});
    assert_eq!(value(&Request::file(fine.path().join("a.toml"))), whole);
}

#[test]
fn what_an_anchor_names_is_there_however_the_file_is_used() {
    let yaml =
        "defaults: &defaults\n  image: nginx\n  ports: &ports [80, 443]\nweb:\n  base: *defaults\n  open: *ports\n";
    let folder = folder(&[
        ("a.yaml", yaml),
        ("list.yaml", "- &one { n: 1 }\n- *one\n"),
        ("two.yaml", "a: &a 1\nb: *a\n---\nc: &c [2]\nd: *c\n"),
        ("ring.yaml", "a: &a\n  - b: *a\n"),
    ]);
    let at = folder.path();
    let defaults = json!({"image": "nginx", "ports": [80, 443]});
    let whole = json!({"defaults": defaults, "web": {"base": defaults, "open": [80, 443]}});
    let file = Request::file(at.join("a.yaml"));
    assert_eq!(value(&file), whole);
    assert_eq!(value(&text(at, "import \"a.yaml\"")), whole);
    assert_eq!(value(&text(at, "((import \"a.yaml\") & { web.more = 1 }).web.base.image")), json!("nginx"));
    assert_eq!(
        value(&text(at, "((import \"a.yaml\") | { web | { base | { image | String, .. }, .. }, .. }).web.base")),
        defaults
    );
    assert_eq!(value(&Request { field: Some("web.base.image".into()), ..file.clone() }), json!("nginx"));
    let exported: Value = serde_json::from_str(&Evaluator::default().export(&file, Format::Json).unwrap()).unwrap();
    assert_eq!(exported, whole);
    assert_eq!(value(&Request::file(at.join("list.yaml"))), json!([{"n": 1}, {"n": 1}]));
    assert_eq!(value(&Request::file(at.join("two.yaml"))), json!([{"a": 1, "b": 1}, {"c": [2], "d": [2]}]));
    let (code, message) = told(&Request::file(at.join("ring.yaml")));
    assert_eq!(code, "nickel::parse");
    assert!(message.contains("contains itself"), "{message}");
    // Edited, it is read anew.
    let evaluator = Evaluator::default();
    evaluator.eval(&file).unwrap();
    std::fs::write(at.join("a.yaml"), "x: &x 1\ny: *x\n").unwrap();
    assert_eq!(evaluator.eval(&file).unwrap().value, json!({"x": 1, "y": 1}));
}

#[test]
fn a_pipe_is_not_waited_for() {
    let folder = folder(&[("a.json", "1")]);
    let at = folder.path();
    assert!(std::process::Command::new("mkfifo").arg(at.join("pipe.ncl")).status().unwrap().success());
    for import in ["\"pipe.ncl\"", "\"/dev/zero\" as 'Text"] {
        let request = text(at, &format!("import {import}"));
        let (code, message) = told(&request);
        assert_eq!(code, "nickel::import");
        assert!(message.contains("is not a regular file"), "{message}");
        let found = Evaluator::default().check(&request).unwrap();
        assert_eq!(found.first().map(|one| one.code.as_str()), Some("nickel::import"));
    }
    // Also where a file became one after it was read.
    let evaluator = Evaluator::default();
    let request = text(at, "import \"a.json\"");
    evaluator.eval(&request).unwrap();
    std::fs::remove_file(at.join("a.json")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at.join("a.json")).status().unwrap().success());
    assert_eq!(evaluator.eval(&request).unwrap_err().code().as_str(), "nickel::import");
}

#[test]
fn imports_end_in_the_roots_that_a_request_names() {
    let folder = folder(&[
        ("in/a.ncl", "import \"b.json\""),
        ("in/b.json", "1"),
        ("in/out.ncl", "import \"../c.json\""),
        ("c.json", "2"),
    ]);
    let (inside, at) = (folder.path().join("in"), folder.path());
    std::os::unix::fs::symlink("../c.json", inside.join("link.json")).unwrap();
    let evaluator = Evaluator::default();
    let confined = |what: &str| Request { confine: Some(vec![inside.canonicalize().unwrap()]), ..text(&inside, what) };
    assert_eq!(evaluator.eval(&confined("import \"a.ncl\"")).unwrap().value, json!(1));
    for what in
        ["import \"../c.json\"", "import \"link.json\"", "import \"out.ncl\"", "import \"/etc/passwd\" as 'Text"]
    {
        // What another request read is not given to this one.
        evaluator.eval(&text(&inside, what)).unwrap();
        let failure = evaluator.eval(&confined(what)).unwrap_err();
        assert_eq!(failure.code().as_str(), "nickel::import");
        assert!(failure.first.message.contains("leads out of the project"), "{failure:?}");
    }
    // What the request itself names is the caller's word.
    let named = Request { confine: Some(vec![inside.canonicalize().unwrap()]), ..Request::file(at.join("c.json")) };
    assert_eq!(evaluator.eval(&named).unwrap().value, json!(2));
    let merged = Request { overrides: Some(json!({"x": 1})), ..confined("{ y = 2 }") };
    assert_eq!(evaluator.eval(&merged).unwrap().value, json!({"x": 1, "y": 2}));
}
