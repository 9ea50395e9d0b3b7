//! Owns the proof that the plugin and the official command agree: on every program of the corpus in every format, on
//! where the failing ones fail, and on random contracts over random rows.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{World, workspace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Programs that the official command itself ends on with a panic; there is nothing to agree with.
const OFFICIAL_PANICS: [&str; 0] = [];

/// The official command when it is installed. Where everything must run (`CI=true`) its absence is a failure.
fn official() -> Option<PathBuf> {
    let path = workspace().join("target/peers/bin/nickel");
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is not installed", path.display());
    println!("left out: {} is not installed; `cargo xtask test` installs it", path.display());
    None
}

/// What the official command prints, or the places of its error in files: `file:line:column` of what it marks first,
/// and of where each shown part of a file begins.
fn official_export(nickel: &Path, folder: &Path, file: &str, format: &str) -> Result<String, Vec<String>> {
    let output = Command::new(nickel)
        .args(["export", file, "--format", format, "--color", "never"])
        .current_dir(folder)
        .env_remove("NICKEL_IMPORT_PATH")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("panicked") || OFFICIAL_PANICS.contains(&file), "{file}: {told}");
    // It shows absolute paths, ours are relative to the shell's folder.
    let shown = told.lines().filter_map(|line| line.trim_start().strip_prefix("┌─ "));
    let mut places: Vec<String> = shown.map(|place| place.replace(&format!("{}/", folder.display()), "")).collect();
    // What it draws begins with the leftmost label; the data say which one is meant.
    let output = Command::new(nickel)
        .args(["export", file, "--format", format, "--error-format", "json"])
        .current_dir(folder)
        .env_remove("NICKEL_IMPORT_PATH")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
    let labels = told["diagnostics"][0]["labels"].as_array().cloned().unwrap_or_default();
    let meant = labels.iter().find(|label| label["style"] == "Primary").or(labels.first());
    if let Some(start) = meant.and_then(|label| label["range"]["start"].as_u64()) {
        let files: Vec<String> =
            places.iter().filter_map(|place| Some(place.rsplitn(3, ':').nth(2)?.to_owned())).collect();
        for file in files {
            let text = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
            if let Some(before) = text.get(..start as usize) {
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                places.push(format!("{file}:{}:{column}", before.matches('\n').count() + 1));
            }
        }
    }
    places.retain(|place| !place.starts_with('<'));
    Err(places)
}

/// Runs some work on two threads.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(0..items.len());
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let run = || {
            let mut done = Vec::new();
            loop {
                let Some(at) = next.lock().unwrap().next() else { return done };
                done.push((at, work(&items[at])));
            }
        };
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn the_corpus_exports_as_the_official_command_does() {
    let Some(nickel) = official() else { return };
    let folder = workspace().join("tests/corpus/nickel");
    let mut files: Vec<String> = Vec::new();
    for area in std::fs::read_dir(&folder).unwrap() {
        let area = area.unwrap().path();
        for file in std::fs::read_dir(&area).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "ncl") {
                files.push(file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    assert!(files.len() >= 300, "{}", files.len());

    let world = World::with_plugins(&["nu_plugin_nickel"]);
    world.write("files.json", &serde_json::to_string(&files).unwrap());
    let script = format!(
        "let files = open files.json; cd '{}'; $files | each {{|file| [json yaml toml] | each {{|format|
           try {{ {{text: (nickel export $file --format $format)}} }} catch {{|error| {{msg: $error.details.msg, code: $error.details.code}} }} }} }}",
        folder.display()
    );
    let ours = world.json(&script);
    let formats = ["json", "yaml", "toml"];
    let theirs = each(&files, |file| formats.map(|format| official_export(&nickel, &folder, file, format)));

    let (mut wrong, mut same, mut failing) = (Vec::new(), 0, 0);
    for (at, file) in files.iter().enumerate() {
        for (column, format) in formats.iter().enumerate() {
            let our = &ours[at][column];
            match &theirs[at][column] {
                Ok(text) if our["text"].as_str() == Some(text) => same += 1,
                Ok(text) => wrong.push(format!("{file} as {format}: official\n{text}ours\n{our:#}")),
                Err(places) => {
                    let msg = our["msg"].as_str().unwrap_or_default();
                    // What stands in no file of the user's has a place of ours instead.
                    let at = |place: &String| msg.ends_with(&format!("({place})"));
                    let agrees = our["text"].is_null() && (places.is_empty() || places.iter().any(at));
                    if agrees {
                        failing += 1;
                    } else {
                        wrong
                            .push(format!("{file} as {format}: the official command fails at {places:?}, ours: {our}"));
                    }
                }
            }
        }
    }
    println!("{} programs: {same} exports equal byte for byte, {failing} fail at the same place", files.len());
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), files.len() * 3, wrong.join("\n"));
}

