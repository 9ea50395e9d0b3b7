//! Owns a workspace: one environment of a project, with its state and the accounts of its clouds. Every wing reads it; only
//! who holds the lease writes.

use crate::actor::Actor;
use crate::host::Host;
use crate::project::Project;
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, SecretSource};
use provision_providers::Account;
use provision_state::{Lease, Store};
use provision_worker::Worker;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What a source gave, once it has been asked.
pub(crate) type Slot = Arc<Mutex<Option<Json>>>;

/// One environment of a project, and what a command needs to work on it.
pub struct Workspace {
    pub project: Project,
    pub host: Host,
    pub store: Arc<Store>,
    /// Whether its state is where the environment keeps those of this project, so that the others are found beside it.
    pub(crate) at_home: bool,
    pub(crate) accounts: Mutex<HashMap<String, Account>>,
    /// What sources of secrets gave; nothing keeps it longer than the workspace.
    pub(crate) asked: Mutex<HashMap<SecretSource, Slot>>,
    /// The modules that give secrets, by their folders.
    pub(crate) secret_workers: Mutex<HashMap<PathBuf, Arc<Worker>>>,
}

impl Workspace {
    pub(crate) fn new(project: Project, host: Host, store: Arc<Store>, at_home: bool) -> Workspace {
        let (accounts, asked, secret_workers) = (Mutex::default(), Mutex::default(), Mutex::default());
        Workspace { project, host, store, at_home, accounts, asked, secret_workers }
    }
}

/// The right to change something here: the lease, of a state that is not an older one than its audit log shows.
pub(crate) fn writer(on: &Workspace, by: &Actor) -> Result<Lease, Failure> {
    let lease = acquire(on, by)?;
    on.store.refuse_older()?;
    Ok(lease)
}

impl Workspace {
    /// Refuses the state of another project: what it holds would be taken for what this one has no more.
    pub(crate) fn refuse_other_project(&self, name: &str) -> Result<(), Failure> {
        match self.store.project()? {
            Some(own) if !name.is_empty() && own != name => Err(Failure::new(
                Code::StateProject,
                format!("this state belongs to the project `{own}`, and the configuration is of `{name}`"),
            )
            .with_help(
                "Check PROVISION_STATE, --project and the `name` in infra.ncl. If the project was renamed, run `provision state adopt-project`.",
            )),
            _ => Ok(()),
        }
    }
}

/// The right to write, once a holder that is about to give it back has done so.
pub(crate) fn acquire(on: &Workspace, by: &Actor) -> Result<Lease, Failure> {
    loop {
        match Lease::acquire(&on.store, &by.id) {
            Err(failure) if failure.code() == Code::LeaseHeld => match &on.host.patience {
                Some(patience) if patience() => {}
                _ => return Err(failure),
            },
            taken => return taken,
        }
    }
}
