//! Owns the proof that warmth is never stale: after each of many random edits of a tree of files, the kept evaluator
//! answers as a cold one does. `WARM_EDITS=10000` makes it thorough.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_nickel::{Evaluator, Request};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::path::{Path, PathBuf};

const FILES: usize = 40;
/// The first folder on the import path is empty at first; files appear in it and hide those of the second.
const FOLDERS: [&str; 2] = ["first", "second"];

fn nickel(random: &mut StdRng, number: usize) -> String {
    let mut parts = vec![format!("n{number} = {}", random.random_range(0..1000))];
    // Only later files are imported, so that no edit makes a cycle.
    for later in number + 1..FILES {
        if random.random_bool((2.5 / (FILES - number) as f64).min(0.9)) {
            let name = name(later);
            parts.push(match random.random_range(0..3) {
                0 => format!("f{later} = import \"{name}\""),
                1 => format!("f{later} = let part = import \"{name}\" in std.typeof part"),
                _ => format!("f{later} = std.hash 'Md5 (std.serialize 'Json (import \"{name}\"))"),
            });
        }
    }
    match random.random_range(0..30) {
        0 => "{ broken = ".to_owned(),
        1 => format!("{{ {}, wrong | String = 1 }}", parts.join(", ")),
        2 => format!("{{ {}, typed = (1 : String) }}", parts.join(", ")),
        _ => format!("{{ {} }}", parts.join(", ")),
    }
}

/// Every fifth file is data.
fn name(number: usize) -> String {
    format!("f{number}.{}", if number % 5 == 4 { "json" } else { "ncl" })
}

fn content(random: &mut StdRng, number: usize) -> String {
    match number % 5 {
        4 => format!("{{\"data\": {}}}", random.random_range(0..1000)),
        _ => nickel(random, number),
    }
}

/// Writes without changing the time of the file, if there is one.
fn write(path: &Path, text: &str) {
    let time = std::fs::metadata(path).ok().and_then(|known| known.modified().ok());
    std::fs::write(path, text).unwrap();
    if let Some(time) = time {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

/// The value, or the mistakes in words for who reads a failed test.
fn outcome(evaluator: &Evaluator, request: &Request) -> Result<Value, Vec<String>> {
    match evaluator.eval(request) {
        Ok(evaluation) => Ok(evaluation.value.clone()),
        Err(failure) => Err(failure.diagnostics().map(|one| format!("{} {}", one.code, one.headline())).collect()),
    }
}

#[test]
fn after_any_edit_the_answer_is_that_of_a_cold_evaluation() {
    let edits: usize = std::env::var("WARM_EDITS").ok().map_or(250, |count| count.parse().unwrap());
    let mut random = StdRng::seed_from_u64(3);
    let tree = tempfile::tempdir().unwrap();
    for folder in FOLDERS {
        std::fs::create_dir(tree.path().join(folder)).unwrap();
    }
    let place = |folder: &str, number: usize| -> PathBuf { tree.path().join(folder).join(name(number)) };
    for number in 0..FILES {
        write(&place("second", number), &content(&mut random, number));
    }
    let main = tree.path().join("main.ncl");
    std::fs::write(&main, "{ a = import \"f0.ncl\", b = import \"f1.ncl\" }").unwrap();
    let import_paths: Vec<PathBuf> = FOLDERS.iter().map(|folder| tree.path().join(folder)).collect();
    let warm = Evaluator::default();
    let (mut good, mut bad) = (0, 0);
    for edit in 0..edits {
        let number = random.random_range(0..FILES);
        match random.random_range(0..10) {
            0 => write(&place("first", number), &content(&mut random, number)),
            1 | 2 => drop(std::fs::remove_file(place("first", number))),
            3 => {
                // A file goes, and comes back at some later edit.
                let _ = std::fs::remove_file(place("second", number));
            }
            // The same content with another time.
            4 => {
                if let Ok(text) = std::fs::read(place("second", number)) {
                    std::fs::write(place("second", number), text).unwrap();
                }
            }
            _ => write(&place("second", number), &content(&mut random, number)),
        }
        if edit % 7 == 0 {
            for number in 0..FILES {
                if !place("second", number).exists() {
                    write(&place("second", number), &content(&mut random, number));
                }
            }
        }
        let number = *[0, 1, 2, 3, 5].choose(&mut random).unwrap();
        let source = if random.random_bool(0.3) { main.clone() } else { place("second", number) };
        let request = Request {
            import_paths: import_paths.clone(),
            shown_from: Some(tree.path().to_owned()),
            ..Request::file(source.clone())
        };
        let answer = outcome(&warm, &request);
        let cold = outcome(&Evaluator::default(), &request);
        if answer.is_ok() {
            good += 1
        } else {
            bad += 1
        }
        // Of several broken imports the evaluator may meet any one first.
        let same = match (&answer, &cold) {
            (Ok(answer), Ok(cold)) => answer == cold,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            panic!("edit {edit}, {}:\nwarm {answer:#?}\ncold {cold:#?}", source.display());
        }
    }
    println!("{edits} edits: {good} values and {bad} failures, each as a cold evaluation gives it");
    assert!(good > edits / 10 && bad > edits / 20, "one-sided: {good} good, {bad} bad");
}
