//! Owns where values come from that no configuration holds: the environment, encrypted files, files, programs.

use crate::configuration::accounts::env_json;
use crate::configuration::secret_module::secret_of_module;
use crate::workspace::{Slot, Workspace};
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, SecretSource, Sources};
use provision_state::Secrets;
use provision_worker::{Unprinted, printed};
use std::io::Read;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

/// The most bytes that a file or a program may give as a secret.
const SECRET: u64 = 1 << 20;

/// What to do about a program that does not end.
const LINGERS: &str = "Run it by itself: it may wait for an input that it cannot get here.";

/// What to do about a program that fails.
const BY_ITSELF: &str = "Run it by itself in the project's folder to see what it says.";

/// A program that gives a secret ends within this time.
pub(crate) const PROGRAM: Duration = Duration::from_secs(30);

impl Sources<Failure> for Workspace {
    fn env(&self, name: &str) -> Result<Json, Failure> {
        env_json(self, name)
    }

    /// Asked once in a on, and by one at a time: a program may have to ask its user something.
    fn secret(&self, source: &SecretSource) -> Result<Json, Failure> {
        let slot: Slot =
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(source.clone()).or_default().clone();
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*kept {
            return Ok(value.clone());
        }
        let value = ask_source(self, source)?;
        // Where it is only a part of a value, the part is as secret as the whole.
        self.store.sealer().note(&value);
        *kept = Some(value.clone());
        Ok(value)
    }
}

pub(crate) fn no_secret(message: String) -> Failure {
    Failure::new(Code::SecretSource, message)
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

/// The failure of a source of secrets as a problem of the field that names it.
pub(crate) fn sourceless(failure: Failure, path: &[provision_model::Step]) -> provision_model::Problem {
    provision_model::Problem {
        help: failure.first.help.clone(),
        ..provision_model::Problem::value(failure.code(), failure.first.message, path)
    }
}

/// The encrypted files of the project, as this session's user sees them.
pub(crate) fn secret_files(on: &Workspace) -> Secrets {
    Secrets::new(&on.project.folder, &on.project.shown_from, &|name| (on.host.env)(name))
}

/// What a program gives. Messages call it by its name alone, for arguments may be secret.
fn of_program(words: &[String], folder: &Path, limit: Duration, stop: &dyn Fn() -> bool) -> Result<Json, Failure> {
    let program = words.first().ok_or_else(|| no_secret("a source of a secret names no program".to_owned()))?;
    let what = format!("`{program}`");
    let said = |how: String, help: &str| no_secret(format!("{what}, which gives a secret, {how}")).with_help(help);
    let found = printed(words, folder, SECRET, limit, stop).map_err(|why| match why {
        Unprinted::NotStarted(kind) => said(
            format!("cannot be started: {kind}"),
            "Give the program and its arguments as a list; no shell reads them, and the PATH must lead to it.",
        ),
        Unprinted::Stopped => said("was stopped".to_owned(), LINGERS),
        Unprinted::Hung => said(format!("did not end within {} s", limit.as_secs()), LINGERS),
        Unprinted::Failed(Some(code)) => said(format!("ended with exit code {code}"), BY_ITSELF),
        Unprinted::Failed(None) => said("was ended by a signal".to_owned(), BY_ITSELF),
        Unprinted::Open => {
            said("did not close its output".to_owned(), "Give a program that ends with all that it started.")
        }
    })?;
    secret_text(found, &what)
}

fn ask_source(on: &Workspace, source: &SecretSource) -> Result<Json, Failure> {
    match source {
        SecretSource::Env(name) => env_json(on, name),
        SecretSource::Age { name, field } => {
            let value = secret_files(on).get(name)?;
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
            let bytes = read(&on.project.folder.join(path)).map_err(|error| {
                no_secret(format!("the file `{path}` cannot be read: {}", error.kind()))
                    .with_help("Paths are relative to the project; check that it is there and readable.")
            })?;
            secret_text(bytes, &format!("the file `{path}`"))
        }
        SecretSource::Module { folder, name } => secret_of_module(on, folder, name.as_deref()),
        SecretSource::Command(words) => {
            let stop = || on.host.stop.is_requested();
            of_program(words, &on.project.folder, PROGRAM, &stop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str], stop: bool) -> Result<Json, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        of_program(&words, folder.path(), Duration::from_millis(300), &|| stop)
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
            assert_eq!(failure.code(), Code::SecretSource);
            assert!(failure.first.message.contains(said) && failure.first.help.is_some(), "{failure:?}");
            assert!(!failure.first.message.contains("canary"), "{failure:?}");
        }
    }
}
