//! Owns evaluating on a thread of this process: for programs that cannot serve as an evaluating process themselves. An
//! overflow of its stack ends the program; [`crate::process`] does not have that fault.

use crate::guard::Stop;
use crate::host::{Host, gave_up, stopped};
use crate::job::{Job, Reply};
use crate::request::Options;
use provision_diagnostic::{Code, Failure};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a waiting caller looks at its interrupt flag.
pub const LOOK: Duration = Duration::from_millis(50);

type Inbox = Sender<(Job, Sender<Reply>)>;

/// The thread and the way to it.
pub struct Thread {
    options: Options,
    jobs: Mutex<Option<Inbox>>,
}

impl Thread {
    pub fn new(options: Options) -> Self {
        Self { options, jobs: Mutex::new(None) }
    }

    pub fn run(&self, job: Job) -> Reply {
        let interrupt = job.request().interrupt.clone();
        let (reply, answer) = channel();
        if let Err(failure) = self.send((job, reply)) {
            return failure.into();
        }
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(reply) => return reply,
                Err(RecvTimeoutError::Disconnected) => return gave_up().into(),
                // The thread sees the flag too; a caller does not wait for it, or for the jobs before its own.
                Err(RecvTimeoutError::Timeout) => {
                    if interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                        return stopped(Stop::Interrupted).into();
                    }
                }
            }
        }
    }

    fn send(&self, job: (Job, Sender<Reply>)) -> Result<(), Failure> {
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
        let limit = self.options.memory_limit;
        let thread = std::thread::Builder::new().name("nickel".to_owned()).stack_size(self.options.stack_bytes);
        let sent = sender.send(job).is_ok();
        if thread.spawn(move || serve(limit, &inbox)).is_err() || !sent {
            return Err(Failure::new(Code::NickelEvalLimit, "the evaluating thread could not be started"));
        }
        *jobs = Some(sender);
        Ok(())
    }
}

fn serve(memory_limit: Option<u64>, inbox: &Receiver<(Job, Sender<Reply>)>) {
    let mut host = Host::new(memory_limit);
    while let Ok((job, reply)) = inbox.recv() {
        // A caller that stopped waiting is no fault.
        let _ = reply.send(host.run(&job));
    }
}
