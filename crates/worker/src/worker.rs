//! Owns the worker of one account: one process, started when it is needed, asked one call after another.

use crate::process::Process;
use crate::{Asked, Commands, Fault, module, program, script};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often whoever waits for its turn looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// A module's commands in a process of their own.
pub struct Worker {
    folder: PathBuf,
    commands: Vec<String>,
    env: Vec<(String, String)>,
    slot: Mutex<Slot>,
    free: Condvar,
}

#[derive(Default)]
struct Slot {
    busy: bool,
    idle: Option<Process>,
}

impl Worker {
    /// A worker for the module of a folder that has these commands. Nothing is started yet.
    pub fn new(folder: PathBuf, commands: Vec<String>, env: Vec<(String, String)>) -> Self {
        Self { folder, commands, env, slot: Mutex::default(), free: Condvar::new() }
    }

    fn start(&self) -> Result<Process, Fault> {
        let path = self.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
        let program = program::find(path).map_err(Fault::NotBegun)?;
        let script = script::serve(&self.commands);
        Process::start(&program, &self.folder, &script, &self.env)
            .map_err(|error| Fault::NotBegun(format!("{} cannot be started: {error}", program.display())))
    }

    /// Waits for its turn: the process that is there, if there is one.
    fn turn(&self, asked: &Asked<'_>) -> Result<Option<Process>, Fault> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        while slot.busy {
            if asked.interrupt.load(Ordering::Relaxed) {
                return Err(Fault::NotBegun("it was to stop before it was its turn".to_owned()));
            }
            slot = self.free.wait_timeout(slot, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        slot.busy = true;
        Ok(slot.idle.take())
    }

    fn give_back(&self, process: Option<Process>) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.busy = false;
        slot.idle = process;
        self.free.notify_one();
    }

    fn ask(&self, kept: Option<Process>, request: &Json, asked: &Asked<'_>) -> (Option<Process>, Result<Json, Fault>) {
        if let Some(mut process) = kept {
            let answer = process.ask(request, asked);
            // One that ended meanwhile was not asked: a new one takes the call.
            if !matches!(answer, Err(Fault::NotBegun(_))) {
                return keep(process, answer);
            }
        }
        match self.start() {
            Err(fault) => (None, Err(fault)),
            Ok(mut process) => {
                let answer = process.ask(request, asked);
                let answer = answer.map_err(|fault| unparsed(fault, &mut process));
                keep(process, answer)
            }
        }
    }
}

/// A module that does not parse any more was not called.
fn unparsed(fault: Fault, process: &mut Process) -> Fault {
    match fault {
        Fault::Ended(how) => match module::parse_error(&process.last_words()) {
            Some(raised) => Fault::NotBegun(format!("the module cannot be loaded: {raised}")),
            None => Fault::Ended(how),
        },
        other => other,
    }
}

/// A process is kept when it is ready for the next call.
fn keep(process: Process, answer: Result<Json, Fault>) -> (Option<Process>, Result<Json, Fault>) {
    match answer {
        Ok(_) | Err(Fault::Raised(_)) => (Some(process), answer),
        Err(_) => (None, answer),
    }
}

impl Commands for Worker {
    fn call(&self, command: &str, request: &Json, asked: &Asked<'_>) -> Result<Json, Fault> {
        if !self.commands.iter().any(|known| known == command) {
            return Err(Fault::NotBegun(format!("the module has no command `{command}`")));
        }
        let request = json!({ "command": command, "request": request });
        let kept = self.turn(asked)?;
        let (process, answer) = self.ask(kept, &request, asked);
        self.give_back(process);
        answer
    }
}
