//! Fuzzes the evaluator: mutated programs of the corpus through check, eval and format, in processes as the plugins use
//! them. Nothing may panic here, take longer than the limit by much, or give no reply. `cargo xtask fuzz nickel` runs it.

#![expect(clippy::unwrap_used, reason = "a fuzzer stops at what it did not expect")]

use provision_nickel::{Evaluator, Options, Request, Source};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TIME_LIMIT: Duration = Duration::from_secs(2);
/// What the machine may take on top of the limit.
const GRACE: Duration = Duration::from_secs(8);

/// Words whose places matter to a parser.
const WORDS: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "m%\"",
    "\"%",
    "%{",
    "|",
    ":",
    "=",
    "=>",
    "->",
    "&",
    "@",
    "++",
    "fun x => ",
    "let rec f = f in ",
    "import ",
    "match ",
    "if ",
    " then ",
    " else ",
    "std.",
    ".",
    ",",
    "'",
    "#",
    "1e308",
    "_",
    "null",
    "forall a. ",
];

fn mutate(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..8) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => {
                let other = seeds.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                bytes.splice(at..at, other[from..].iter().copied().take(200));
            }
            2 => bytes.insert(at, random.random()),
            3 if at < bytes.len() => bytes[at] = random.random(),
            4 => {
                let end = (at + random.random_range(0..20)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let word = WORDS.choose(random).unwrap();
                let times = if random.random_bool(0.02) { 60_000 } else { 1 };
                bytes.splice(at..at, word.repeat(times).into_bytes());
            }
            _ => bytes.splice(at..at, WORDS.choose(random).unwrap().bytes()).for_each(drop),
        }
    }
    bytes
}

fn seeds(folder: &Path, into: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            seeds(&entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "ncl") {
            into.push(std::fs::read(entry).unwrap());
        }
    }
}

fn main() {
    provision_nickel::serve_or_continue();
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(60, |seconds| seconds.parse().unwrap());
    let corpus: PathBuf = arguments.next().map_or_else(|| "tests/corpus/nickel".into(), PathBuf::from);
    let seed: u64 = arguments.next().map_or(1, |seed| seed.parse().unwrap());
    let mut all = vec![Vec::new()];
    seeds(&corpus, &mut all);
    let mut random = StdRng::seed_from_u64(seed);
    let options = Options { time_limit: Some(TIME_LIMIT), memory_limit: Some(1 << 30), ..Options::default() };
    let evaluator = Evaluator::new(options);
    let (began, mut outcomes, mut slowest) = (Instant::now(), BTreeMap::<String, u64>::new(), Duration::ZERO);
    let mut inputs = 0_u64;
    while began.elapsed() < Duration::from_secs(seconds) {
        let bytes = mutate(&mut random, &all);
        inputs += 1;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let source = Source::Text { name: "fuzz".into(), folder: corpus.join("imports"), text };
        let request = Request { sources: vec![source], ..Request::default() };
        let mut note = |what: &str, started: Instant, failed: Option<&provision_diagnostic::Failure>| {
            let took = started.elapsed();
            slowest = slowest.max(took);
            let gave_up = failed.is_some_and(|failure| failure.first.message.contains("gave up"));
            if took > TIME_LIMIT + GRACE || gave_up {
                let kept = std::env::temp_dir().join(format!("nickel-fuzz-{seed}-{inputs}.ncl"));
                std::fs::write(&kept, &bytes).unwrap();
                println!("{what} of {} took {took:?}: {failed:?}", kept.display());
            }
            let outcome = failed.map_or("ok", |failure| failure.code().as_str());
            *outcomes.entry(format!("{what} {outcome}{}", if gave_up { " (gave up)" } else { "" })).or_default() += 1;
        };
        let started = Instant::now();
        note("check", started, evaluator.check(&request).err().as_ref());
        let started = Instant::now();
        note("eval", started, evaluator.eval(&request).err().as_ref());
        if inputs.is_multiple_of(10) {
            let started = Instant::now();
            note("format", started, evaluator.format(&request).err().as_ref());
        }
    }
    println!("{inputs} inputs in {:?}, the slowest call {slowest:?}", began.elapsed());
    for (outcome, count) in outcomes {
        println!("{count:8} {outcome}");
    }
}
