//! Owns one running `nu`: its pipes, what it says besides its answers, and its end.

use crate::group::Group;
use crate::script::TOKEN;
use crate::{Asked, Fault, Raised};
use provision_diagnostic::{Source, excerpt};
use rand::Rng;
use serde_json::Value as Json;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often whoever waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// Most bytes of an answer.
const LONGEST: usize = 64 << 20;
/// Most bytes of a line that is shown, and most lines of one call.
const NOTE: usize = 2 << 10;
const NOTES: usize = 100;
/// How much of the error output is kept for when it ends.
const LAST: usize = 16 << 10;
/// Opens descriptor 3 for the requests: a command of the module that reads its input finds nothing there.
const APART: &str = "exec 3<&0 </dev/null; exec \"$@\"";

enum Heard {
    Answer(Vec<u8>),
    Note(String),
    TooLong,
    /// The request could not be handed over.
    Unsent,
}

/// A running `nu`; killed with everything it started when dropped.
pub struct Process {
    group: Group,
    input: Sender<Vec<u8>>,
    heard: Receiver<Heard>,
    last: Arc<Mutex<VecDeque<u8>>>,
    name: String,
}

impl Process {
    /// Starts a script in a folder, with this environment and no other.
    pub fn start(program: &Path, folder: &Path, script: &str, env: &[(String, String)]) -> std::io::Result<Self> {
        let token: String = format!("{:032x}", rand::rng().random::<u128>());
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", APART, "sh"])
            .arg(program)
            .args(["-n", "--no-std-lib", "-c", script])
            .current_dir(folder)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("NO_COLOR", "1")
            .env(TOKEN, &token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let child = &mut group.child;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, heard) = sync_channel(64);
        let (input, requests) = channel::<Vec<u8>>();
        let last = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(mut stdin) = stdin {
            let sender = sender.clone();
            // On a thread: a process that does not read keeps nobody waiting who could kill it.
            std::thread::spawn(move || {
                while let Ok(request) = requests.recv() {
                    if stdin.write_all(&request).is_err() {
                        let _ = sender.send(Heard::Unsent);
                        return;
                    }
                }
            });
        }
        if let Some(stdout) = stdout {
            let sender = sender.clone();
            std::thread::spawn(move || listen(BufReader::new(stdout), token.as_bytes(), &sender, None));
        }
        if let Some(stderr) = stderr {
            let last = last.clone();
            std::thread::spawn(move || listen(BufReader::new(stderr), b"", &sender, Some(&last)));
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { group, input, heard, last, name })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.group.is_alive()
    }

    /// Hands a request over and waits for its answer.
    pub fn ask(&mut self, request: &Json, asked: &Asked<'_>) -> Result<Json, Fault> {
        let mut line = request.to_string().into_bytes();
        line.push(b'\n');
        if !self.is_alive() || self.input.send(line).is_err() {
            return Err(Fault::NotBegun(self.ended()));
        }
        self.answer(asked)
    }

    /// Waits for an answer.
    pub fn answer(&mut self, asked: &Asked<'_>) -> Result<Json, Fault> {
        let begun = Instant::now();
        let mut notes = 0;
        let mut over = false;
        loop {
            match self.heard.recv_timeout(if over { Duration::ZERO } else { LOOK }) {
                Ok(Heard::Answer(bytes)) => return self.read(&bytes),
                Ok(Heard::Note(line)) => self.note(&line, &mut notes, asked),
                Ok(Heard::TooLong) => {
                    return Err(Fault::Unreadable(format!("it is longer than {} MiB", LONGEST >> 20)));
                }
                Ok(Heard::Unsent) | Err(RecvTimeoutError::Disconnected) => return Err(Fault::Ended(self.ended())),
                Err(RecvTimeoutError::Timeout) if over => return Err(Fault::Ended(self.ended())),
                Err(RecvTimeoutError::Timeout) => {
                    // Something that it started may keep its output open.
                    over = !self.is_alive();
                }
            }
            if asked.interrupt.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Fault::Interrupted);
            }
            if begun.elapsed() > asked.limit {
                return Err(Fault::Hung(asked.limit));
            }
        }
    }

    /// Shows a line that a module printed; what is too much is not shown.
    fn note(&self, line: &str, notes: &mut usize, asked: &Asked<'_>) {
        *notes += 1;
        let line = match (*notes).cmp(&NOTES) {
            std::cmp::Ordering::Less => (asked.hide)(line),
            std::cmp::Ordering::Equal => "… (what it printed besides is left out)".to_owned(),
            std::cmp::Ordering::Greater => return,
        };
        if !line.trim().is_empty() {
            let _ = writeln!(std::io::stderr(), "{}: {line}", self.name);
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Json, Fault> {
        let answer: Json = serde_json::from_slice(bytes).map_err(|error| Fault::Unreadable(error.to_string()))?;
        match answer.get("error") {
            Some(error) => Err(Fault::Raised(Box::new(raised(error)))),
            None => Ok(answer.get("value").cloned().unwrap_or_default()),
        }
    }

    /// How it ended, as far as that is known.
    fn ended(&mut self) -> String {
        match self.group.end() {
            Some(status) => format!("the worker ended ({status})"),
            None => "the worker ended".to_owned(),
        }
    }

    /// The end of its error output.
    pub fn last_words(&mut self) -> String {
        // What the reading thread has not got yet comes about now.
        for _ in 0..20 {
            if Arc::strong_count(&self.last) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&last.iter().copied().collect::<Vec<u8>>()).into_owned()
    }
}

/// Reads lines until there are no more. Those that begin with the token are answers.
fn listen(mut from: impl BufRead, token: &[u8], to: &SyncSender<Heard>, keep: Option<&Mutex<VecDeque<u8>>>) {
    while let Ok(Some((line, cut))) = line_of(&mut from) {
        if let Some(keep) = keep {
            let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&line);
            kept.push_back(b'\n');
            let more = kept.len().saturating_sub(LAST);
            kept.drain(..more);
        }
        let heard = match line.strip_prefix(token).filter(|_| !token.is_empty()) {
            Some(_) if cut => Heard::TooLong,
            Some(answer) => Heard::Answer(answer.to_vec()),
            None => Heard::Note(String::from_utf8_lossy(&line[..line.len().min(NOTE)]).into_owned()),
        };
        if to.send(heard).is_err() {
            return;
        }
    }
}

