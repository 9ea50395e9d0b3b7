//! Owns where values come from that no configuration holds: the environment, encrypted files, files, programs.

use crate::Session;
use provision_diagnostic::Failure;
use provision_model::{Json, SecretSource, Sources};
use provision_state::Secrets;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most bytes that a file or a program may give as a secret.
const SECRET: u64 = 1 << 20;

/// A program that gives a secret ends within this time.
pub(crate) const PROGRAM: Duration = Duration::from_secs(30);

/// What a source gave, once it has been asked.
pub(crate) type Slot = Arc<Mutex<Option<Json>>>;

impl Session {
    /// The encrypted files of the project, as this session's user sees them.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(&self.project, &self.shown_from, &|name| (self.env)(name))
    }

    fn ask(&self, source: &SecretSource) -> Result<Json, Failure> {
        match source {
            SecretSource::Env(name) => self.env_json(name),
            SecretSource::Age { name, field } => {
                let value = self.secrets().get(name)?;
                match field {
                    Some(field) => Secrets::pick(&value, &format!("`{name}`"), field),
                    None => Ok(value),
                }
            }
            SecretSource::File(path) => {
                let read = |path: &Path| -> std::io::Result<Vec<u8>> {
                    let mut bytes = Vec::new();
                    std::fs::File::open(path)?.take(SECRET + 1).read_to_end(&mut bytes)?;
                    Ok(bytes)
                };
                let bytes = read(&self.project.join(path)).map_err(|error| {
                    no_secret(format!("the file `{path}` cannot be read: {}", error.kind()))
                        .with_help("Paths are relative to the project; check that it is there and readable.")
                })?;
                secret_text(bytes, &format!("the file `{path}`"))
            }
            SecretSource::Module { folder, name } => self.secret_of_module(folder, name.as_deref()),
            SecretSource::Command(words) => {
                let stop = || self.stop.is_requested();
                let (what, printed) = printed(words, &self.project, PROGRAM, &stop)?;
                secret_text(printed, &what)
            }
        }
    }
}

impl Sources<Failure> for Session {
    fn env(&self, name: &str) -> Result<Json, Failure> {
        self.env_json(name)
    }

    /// Asked once in a session, and by one at a time: a program may have to ask its user something.
    fn secret(&self, source: &SecretSource) -> Result<Json, Failure> {
        let slot: Slot =
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(source.clone()).or_default().clone();
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*kept {
            return Ok(value.clone());
        }
        let value = self.ask(source)?;
        // Where it is only a part of a value, the part is as secret as the whole.
        self.store.sealer().note(&value);
        *kept = Some(value.clone());
        Ok(value)
    }
}

pub(crate) fn no_secret(message: String) -> Failure {
    Failure::new("provision::secret::source", message)
}

/// Text as a secret, without the line end that follows it.
pub(crate) fn secret_text(bytes: Vec<u8>, what: &str) -> Result<Json, Failure> {
    if bytes.len() as u64 > SECRET {
        return Err(no_secret(format!("{what} gave more than 1 MiB"))
            .with_help("A secret is a password or a key; keep larger things elsewhere."));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        no_secret(format!("{what} gave no text")).with_help("Give text in UTF-8, for example as base64.")
    })?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(no_secret(format!("{what} gave nothing"))
            .with_help("Check that the secret is there; an empty one is taken for a mistake."));
    }
    Ok(Json::from(text))
}

/// What a program prints, with what messages call it: its name, for arguments may be secret. What it says on its error
/// output is not shown, for the same reason.
fn printed(
    words: &[String],
    folder: &Path,
    limit: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<(String, Vec<u8>), Failure> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| no_secret("a source of a secret names no program".to_owned()))?;
    let what = format!("`{program}`");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| {
        no_secret(format!("{what}, which gives a secret, cannot be started: {}", error.kind())).with_help(
            "Give the program and its arguments as a list; no shell reads them, and the PATH must lead to it.",
        )
    })?;
    // Read meanwhile: a program with much to say waits for its reader.
    let (sender, printed) = std::sync::mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let read = stdout.by_ref().take(SECRET + 1).read_to_end(&mut all);
            let _ = sender.send(read.map(|_| all));
            // More than a secret is of no use, but its writer must come to an end.
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
    }
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end && !stop() => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let message = match stop() {
                    true => format!("{what}, which gives a secret, was stopped"),
                    false => format!("{what}, which gives a secret, did not end within {} s", limit.as_secs()),
                };
                return Err(
                    no_secret(message).with_help("Run it by itself: it may wait for an input that it cannot get here.")
                );
            }
        }
    };
    if !status.success() {
        let how = match status.code() {
            Some(code) => format!("ended with exit code {code}"),
            None => "was ended by a signal".to_owned(),
        };
        return Err(no_secret(format!("{what}, which gives a secret, {how}"))
            .with_help("Run it by itself in the project's folder to see what it says."));
    }
    // Whoever it left behind may hold its output open: what came until now is all.
    match printed.recv_timeout(Duration::from_secs(2)) {
        Ok(Ok(all)) => Ok((what, all)),
        _ => Err(no_secret(format!("{what}, which gives a secret, did not close its output"))
            .with_help("Give a program that ends with all that it started.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str], stop: bool) -> Result<Json, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        let (what, printed) = printed(&words, folder.path(), Duration::from_millis(300), &|| stop)?;
        secret_text(printed, &what)
    }

    #[test]
    fn a_program_gives_its_output_without_the_last_line_end() {
        assert_eq!(run(&["printf", "a b\n\n"], false).unwrap(), Json::from("a b\n"));
        assert_eq!(run(&["printf", "%s", "$HOME; ls"], false).unwrap(), Json::from("$HOME; ls"));
    }

    #[test]
    fn a_program_that_fails_lingers_or_says_nothing_gives_no_secret() {
        let cases: [(&[&str], bool, &str); 6] = [
            (&["sh", "-c", "echo canary >&2; exit 3"], false, "exit code 3"),
            (&["sleep", "20"], false, "did not end within"),
            (&["sleep", "20"], true, "was stopped"),
            (&["true"], false, "gave nothing"),
            (&["printf", "\\377"], false, "no text"),
            (&["no-such-program", "canary"], false, "cannot be started"),
        ];
        for (words, stop, said) in cases {
            let failure = run(words, stop).unwrap_err();
            assert_eq!(failure.code(), "provision::secret::source");
            assert!(failure.first.message.contains(said) && failure.first.help.is_some(), "{failure:?}");
            assert!(!failure.first.message.contains("canary"), "{failure:?}");
        }
    }
}
