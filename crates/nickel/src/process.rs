//! Owns evaluating in processes of their own: endless recursion is killed, a stack overflow is an error, and neither
//! takes the caller with it. A process is the same program, started again with [`ROLE`] in its environment.

use crate::guard::{self, Stop};
use crate::host::{Host, died, gave_up, stopped};
use crate::job::{Job, Reply};
use crate::request::{Options, Request};
use crate::thread::LOOK;
use crate::wire::{self, Errand, Hello};
use provision_diagnostic::{Code, Failure};
use rustix::process::{Pid, Resource, Rlimit, getppid, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// The variable that makes the program an evaluating process.
const ROLE: &str = "NU_PROVISION_EVALUATOR";
/// Idle processes kept; more run only while more calls do.
const IDLE: usize = 2;
/// What a process may map beside its stack and the memory its evaluations may use.
const SLACK: u64 = 1 << 30;

/// The program that can serve as an evaluating process, once it said so.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
/// Who started this program. When that is gone nobody waits for an evaluation.
static PARENT: OnceLock<Option<Pid>> = OnceLock::new();

/// To be called first in `main`. In an evaluating process it serves and does not return; otherwise it makes every
/// [`crate::Evaluator`] of this program use such processes.
pub fn serve_or_continue() {
    if std::env::var_os(ROLE).is_some() {
        serve();
        std::process::exit(0);
    }
    let _ = PARENT.set(getppid());
    if let Ok(program) = std::env::current_exe() {
        // Set twice it is the same path.
        let _ = PROGRAM.set(program);
    }
}

/// The program evaluating processes can be made of, if this is one.
pub fn program() -> Option<&'static PathBuf> {
    PROGRAM.get()
}

/// The serving side. It ends when its input does, in the middle of a job too.
fn serve() {
    let (sender, inbox) = channel::<Vec<u8>>();
    let mut input = std::io::stdin().lock();
    let Ok(Some(hello)) = wire::receive(&mut input) else { return };
    let Ok(hello) = wire::decode::<Hello>(&hello) else { return };
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Some(limit) = hello.memory_limit {
        let most = limit.saturating_add(hello.stack_bytes as u64).saturating_add(SLACK);
        let _ = setrlimit(Resource::As, Rlimit { current: Some(most), maximum: Some(most) });
    }
    // A panic of the library is an answer; nothing is told of it twice.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(limit) = hello.memory_limit {
        std::thread::spawn(move || watch_memory(limit));
    }
    let evaluating = std::thread::Builder::new().name("nickel".to_owned()).stack_size(hello.stack_bytes);
    let evaluating = evaluating.spawn(move || {
        let mut host = Host::new(hello.memory_limit);
        host.warm_up();
        let mut output = std::io::stdout().lock();
        while let Ok(bytes) = inbox.recv() {
            let reply = match wire::decode::<Errand<Job>>(&bytes) {
                Ok(errand) => host.run(&errand.job.with_library(errand.library)),
                Err(_) => gave_up().into(),
            };
            let bytes = wire::encode(&reply).or_else(|_| wire::encode(&Reply::from(gave_up())));
            if bytes.is_ok_and(|bytes| wire::send(&mut output, &bytes).is_ok()) && !Host::is_full() {
                continue;
            }
            std::process::exit(0);
        }
    });
    if evaluating.is_err() {
        return;
    }
    while let Ok(Some(frame)) = wire::receive(&mut input) {
        if sender.send(frame).is_err() {
            return;
        }
    }
}

/// Ends the process where one step of an evaluation takes more memory than it may: there is no stopping inside a step.
fn watch_memory(limit: u64) {
    let most = limit.saturating_add(limit / 4);
    loop {
        std::thread::sleep(LOOK);
        if guard::resident_bytes().is_some_and(|used| used > most) {
            let _ = writeln!(std::io::stderr(), "memory allocation beyond the limit");
            std::process::exit(1);
        }
    }
}

/// The processes of one evaluator.
pub struct Pool {
    program: PathBuf,
    options: Options,
    idle: Mutex<Vec<Process>>,
}

impl Pool {
    pub fn new(program: PathBuf, options: Options) -> Self {
        Self { program, options, idle: Mutex::new(Vec::new()) }
    }

