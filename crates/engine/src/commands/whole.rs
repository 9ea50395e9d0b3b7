//! Owns what is done to a state as a whole: another key, another project, an exported state, a backup. Each is asked of the
//! policies and is in the audit log.

use crate::commands::Session;
use crate::configuration::reading::{Input, configured, standing};
use crate::operations::settle::settle_all;
use crate::policy::alone::noted;
use crate::policy::gate::{asked_of_project, open_gate};
use crate::workspace::{acquire, writer};
use provision_diagnostic::{Code, Failure};
use provision_model::{Config, Json};
use provision_state::{Imported, Lease, Rekeyed, Store};
use schemars::JsonSchema;
use serde::Serialize;

/// Whose a state was, and whose it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AdoptedProject {
    pub before: Option<String>,
    pub after: String,
}

impl Session {
    /// Makes the state that of the project in the file, whose name is another one now.
    pub fn adopt_project(&self) -> Result<AdoptedProject, Failure> {
        let config = configured(&self.workspace)?;
        if config.name.is_empty() {
            return Err(Failure::new(Code::ConfigNoProject, "there is no project to adopt the state for")
                .with_help("Go to the project's folder, whose infra.ncl has its `name`."));
        }
        let lease = writer(&self.workspace, &self.actor)?;
        self.may_change_state(Some(&lease), &config, "adopt_project")?;
        let before = self.workspace.store.adopt_project(&lease, &config.name)?;
        self.workspace.store.checkpoint()?;
        Ok(AdoptedProject { before, after: config.name })
    }

    /// Gives the state another key.
    pub fn rekey(&self) -> Result<Rekeyed, Failure> {
        let set = |name: &str| (self.workspace.host.env)(name).filter(|value| !value.is_empty());
        let given = set("PROVISION_STATE_NEW_KEY");
        match (set("PROVISION_STATE_KEY"), &given) {
            (Some(_), None) => {
                return Err(Failure::new(Code::StateIo, "the new key of the state is not given")
                    .with_help("Set PROVISION_STATE_NEW_KEY to a new age identity, as `age-keygen` makes them."));
            }
            (None, Some(_)) => {
                return Err(Failure::new(
                    Code::StateIo,
                    "the key of this state is a file, and PROVISION_STATE_NEW_KEY is set",
                )
                .with_help("Unset PROVISION_STATE_NEW_KEY: a new file is made."));
            }
            _ => {}
        }
        let config = standing(&self.workspace, &Input::Project)?.config;
        self.workspace.refuse_other_project(&config.name)?;
        let lease = writer(&self.workspace, &self.actor)?;
        self.may_change_state(Some(&lease), &config, "rekey")?;
        settle_all(&self.workspace, &lease, &|_| {})?;
        self.workspace.store.rekey(&lease, given.as_deref())
    }

    /// Takes over an exported state.
    pub fn import_state(&self, exported: &Json) -> Result<Imported, Failure> {
        // What is none of it needs no decision, and leaves nothing behind.
        Store::check_exported(exported)?;
        let config = standing(&self.workspace, &Input::Project)?.config;
        let lease = acquire(&self.workspace, &self.actor)?;
        // The head of the very state that is taken over, as where a project's file goes into a database, speaks for it.
        let becomes = self.workspace.store.becomes(exported)?;
        if !becomes {
            self.workspace.store.refuse_older()?;
        }
        let gate = open_gate(&self.workspace, &self.actor, config.policies.as_deref(), Some(&lease))?;
        let answer = asked_of_project(&self.workspace, &self.actor, &gate, &config.name, "import_state", "the state");
        // A denial that was noted here would be signed over that head.
        match becomes {
            true => answer?,
            false => noted(&self.workspace, &lease, "import_state", None, answer)?,
        }
        self.workspace.store.import(&lease, exported)
    }

    /// Asks the policies whether the state may go back to a backup; the restore itself writes its entry.
    pub fn may_restore(&self) -> Result<(), Failure> {
        let config = standing(&self.workspace, &Input::Project)?.config;
        self.workspace.refuse_other_project(&config.name)?;
        // Somebody else's lease is told by the restore.
        let lease = acquire(&self.workspace, &self.actor).ok();
        self.may_change_state(lease.as_ref(), &config, "restore")
    }

    fn may_change_state(&self, lease: Option<&Lease>, config: &Config, action: &str) -> Result<(), Failure> {
        let gate = open_gate(&self.workspace, &self.actor, config.policies.as_deref(), lease)?;
        let answer = asked_of_project(&self.workspace, &self.actor, &gate, &config.name, action, "the state");
        match lease {
            Some(lease) => noted(&self.workspace, lease, action, None, answer),
            None => answer,
        }
    }
}
