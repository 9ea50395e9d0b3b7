//! Owns a child with everything that it starts: they are one group of processes, and end together.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

/// A child in a group of its own; killed with the group when dropped.
pub struct Group {
    pub child: Child,
    /// How it ended, once it has been waited for.
    over: Option<Option<ExitStatus>>,
}

impl Group {
    pub fn spawn(command: &mut Command) -> std::io::Result<Self> {
        Ok(Self { child: command.process_group(0).spawn()?, over: None })
    }

    /// Whether it still runs. One that ended keeps its number, which is that of its group, until that is ended too.
    pub fn is_alive(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.over.is_none() && matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), look), Ok(None))
    }

    /// Ends it with everything that it started: how it ended, where it did so itself.
    pub fn end(&mut self) -> Option<ExitStatus> {
        if self.over.is_none() {
            let ended_itself = !self.is_alive();
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.kill();
            self.over = Some(self.child.wait().ok().filter(|_| ended_itself));
        }
        self.over.flatten()
    }

    /// Takes the child off, which has ended: what it left behind lives on if it ended well, and ends with it if not.
    pub fn take_off(&mut self) -> Option<ExitStatus> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), look).ok().flatten();
        if self.over.is_none() && status.is_some_and(|it| it.exit_status() == Some(0)) {
            self.over = Some(self.child.wait().ok());
        }
        self.end()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}
