//! Owns a session: who asks, and the workspace they ask about. Every command is a method of it.

use crate::actor::Actor;
use crate::configuration::environments::location;
use crate::configuration::reading::known_environment;
use crate::host::Host;
use crate::project::Project;
use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_state::Store;
use std::sync::Arc;

/// Somebody and the workspace that their commands are about.
pub struct Session {
    pub workspace: Workspace,
    /// The principal of every policy question.
    pub actor: Actor,
}

impl Session {
    /// A session on an environment of a project; opens its state. A name that is misspelt does not become an environment
    /// with a state of its own.
    pub fn open(project: Project, host: Host, actor: Actor) -> Result<Session, Failure> {
        let place = location(&*host.env, project.environment.as_deref())?;
        if project.environment.is_none() || place.is_there(&project.folder) {
            let store = Store::open_at(&project.folder, &place)?;
            return Ok(Self::at_home(Workspace::new(project, host, store, true), actor));
        }
        let mut workspace = Workspace::new(project, host, Store::in_memory()?, true);
        known_environment(&workspace)?;
        workspace.store = Store::open_at(&workspace.project.folder, &place)?;
        Ok(Self::at_home(workspace, actor))
    }

    fn at_home(workspace: Workspace, actor: Actor) -> Session {
        if actor.claimed {
            workspace.store.claim_actor();
        }
        Session { workspace, actor }
    }

    /// A session over a state that is open already.
    pub fn over(store: Arc<Store>, project: Project, host: Host, actor: Actor) -> Session {
        Session { workspace: Workspace::new(project, host, store, false), actor }
    }

    /// A session whose state is in memory, and gone with it.
    pub fn in_memory(project: Project, host: Host, actor: Actor) -> Result<Session, Failure> {
        Ok(Self::over(Store::in_memory()?, project, host, actor))
    }
}
