//! Owns the evaluating side: its few kept contexts, the choice among them, and surviving a panic of the library.

use crate::guard::{self, Stop};
use crate::job::{Job, Reply};
use crate::request::Library;
use crate::session::Session;
use provision_diagnostic::{Code, Failure};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Contexts kept, one for each library and import path in use.
const SESSIONS: usize = 4;
/// Resident memory above which the contexts are given up after a job, because they only grow.
const FULL: u64 = 1 << 30;

/// The contexts of one evaluating thread.
#[derive(Default)]
pub struct Host {
    sessions: Vec<Session>,
    memory_limit: Option<u64>,
}

impl Host {
    pub fn new(memory_limit: Option<u64>) -> Self {
        Self { sessions: Vec::new(), memory_limit }
    }

    /// Loads the standard library before it is asked for.
    pub fn warm_up(&mut self) {
        if self.sessions.is_empty() {
            let warm = catch_unwind(|| {
                let mut session = Session::new(None, Vec::new(), None);
                session.warm_up();
                session
            });
            self.sessions.extend(warm);
        }
    }

    /// Whether so much memory is in use that a fresh process is the better one.
    pub fn is_full() -> bool {
        guard::resident_bytes().is_some_and(|used| used > FULL)
    }

    /// Runs one job in a context that is current, and drops the context if the job broke it.
    pub fn run(&mut self, job: &Job) -> Reply {
        let request = job.request();
        if request.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return stopped(Stop::Interrupted).into();
        }
        let kept = self.sessions.iter().position(|session| session.serves(request));
        let kept = kept.map(|at| self.sessions.remove(at));
        guard::arm(request.interrupt.clone(), self.memory_limit);
        let outcome = catch_unwind(AssertUnwindSafe(move || {
            let mut session = kept.unwrap_or_else(|| {
                Session::new(request.library.clone(), request.import_paths.clone(), request.confine.clone())
            });
            session.refresh(request);
            let reply = session.run(job);
            (session, reply)
        }));
        guard::arm(None, None);
        let reply = match outcome {
            Ok((session, reply)) => {
                if self.sessions.len() >= SESSIONS {
                    self.sessions.remove(0);
                }
                self.sessions.push(session);
                reply
            }
            Err(panic) => broken(&*panic).into(),
        };
        if Self::is_full() {
            self.sessions.clear();
        }
        reply
    }
}

/// Why an evaluation was ended from outside.
pub fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Interrupted => Failure::new(Code::NickelEvalLimit, "evaluation was interrupted"),
        Stop::Memory => Failure::new(Code::NickelEvalLimit, "evaluation was stopped because it used too much memory")
            .with_help(
                "Look for a recursion that does not end, or raise `memory_limit` of $env.config.plugins.nickel.",
            ),
        Stop::Time => Failure::new(Code::NickelEvalLimit, "evaluation was stopped because it took too long")
            .with_help("Look for a recursion that does not end, or raise `time_limit` of $env.config.plugins.nickel."),
        Stop::Stack => Failure::new(Code::NickelEvalLimit, "evaluation was stopped because it is nested too deeply")
            .with_help("Look for a recursion that does not end, or for brackets nested thousands of levels deep."),
    }
}

fn broken(panic: &(dyn Any + Send)) -> Failure {
    match panic.downcast_ref::<Stop>() {
        Some(stop) => stopped(*stop),
        None => gave_up(),
    }
}

/// The evaluating process ended twice without a word.
pub fn died(how: &str) -> Failure {
    Failure::new(Code::NickelEvalLimit, format!("the evaluating process ended without an answer ({how})"))
        .with_help("Something outside may have ended it, for want of memory for instance: look at the system's log, then try again.")
}

/// The library panicked, or its process ended without a reason we know.
pub fn gave_up() -> Failure {
    Failure::new(Code::NickelEvalLimit, "the Nickel evaluator gave up on this input")
        .with_help("This is a fault of the evaluator; a smaller file that shows it helps to mend it.")
}

/// The file that an import written in a file of this folder leads to: the first candidate that can be read. Library
/// files are the last candidates, below [`crate::session::LIBRARY_ROOT`].
pub fn resolve(folder: &Path, text: &str, import_paths: &[PathBuf], library: Option<&Arc<Library>>) -> Option<PathBuf> {
    let root = Path::new(crate::session::LIBRARY_ROOT);
    candidates(folder, text, import_paths).find(|path| match path.strip_prefix(root) {
        Ok(inside) => library.is_some_and(|library| library.files.contains_key(&*inside.to_string_lossy())),
        Err(_) => path.is_file(),
    })
}

/// The paths that an import may lead to, in the order in which they are tried.
pub fn candidates<'a>(
    folder: &'a Path,
    text: &'a str,
    import_paths: &'a [PathBuf],
) -> impl Iterator<Item = PathBuf> + 'a {
    let root = Path::new(crate::session::LIBRARY_ROOT);
    let folders = std::iter::once(folder).chain(import_paths.iter().map(PathBuf::as_path)).chain([root]);
    folders.map(move |folder| nickel_lang_core::cache::normalize_abs_path(&folder.join(text)))
}

/// The content of a file that is one: what has become a pipe meanwhile would be waited for without an end.
pub fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    std::fs::read(path)
}
