//! Owns recordings: what went over the wire, one exchange a line, secrets taken out; and giving it again without a network.

use crate::tamper;
use provision_diagnostic::{Code, Failure};
use provision_providers::{Mask, Wire, WireAnswer, WireError, WireRequest};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Stands in the place of a secret.
const SCRUBBED: &str = "<scrubbed>";
/// Headers of an answer that say something about it; the others say something about the account.
const HEADERS: [&str; 4] = ["content-type", "retry-after", "ratelimit-remaining", "link"];

/// One exchange.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Exchange {
    method: String,
    /// Path and query.
    path: String,
    action: Option<String>,
    request: Option<String>,
    status: u16,
    headers: Vec<(String, String)>,
    response: String,
}

/// What was asked, before it is known what was answered.
pub struct Asked {
    method: String,
    path: String,
    action: Option<String>,
    request: Option<String>,
}

/// Writes exchanges down.
pub struct Recorder {
    file: PathBuf,
    /// Takes out what the state keeps as secret: of the type, and of everything it needs.
    mask: Mask,
    /// Names whose values are secret in an answer.
    names: Vec<String>,
    exchanges: Mutex<Vec<Exchange>>,
}

impl Recorder {
    /// A recorder of one type's exchanges. Secrets are masked in every encoding when the file is written, for some are known
    /// only then; so is every value under a secret name.
    pub fn new(folder: &Path, kind: &str, mask: Mask, names: Vec<String>) -> Self {
        Self { file: folder.join(format!("{kind}.jsonl")), mask, names, exchanges: Mutex::default() }
    }

    pub fn asked(request: &WireRequest) -> Asked {
        Asked {
            method: request.method.clone(),
            path: path_of(&request.url),
            action: tamper::action(request),
            request: request.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned()),
        }
    }

    pub fn note(&self, asked: Asked, answer: &WireAnswer) {
        let kept = |(name, _): &&(String, String)| HEADERS.contains(&name.as_str());
        let exchange = Exchange {
            method: asked.method,
            path: asked.path,
            action: asked.action,
            request: asked.request,
            status: answer.status,
            headers: answer.headers.iter().filter(kept).cloned().collect(),
            response: self.unnamed(&String::from_utf8_lossy(&answer.body)),
        };
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    /// An exchange without what is secret.
    fn masked(&self, exchange: &Exchange) -> Exchange {
        let mask = |text: &String| (self.mask)(text);
        Exchange {
            path: mask(&exchange.path),
            request: exchange.request.as_ref().map(mask),
            headers: exchange.headers.iter().map(|(name, value)| (name.clone(), mask(value))).collect(),
            response: mask(&exchange.response),
            ..exchange.clone()
        }
    }

    /// An answer without the values under secret names.
    fn unnamed(&self, text: &str) -> String {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(mut value) => {
                blank(&mut value, &self.names);
                value.to_string()
            }
            Err(_) => self.names.iter().fold(text.to_owned(), |text, name| untagged(&text, name)),
        }
    }

    /// Writes the file.
    pub fn finish(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Code::ProviderNoCloud, format!("cannot write {}: {error}", self.file.display()))
                .with_help("Give another folder with --record.")
        };
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = exchanges.iter().map(|it| serde_json::to_string(&self.masked(it)).map_err(std::io::Error::from));
        let lines: Vec<String> = lines.collect::<Result<_, _>>().map_err(failed)?;
        std::fs::write(&self.file, lines.join("\n") + "\n").map_err(failed)
    }
}

fn blank(value: &mut serde_json::Value, names: &[String]) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, item) in map {
                match item.is_string() && names.contains(name) {
                    true => *item = SCRUBBED.into(),
                    false => blank(item, names),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| blank(item, names)),
        _ => {}
    }
}

/// XML without the texts of the elements of a name.
fn untagged(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut parts = text.split(&open);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(&open);
        match part.split_once(&close) {
            Some((_, rest)) => out.extend([SCRUBBED, close.as_str(), rest]),
            None => out.push_str(part),
        }
    }
    out
}

fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned())
}

/// Gives recorded answers: to each request the next one that was given to such a request, and the last one again when
/// it only reads.
pub struct Replay {
    kind: String,
    left: Mutex<HashMap<String, Vec<Exchange>>>,
    /// The path of the first request that was recorded, and what of it is the endpoint's once that is known.
    first: String,
    base: OnceLock<String>,
}

fn key(method: &str, path: &str, action: Option<&str>) -> String {
    format!("{method} {path} {}", action.unwrap_or_default())
}

impl Replay {
    pub fn open(folder: &Path, kind: &str) -> Result<Self, Failure> {
        let file = folder.join(format!("{kind}.jsonl"));
        let failed = |why: String| {
            Failure::new(Code::ProviderNoCloud, format!("cannot replay {}: {why}", file.display()))
                .with_help("Record it first, with `provision provider test NAME --record DIR`.")
        };
        let text = std::fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
        let mut left: HashMap<String, Vec<Exchange>> = HashMap::new();
        let mut first = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let exchange: Exchange = serde_json::from_str(line).map_err(|error| failed(error.to_string()))?;
            first.get_or_insert_with(|| exchange.path.clone());
            left.entry(key(&exchange.method, &exchange.path, exchange.action.as_deref())).or_default().push(exchange);
        }
        let first = first.unwrap_or_default();
        Ok(Self { kind: kind.to_owned(), left: Mutex::new(left), first, base: OnceLock::new() })
    }
}

impl Wire for Replay {
    fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
        let asked = Recorder::asked(&request);
        // It was recorded below the endpoint of that time.
        let base = self.base.get_or_init(|| self.first.strip_suffix(&asked.path).unwrap_or_default().to_owned());
        let key = key(&asked.method, &format!("{base}{}", asked.path), asked.action.as_deref());
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let found = left.get_mut(&key).filter(|all| !all.is_empty()).map(|all| match all.len() {
            1 => all[0].clone(),
            _ => all.remove(0),
        });
        let exchange =
            found.ok_or_else(|| WireError::Build(format!("the recording of {} has no answer to {key}", self.kind)))?;
        Ok(WireAnswer { status: exchange.status, headers: exchange.headers, body: exchange.response.into_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_recording_holds_no_secret_of_what_a_type_needs() {
        let folder = tempfile::tempdir().unwrap();
        let masker = provision_diagnostic::Masker::new(["canary-\"9\""]);
        let mask: Mask = Arc::new(move |text: &str| masker.mask(text).into_owned());
        let recorder = Recorder::new(folder.path(), "acme.key", mask, vec!["pass".into(), "keyMaterial".into()]);
        let body = serde_json::json!({"needed": "x canary-\"9\""}).to_string();
        let url = "https://api.acme/v1/keys?x=canary-%229%22".to_owned();
        let never = std::sync::atomic::AtomicBool::new(false);
        let request = WireRequest {
            method: "POST".into(),
            url,
            headers: Vec::new(),
            body: Some(body.into_bytes()),
            interrupt: &never,
        };
        for answer in
            ["{\"pass\": \"made-1\", \"it\": [\"canary-\\\"9\\\"\"]}", "<k><keyMaterial>made-2</keyMaterial></k>"]
        {
            let answer = WireAnswer { status: 200, headers: Vec::new(), body: answer.into() };
            recorder.note(Recorder::asked(&request), &answer);
        }
        recorder.finish().unwrap();
        let text = std::fs::read_to_string(folder.path().join("acme.key.jsonl")).unwrap();
        assert!(!text.contains("canary") && !text.contains("made-") && text.contains(SCRUBBED), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
