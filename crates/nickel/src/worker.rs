//! Owns the evaluating thread: its stack, its few kept contexts, and surviving a panic of the library.

use crate::guard::{self, Stop};
use crate::request::{Evaluation, Options, Request};
use crate::session::Session;
use provision_diagnostic::{Diagnostic, Failure};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Contexts kept, one for each library and import path in use.
const SESSIONS: usize = 4;
/// How often a waiting caller looks at its interrupt flag.
const LOOK: Duration = Duration::from_millis(50);

enum Job {
    Eval(Request, Sender<Result<Evaluation, Failure>>),
    EvalPartial(Request, Sender<Result<(Evaluation, Vec<Diagnostic>), Failure>>),
    Check(Request, Sender<Result<Vec<Diagnostic>, Failure>>),
}

/// The thread and the way to it.
pub struct Worker {
    options: Options,
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Worker {
    pub fn new(options: Options) -> Self {
        Self { options, jobs: Mutex::new(None) }
    }

    pub fn eval(&self, request: &Request) -> Result<Evaluation, Failure> {
        let (reply, answer) = channel();
        self.send(Job::Eval(request.clone(), reply))?;
        wait(request, &answer)
    }

    pub fn eval_partial(&self, request: &Request) -> Result<(Evaluation, Vec<Diagnostic>), Failure> {
        let (reply, answer) = channel();
        self.send(Job::EvalPartial(request.clone(), reply))?;
        wait(request, &answer)
    }

    pub fn check(&self, request: &Request) -> Result<Vec<Diagnostic>, Failure> {
        let (reply, answer) = channel();
        self.send(Job::Check(request.clone(), reply))?;
        wait(request, &answer)
    }

    fn send(&self, job: Job) -> Result<(), Failure> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match &*jobs {
            None => job,
            Some(sender) => match sender.send(job) {
                Ok(()) => return Ok(()),
                // The thread is gone; a new one takes the job.
                Err(unsent) => unsent.0,
            },
        };
        let (sender, inbox) = channel();
        let options = self.options.clone();
        let thread = std::thread::Builder::new().name("nickel".to_owned()).stack_size(options.stack_bytes);
        let sent = sender.send(job).is_ok();
        if thread.spawn(move || serve(&options, &inbox)).is_err() || !sent {
            return Err(Failure::new("nickel::eval::limit", "the evaluating thread could not be started"));
        }
        *jobs = Some(sender);
        Ok(())
    }
}

fn wait<T>(request: &Request, answer: &Receiver<Result<T, Failure>>) -> Result<T, Failure> {
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("nickel::eval::limit", "the evaluating thread ended unexpectedly"));
            }
            // The thread sees the flag too; a caller does not wait for it, or for the requests before its own.
            Err(RecvTimeoutError::Timeout) => {
                if request.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                    return Err(stopped(Stop::Interrupted));
                }
            }
        }
    }
}

fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Interrupted => Failure::new("nickel::eval::limit", "evaluation was interrupted"),
        Stop::Memory => Failure::new("nickel::eval::limit", "evaluation was stopped because it used too much memory")
            .with_help("Look for a recursion that does not end."),
    }
}

fn serve(options: &Options, inbox: &Receiver<Job>) {
    let mut sessions: Vec<Session> = Vec::new();
    while let Ok(job) = inbox.recv() {
        // A caller that stopped waiting is no fault.
        match job {
            Job::Eval(request, reply) => {
                let _ = reply.send(run(options, &mut sessions, &request, Session::eval));
            }
            Job::EvalPartial(request, reply) => {
                let _ = reply.send(run(options, &mut sessions, &request, Session::eval_partial));
            }
            Job::Check(request, reply) => {
                let _ = reply.send(run(options, &mut sessions, &request, Session::check));
            }
        }
    }
}

/// Runs one job in a context that is current, and drops the context if the job broke it.
fn run<T>(
    options: &Options,
    sessions: &mut Vec<Session>,
    request: &Request,
    job: impl FnOnce(&mut Session, &Request) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if request.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        return Err(stopped(Stop::Interrupted));
    }
    let kept = sessions.iter().position(|session| session.serves(request)).map(|at| sessions.remove(at));
    let kept = kept.filter(|session| session.uses < options.recycle_after && session.is_current());
    guard::arm(request.interrupt.clone(), options.memory_limit);
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let mut session = kept.unwrap_or_else(|| Session::new(request.library.clone(), request.import_paths.clone()));
        let result = job(&mut session, request);
        (session, result)
    }));
    guard::arm(None, None);
    match outcome {
        Ok((session, result)) => {
            if sessions.len() >= SESSIONS {
                sessions.remove(0);
            }
            sessions.push(session);
            result
        }
        Err(panic) => Err(broken(&*panic)),
    }
}

fn broken(panic: &(dyn Any + Send)) -> Failure {
    match panic.downcast_ref::<Stop>() {
        Some(stop) => stopped(*stop),
        None => Failure::new("nickel::eval::limit", "the Nickel evaluator gave up on this input")
            .with_help("This is a fault of the evaluator; a smaller file that shows it helps to mend it."),
    }
}
