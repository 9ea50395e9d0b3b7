//! Owns the sign that a command still settles what it had in flight although the shell has gone on, and waiting for it.

use crate::progress::say;
use nu_plugin::EngineInterface;
use provision_engine::Host;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lock on the project's folder, held by whoever settles; the kernel takes it back from a process that dies.
pub struct Settling {
    _folder: File,
}

impl Settling {
    /// Puts up the sign; `None` where the folder cannot be locked.
    pub fn begin(project: &Path) -> Option<Self> {
        let folder = File::open(project).ok()?;
        folder.try_lock().ok()?;
        Some(Self { _folder: folder })
    }

    fn is_up(project: &Path) -> bool {
        // Readers of the sign do not take each other for it.
        File::open(project)
            .is_ok_and(|folder| matches!(folder.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
    }
}

/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long a command that holds the lease may take to notice that nobody reads its events any more.
const NOTICE: Duration = Duration::from_secs(1);

/// Waits until a command before this one has settled what it had in flight, and says so; Ctrl-C ends the wait.
pub fn wait(engine: &EngineInterface, project: &Path) {
    let mut told = false;
    while Settling::is_up(project) && !engine.signals().interrupted() {
        if !std::mem::replace(&mut told, true) {
            say("waiting for the command before this one, which settles what it had in flight");
        }
        std::thread::sleep(LOOK);
    }
}

/// Has a command that finds the lease held wait for a holder that is about to give it back.
pub fn be_patient(host: &mut Host, project: &Path, engine: &EngineInterface) {
    let (project, engine) = (project.to_path_buf(), engine.clone());
    host.patience = Some(Arc::new(move || {
        let end = Instant::now() + NOTICE;
        while Instant::now() < end && !engine.signals().interrupted() {
            if Settling::is_up(&project) {
                wait(&engine, &project);
                return true;
            }
            std::thread::sleep(LOOK);
        }
        false
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_seen_while_it_is_up() {
        let project = tempfile::tempdir().unwrap();
        assert!(!Settling::is_up(project.path()));
        let sign = Settling::begin(project.path()).unwrap();
        assert!(Settling::is_up(project.path()) && Settling::begin(project.path()).is_none());
        drop(sign);
        assert!(!Settling::is_up(project.path()));
    }
}
