//! Owns running a program for what it prints: it ends in time, with everything that it started.

use crate::group::Group;
use std::io::Read;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How often somebody who waits for a program looks.
const LOOK: Duration = Duration::from_millis(10);

/// How long the output may stay open after its program ended.
const AFTER: Duration = Duration::from_secs(2);

/// Why a program gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprinted {
    NotStarted(std::io::ErrorKind),
    /// Its caller wanted to stop.
    Stopped,
    /// It took longer than it may.
    Hung,
    /// It ended with this exit code, or by a signal.
    Failed(Option<i32>),
    /// It ended, and something that it left behind holds its output open.
    Open,
}

/// What a program prints, the first word of `words`, of at most so many bytes and one more. No shell reads the words. What it
/// says on its error output is nobody's business: it may be secret.
pub fn printed(
    words: &[String],
    folder: &Path,
    most: u64,
    limit: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<u8>, Unprinted> {
    let (program, arguments) = words.split_first().ok_or(Unprinted::NotStarted(std::io::ErrorKind::NotFound))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut group = Group::spawn(&mut command).map_err(|error| Unprinted::NotStarted(error.kind()))?;
    let output = listen(group.child.stdout.take(), most);
    let end = Instant::now() + limit;
    while group.is_alive() {
        if stop() {
            return Err(Unprinted::Stopped);
        }
        if Instant::now() >= end {
            return Err(Unprinted::Hung);
        }
        std::thread::sleep(LOOK);
    }
    match group.take_off() {
        Some(status) if status.success() => {}
        status => return Err(Unprinted::Failed(status.and_then(|status| status.code()))),
    }
    match output.recv_timeout(AFTER) {
        Ok(Ok(all)) => Ok(all),
        _ => Err(Unprinted::Open),
    }
}

/// Reads while it runs: a program with much to say waits for its reader.
fn listen(stdout: Option<ChildStdout>, most: u64) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, output) = channel();
    if let Some(mut stdout) = stdout {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let read = stdout.by_ref().take(most + 1).read_to_end(&mut all);
            let _ = sender.send(read.map(|_| all));
            // More is of no use, but its writer must come to an end.
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str], stop: bool) -> Result<Vec<u8>, Unprinted> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        printed(&words, folder.path(), 64, Duration::from_millis(300), &|| stop)
    }

    #[test]
    fn what_it_prints_comes_as_it_is_and_no_shell_reads_its_words() {
        assert_eq!(run(&["printf", "a b\n\n"], false), Ok(b"a b\n\n".to_vec()));
        assert_eq!(run(&["printf", "%s", "$HOME; ls"], false), Ok(b"$HOME; ls".to_vec()));
        assert_eq!(run(&["head", "-c", "100000", "/dev/zero"], false).map(|all| all.len()), Ok(65));
    }

    #[test]
    fn one_that_fails_lingers_or_is_not_there_says_why() {
        assert_eq!(run(&["sh", "-c", "exit 3"], false), Err(Unprinted::Failed(Some(3))));
        assert_eq!(run(&["sh", "-c", "kill -9 $$"], false), Err(Unprinted::Failed(None)));
        assert_eq!(run(&["sleep", "20"], false), Err(Unprinted::Hung));
        assert_eq!(run(&["sleep", "20"], true), Err(Unprinted::Stopped));
        assert_eq!(run(&["no-such-program"], false), Err(Unprinted::NotStarted(std::io::ErrorKind::NotFound)));
        assert_eq!(run(&[], false), Err(Unprinted::NotStarted(std::io::ErrorKind::NotFound)));
    }

    #[test]
    fn what_it_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let words = ["sh", "-c", "sleep 20 & echo $! > child; sleep 20"].map(str::to_owned);
        let ended = printed(&words, folder.path(), 64, Duration::from_millis(300), &|| false);
        assert_eq!(ended, Err(Unprinted::Hung));
        let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let end = Instant::now() + Duration::from_secs(5);
        // Whose parent is gone is somebody else's to bury.
        let gone = || std::fs::read_to_string(&stat).is_ok_and(|it| !it.contains(") Z ")).then_some(());
        while gone().is_some() {
            assert!(Instant::now() < end, "it runs still");
            std::thread::sleep(LOOK);
        }
    }
}
