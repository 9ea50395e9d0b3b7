//! Owns the evaluator's contract: values, warmth that is never stale, imports, the built-in library, number rules.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_nickel::{Evaluator, Inexact, Library, PathElement, Request, Source};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn text(name: &str, folder: &Path, text: &str) -> Request {
    let source = Source::Text { name: name.to_owned(), folder: folder.to_owned(), text: text.to_owned() };
    Request { sources: vec![source], ..Request::default() }
}

fn value_of(source: &str) -> serde_json::Value {
    Evaluator::default().eval(&text("<input>", Path::new("/"), source)).unwrap().value.clone()
}

fn field(name: &str) -> PathElement {
    PathElement::Field(name.to_owned())
}

#[test]
fn values_come_out_as_the_official_export_has_them() {
    assert_eq!(
        value_of("{ b = [1, 2.5, null, true], a = 'Tag, c | not_exported = 1, d | optional, e = 'V { x = 1 } }"),
        json!({"a": "Tag", "b": [1, 2.5, null, true], "e": {"$tag": "V", "$value": {"x": 1}}})
    );
    assert_eq!(value_of("1 + 1"), json!(2));
    assert_eq!(value_of("{ z = 1, a = 2 }").to_string(), r#"{"a":2,"z":1}"#);
}

#[test]
fn numbers_without_a_decimal_form_are_an_error_or_allowed() {
    let folder = Path::new("/");
    let evaluator = Evaluator::default();
    let mut request = text("n.ncl", folder, "{ ok = 0.1, third = 1 / 3 }");
    let failure = evaluator.eval(&request).unwrap_err();
    assert_eq!(failure.code().as_str(), "nickel::eval::inexact");
    assert_eq!(failure.first.headline(), "`third` is 1/3, which has no exact decimal form (n.ncl:1:21)");
    request.inexact = Inexact::Float;
    assert_eq!(evaluator.eval(&request).unwrap().value, json!({"ok": 0.1, "third": 1.0 / 3.0}));
    request.inexact = Inexact::String;
    assert_eq!(evaluator.eval(&request).unwrap().value, json!({"ok": 0.1, "third": "1/3"}));
}

#[test]
fn sources_merge_overrides_force_and_contracts_fill_in() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.ncl", "{ port | default = 80, host = \"h\", deep.x = 1 }");
    let b = write(folder.path(), "b.json", r#"{"port": 8080}"#);
    let c = write(folder.path(), "c.ncl", "{ extra | default = 7, .. }");
    let request = Request {
        sources: vec![Source::File(a), Source::File(b)],
        overrides: Some(json!({"deep": {"x": 5}, "host": "50 %{not}"})),
        contracts: vec![c],
        ..Request::default()
    };
    let value = Evaluator::default().eval(&request).unwrap().value.clone();
    assert_eq!(value, json!({"deep": {"x": 5}, "extra": 7, "host": "50 %{not}", "port": 8080}));
}

#[test]
fn one_field_is_extracted() {
    let mut request = text("t", Path::new("/"), "{ a.b = [1], broken = 1 + \"x\" }");
    request.field = Some("a.b".to_owned());
    assert_eq!(Evaluator::default().eval(&request).unwrap().value, json!([1]));
}

#[test]
fn an_edited_import_shows_at_once_even_with_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let main = write(folder.path(), "main.ncl", "{ x = import \"dep.ncl\" }");
    let dep = write(folder.path(), "dep.ncl", "1");
    let evaluator = Evaluator::default();
    let request = Request::file(main);
    let before = evaluator.eval(&request).unwrap();
    assert_eq!(before.value, json!({"x": 1}));
    assert_eq!(before.inputs.len(), 2);
    let time = std::fs::metadata(&dep).unwrap().modified().unwrap();
    std::fs::write(&dep, "2").unwrap();
    std::fs::File::options().write(true).open(&dep).unwrap().set_modified(time).unwrap();
    let after = evaluator.eval(&request).unwrap();
    assert_eq!(after.value, json!({"x": 2}));
    assert_ne!(before.digest, after.digest);
    std::fs::remove_file(&dep).unwrap();
    assert_eq!(evaluator.eval(&request).unwrap_err().code().as_str(), "nickel::import");
    std::fs::write(&dep, "3").unwrap();
    assert_eq!(evaluator.eval(&request).unwrap().value, json!({"x": 3}));
}

#[test]
fn a_new_file_earlier_on_the_import_path_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let main = write(folder.path(), "main.ncl", "import \"lib.ncl\"");
    write(folder.path(), "second/lib.ncl", "\"second\"");
    std::fs::create_dir(folder.path().join("first")).unwrap();
    let request = Request {
        import_paths: vec![folder.path().join("first"), folder.path().join("second")],
        ..Request::file(main)
    };
    let evaluator = Evaluator::default();
    assert_eq!(evaluator.eval(&request).unwrap().value, json!("second"));
    write(folder.path(), "first/lib.ncl", "\"first\"");
    assert_eq!(evaluator.eval(&request).unwrap().value, json!("first"));
    write(folder.path(), "lib.ncl", "\"beside\"");
    assert_eq!(evaluator.eval(&request).unwrap().value, json!("beside"));
}