    /// Starts a process before it is asked for.
    pub fn warm_up(&self) {
        if self.lock().is_empty()
            && let Ok(process) = Process::start(&self.program, &self.options)
        {
            self.lock().push(process);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a job in an idle process, or in a new one: the reply and how many bytes it took.
    pub fn run(&self, job: &Job) -> (Reply, usize) {
        let request = job.request();
        let library = request.library.clone();
        let Ok(bytes) = wire::encode(&Errand::<&Job> { job, library }) else { return (gave_up().into(), 0) };
        let kept = self.lock().pop();
        if let Some(mut process) = kept {
            match process.ask(&bytes, request, &self.options) {
                // It ended before it was asked, as a full one does, or without a word; a new one takes the job.
                Err(Ended::Before | Ended::Silent(_)) => {}
                outcome => return self.finish(process, outcome),
            }
        }
        let mut ended = String::new();
        // One that ends without a word may have been ended from outside; the second time it is told.
        for _ in 0..2 {
            match Process::start(&self.program, &self.options) {
                Ok(mut process) => match process.ask(&bytes, request, &self.options) {
                    Err(Ended::Silent(how)) => ended = how,
                    Err(Ended::Before) => "it stopped before it was asked".clone_into(&mut ended),
                    outcome => return self.finish(process, outcome),
                },
                Err(error) => {
                    let message = format!("the evaluating process could not be started: {error}");
                    return (Failure::new(Code::NickelEvalLimit, message).into(), 0);
                }
            }
        }
        (died(&ended).into(), 0)
    }

    fn finish(&self, process: Process, outcome: Result<(Reply, usize), Ended>) -> (Reply, usize) {
        match outcome {
            Ok(reply) => {
                let mut idle = self.lock();
                if idle.len() < IDLE {
                    idle.push(process);
                }
                reply
            }
            Err(Ended::Stopped(stop)) => (stopped(stop).into(), 0),
            Err(Ended::Silent(how)) => (died(&how).into(), 0),
            Err(Ended::Before | Ended::Broken) => (gave_up().into(), 0),
        }
    }
}

/// Why a process gave no reply.
enum Ended {
    /// It was gone before the job reached it.
    Before,
    Stopped(Stop),
    /// It gave no reason; this is its exit status.
    Silent(String),
    /// Its answer cannot be read.
    Broken,
}

/// One running process; killed when dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    replies: Receiver<Vec<u8>>,
    /// The last thing it wrote to its error output; tells an overflow of the stack from one of the memory.
    last_words: Arc<Mutex<String>>,
}

impl Process {
    fn start(program: &PathBuf, options: &Options) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .env(ROLE, "1")
            // Where memory has run out, drawing a backtrace waits for a lock that is held already.
            .env("RUST_BACKTRACE", "0")
            // The allocator of most systems gives memory back after each evaluation, and takes it again for the next.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_TOP_PAD_", "16777216")
            .env("MALLOC_TRIM_THRESHOLD_", "536870912")
            .env("MALLOC_MMAP_THRESHOLD_", "536870912")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let missing = || std::io::Error::other("a pipe is missing");
        let mut input = child.stdin.take().ok_or_else(missing)?;
        let mut output = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().ok_or_else(missing)?;
        let (sender, replies) = channel();
        std::thread::spawn(move || {
            while let Ok(Some(frame)) = wire::receive(&mut output) {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        let last_words = Arc::new(Mutex::new(String::new()));
        let words = last_words.clone();
        std::thread::spawn(move || listen(BufReader::new(errors), &words));
        wire::send(&mut input, &wire::encode(&Hello::from(options))?)?;
        Ok(Self { child, input, replies, last_words })
    }

    fn ask(&mut self, bytes: &[u8], request: &Request, options: &Options) -> Result<(Reply, usize), Ended> {
        if wire::send(&mut self.input, bytes).is_err() {
            return Err(Ended::Before);
        }
        let began = Instant::now();
        loop {
            match self.replies.recv_timeout(LOOK) {
                Ok(bytes) => {
                    let reply = wire::decode(&bytes).map_err(|_| Ended::Broken)?;
                    return Ok((reply, bytes.len()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.post_mortem()),
                Err(RecvTimeoutError::Timeout) => {
                    let orphaned = PARENT.get().is_some_and(|parent| *parent != getppid());
                    if orphaned || request.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                        return Err(Ended::Stopped(Stop::Interrupted));
                    }
                    if options.time_limit.is_some_and(|limit| began.elapsed() > limit) {
                        return Err(Ended::Stopped(Stop::Time));
                    }
                }
            }
        }
    }

    fn post_mortem(&mut self) -> Ended {
        let status = self.child.wait();
        // The listening thread reads the last line about now.
        std::thread::sleep(LOOK);
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.contains("overflowed its stack") {
            Ended::Stopped(Stop::Stack)
        } else if words.contains("memory allocation") {
            Ended::Stopped(Stop::Memory)
        } else {
            match status {
                Ok(status) if status.success() => Ended::Before,
                Ok(status) => Ended::Silent(status.to_string()),
                Err(error) => Ended::Silent(error.to_string()),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes on what `std.trace` writes, and keeps what the runtime says when it dies.
fn listen(from: impl BufRead, last_words: &Mutex<String>) {
    for line in from.lines() {
        let Ok(line) = line else { return };
        let dying = line.contains("has overflowed its stack") || line.starts_with("memory allocation ");
        if dying || line.starts_with("fatal runtime error") {
            let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
            if words.len() < 1 << 12 {
                words.push_str(&line);
            }
        } else {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_process_that_ends_without_a_word_is_tried_once_more_and_its_end_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (program, runs) = (folder.path().join("program"), folder.path().join("runs"));
        let script = format!("#!/bin/sh\necho run >> {}\nsleep 0.2\nkill -9 $$\n", runs.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let pool = Pool::new(program, Options::default());
        let failure = pool.run(&Job::Eval(Request::file("/nowhere.ncl"))).0.result.unwrap_err();
        assert_eq!(failure.code(), Code::NickelEvalLimit);
        assert!(failure.first.message.contains("signal: 9"), "{failure:?}");
        assert_eq!(std::fs::read_to_string(runs).unwrap().lines().count(), 2);
    }
}