/// A type as Nickel writes it, with a value that may or may not be of it.
fn kind(random: &mut StdRng, depth: u32) -> String {
    match random.random_range(0..if depth == 0 { 4 } else { 8 }) {
        0 => "Number".into(),
        1 => "String".into(),
        2 => "Bool".into(),
        3 => "std.number.PosNat".into(),
        4 => format!("Array ({})", kind(random, depth - 1)),
        5 => format!("{{ _ : {} }}", kind(random, depth - 1)),
        6 => "[| 'small, 'large |]".into(),
        _ => record(random, depth - 1),
    }
}

fn record(random: &mut StdRng, depth: u32) -> String {
    let mut fields = String::new();
    for name in ["a", "b", "c d"] {
        if random.random_bool(0.7) {
            let more = ["", " | optional", " | default = 1", " | default = \"x\""][random.random_range(0..4)];
            fields.push_str(&format!("\"{name}\" | {}{more}, ", kind(random, depth)));
        }
    }
    let open = if random.random_bool(0.5) { ".." } else { "" };
    format!("{{ {fields}{open} }}")
}

fn data(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 6 } else { 9 }) {
        0 => json!(random.random_range(-2..5)),
        1 => json!(random.random_range(0..40) as f64 / 8.0),
        2 => json!(["x", "small", "large", ""][random.random_range(0..4)]),
        3 => json!(random.random_bool(0.5)),
        4 => Value::Null,
        5 | 6 => {
            json!((0..random.random_range(0..3)).map(|_| data(random, depth.saturating_sub(1))).collect::<Vec<_>>())
        }
        _ => {
            let mut map = Map::new();
            for name in ["a", "b", "c d", "e"] {
                if random.random_bool(0.5) {
                    map.insert(name.to_owned(), data(random, depth.saturating_sub(1)));
                }
            }
            Value::Object(map)
        }
    }
}

#[test]
fn random_contracts_over_random_rows_agree() {
    let Some(nickel) = official() else { return };
    let mut random = StdRng::seed_from_u64(7);
    let world = World::with_plugins(&["nu_plugin_nickel"]);
    let mut cases = Vec::new();
    for contract in 0..60 {
        let text = record(&mut random, 2);
        world.write(&format!("c{contract}.ncl"), &text);
        let rows: Vec<Value> = (0..4)
            .map(|_| {
                loop {
                    let row = data(&mut random, 3);
                    if row.is_object() {
                        break row;
                    }
                }
            })
            .collect();
        world.write(&format!("r{contract}.json"), &Value::from(rows.clone()).to_string());
        for (at, row) in rows.iter().enumerate() {
            world.write(&format!("p{contract}-{at}.json"), &row.to_string());
            let program =
                format!("let contract = import \"c{contract}.ncl\" in ((import \"p{contract}-{at}.json\") | contract)");
            world.write(&format!("p{contract}-{at}.ncl"), &program);
            cases.push((contract, at));
        }
    }
    let ours = world
        .json("0..59 | each {|n| open $'r($n).json' | nickel validate $'c($n).ncl' --report | select valid value }");
    let folder = world.project();
    let theirs =
        each(&cases, |(contract, at)| official_export(&nickel, &folder, &format!("p{contract}-{at}.ncl"), "json"));
    let (mut valid, mut wrong) = (0, Vec::new());
    for ((contract, at), official) in cases.iter().zip(&theirs) {
        let our = &ours[contract][at];
        let agrees = match official {
            Ok(text) => {
                valid += 1;
                // Nushell has 1.0 where Nickel has 1.
                let theirs: Value = serde_json::from_str(text).unwrap();
                our["valid"] == true && same(&our["value"], &theirs)
            }
            Err(_) => our["valid"] == false,
        };
        if !agrees {
            wrong.push(format!(
                "{}\n{}\nofficial {official:?}\nours {our}",
                world.read(&format!("c{contract}.ncl")),
                world.read(&format!("p{contract}-{at}.json"))
            ));
        }
    }
    println!("{} rows, {valid} of them valid", cases.len());
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(valid > 10 && valid < cases.len() - 10, "the cases are one-sided: {valid}");
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