#[test]
fn the_library_is_imported_from_any_folder_and_a_file_of_the_same_name_wins() {
    let folder = tempfile::tempdir().unwrap();
    let main = write(folder.path(), "deep/down/main.ncl", "(import \"provision.ncl\").answer");
    let library = |answer: u8| {
        let mut library = Library::default();
        library.files.insert("provision.ncl".to_owned(), "{ answer = import \"parts/answer.ncl\" }".to_owned());
        library.files.insert("parts/answer.ncl".to_owned(), answer.to_string());
        Some(Arc::new(library))
    };
    let evaluator = Evaluator::default();
    let mut request = Request { library: library(42), ..Request::file(main) };
    let evaluation = evaluator.eval(&request).unwrap();
    assert_eq!(evaluation.value, json!(42));
    assert!(evaluation.inputs.iter().any(|input| input.file == "<built-in>/provision.ncl"));
    request.library = library(43);
    assert_eq!(evaluator.eval(&request).unwrap().value, json!(43));
    write(folder.path(), "deep/down/provision.ncl", "{ answer = 1 }");
    assert_eq!(evaluator.eval(&request).unwrap().value, json!(1));
}

#[test]
fn texts_of_one_name_do_not_leak_into_each_other() {
    let evaluator = Evaluator::default();
    for (source, expected) in [("1", 1), ("2", 2), ("1", 1)] {
        assert_eq!(evaluator.eval(&text("<input>", Path::new("/"), source)).unwrap().value, json!(expected));
    }
}

#[test]
fn positions_point_at_the_users_own_key_and_value() {
    let mut library = Library::default();
    library
        .files
        .insert("p.ncl".to_owned(), "{ server = { image | String, size | String | default = \"s\", .. } }".into());
    let source = "let p = import \"p.ncl\" in\n{\n  web = p.server & {\n    image = \"debian\",\n    other.deep = 3,\n  },\n  list = [10, 20],\n}";
    let mut request = text("infra.ncl", Path::new("/"), source);
    request.library = Some(Arc::new(library));
    request.positions = true;
    let evaluation = Evaluator::default().eval(&request).unwrap();
    let positions = &evaluation.positions;
    let at = |excerpt: Option<provision_diagnostic::Excerpt>| excerpt.unwrap().position.to_string();
    assert_eq!(at(positions.key(&[field("web")])), "infra.ncl:3:3");
    assert_eq!(at(positions.key(&[field("web"), field("image")])), "infra.ncl:4:5");
    assert_eq!(at(positions.value(&[field("web"), field("image")])), "infra.ncl:4:13");
    assert_eq!(at(positions.key(&[field("web"), field("other"), field("deep")])), "infra.ncl:5:11");
    assert_eq!(at(positions.value(&[field("list"), PathElement::Index(1)])), "infra.ncl:7:15");
    assert!(positions.value(&[field("none")]).is_none());
}

#[test]
fn an_endless_evaluation_is_interrupted() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut request = text("t", Path::new("/"), "let rec f = fun n => f (n + 1) in f 0");
    request.interrupt = Some(flag.clone());
    let evaluator = Evaluator::default();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        flag.store(true, Ordering::Relaxed);
    });
    let failure = evaluator.eval(&request).unwrap_err();
    assert_eq!(failure.code().as_str(), "nickel::eval::limit");
    stopper.join().unwrap();
    let start = Instant::now();
    assert_eq!(evaluator.eval(&text("t", Path::new("/"), "1")).unwrap().value, json!(1));
    assert!(start.elapsed() < Duration::from_secs(20), "the thread went on evaluating");
}

#[test]
fn data_nested_too_deeply_is_refused() {
    let source = format!("{{ deep = {}1{} }}", "[".repeat(400), "]".repeat(400));
    let failure = Evaluator::default().eval(&text("t", Path::new("/"), &source)).unwrap_err();
    assert_eq!(failure.code().as_str(), "nickel::eval::limit");
    assert_eq!(failure.first.message, "`deep` is nested too deeply");
}

/// Prints the figure for five thousand resources; the bound only catches a wrong order of growth.
#[test]
fn five_thousand_resources_are_a_matter_of_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let source = "let C = { name | String, size | Number, zone | String, tags | Array String } in\n\
        { resources = std.array.generate (fun i => { name = \"n%{std.to_string i}\", size = i, zone = \"hel1\", tags = [\"a\"] } | C) 5000 }";
    let request = Request::file(write(folder.path(), "big.ncl", source));
    let evaluator = Evaluator::default();
    for round in ["cold", "same again"] {
        let start = Instant::now();
        let evaluation = evaluator.eval(&request).unwrap();
        println!("{round}: {:?}", start.elapsed());
        assert_eq!(evaluation.value["resources"].as_array().unwrap().len(), 5000);
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