/// A line without its end, and whether it was cut.
fn line_of(from: &mut impl BufRead) -> std::io::Result<Option<(Vec<u8>, bool)>> {
    let (mut line, mut cut, mut any) = (Vec::new(), false, false);
    loop {
        let here = from.fill_buf()?;
        if here.is_empty() {
            return Ok(any.then_some((line, cut)));
        }
        any = true;
        let end = here.iter().position(|byte| *byte == b'\n');
        let part = &here[..end.unwrap_or(here.len())];
        let room = LONGEST.saturating_sub(line.len());
        cut |= part.len() > room;
        line.extend(&part[..part.len().min(room)]);
        let used = end.map_or(here.len(), |end| end + 1);
        from.consume(used);
        if end.is_some() {
            return Ok(Some((line, cut)));
        }
    }
}

/// The error as Nushell tells it, at the first place that is in a file.
fn raised(error: &Json) -> Raised {
    let text = |name: &str| error[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let labels = error["labels"].as_array();
    let place = labels.into_iter().flatten().find_map(|label| {
        let at = &label["location"];
        let number = |name: &str| at[name].as_u64().and_then(|it| usize::try_from(it).ok());
        let file = at["file"].as_str()?;
        let source = std::fs::read_to_string(file).ok()?;
        Some(excerpt(Source { name: file, text: &source }, number("start")?..number("end")?))
    });
    // Nushell's own say in the label what it is about.
    let label = labels.into_iter().flatten().find_map(|label| label["text"].as_str().filter(|text| !text.is_empty()));
    let own = text("code").filter(|code| code.starts_with("nu::")).and(label);
    let inner = error["inner"].as_array().and_then(|all| all.first()).filter(|_| place.is_none()).map(raised);
    let mut found = Raised {
        message: match (text("msg"), own) {
            (Some(message), Some(label)) => format!("{message}: {label}"),
            (Some(message), None) => message,
            (None, _) => "an error without a message".to_owned(),
        },
        code: text("code"),
        help: text("help"),
        place,
    };
    if let Some(inner) = inner {
        // An error of a closure stands within that of the command that ran it.
        found.message = format!("{}: {}", found.message, inner.message);
        found.code = inner.code.or(found.code);
        found.help = found.help.or(inner.help);
        found.place = inner.place;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_what_is_printed() {
        let said = b"hello\n\nT{\"value\":1}\nnot T{}\nhalf";
        let (sender, heard) = sync_channel(64);
        let keep = Mutex::new(VecDeque::new());
        listen(&said[..], b"T", &sender, Some(&keep));
        drop(sender);
        let seen: Vec<String> = heard
            .iter()
            .map(|one| match one {
                Heard::Answer(bytes) => format!("answer {}", String::from_utf8_lossy(&bytes)),
                Heard::Note(line) => line,
                _ => "?".to_owned(),
            })
            .collect();
        assert_eq!(seen, ["hello", "", "answer {\"value\":1}", "not T{}", "half"]);
    }

    #[test]
    fn an_error_of_a_closure_is_told_with_its_own_place_and_code() {
        let error = serde_json::json!({"msg": "outer", "labels": [], "code": "nu::shell::eval_block_with_input",
            "inner": [{"msg": "it is gone", "code": "gone", "labels": []}]});
        let found = raised(&error);
        assert_eq!((found.message.as_str(), found.code.as_deref()), ("outer: it is gone", Some("gone")));
    }
}
