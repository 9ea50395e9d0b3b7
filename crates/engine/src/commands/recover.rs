//! Owns recover: settling what a crash left open, and looking for what the state lost.

use crate::commands::Session;
use crate::configuration::reading::{Input, read_input};
use crate::observation::places::other_places;
use crate::observation::refresh::look_at;
use crate::observation::strays::{Origin, origins, own_strays};
use crate::operations::events::Sink;
use crate::operations::settle::{Settled, settle_open};
use crate::workspace::acquire;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Outcome, Recovered};

impl Session {
    /// Settles what a crash left open, and looks for what carries our mark and is in no row.
    pub fn recover(&self, sink: Sink<'_>) -> Result<Settled, Failure> {
        let lease = acquire(&self.workspace, &self.actor)?;
        // Whoever asks for this has seen that the state is an older one: the audit log tells of it from here on.
        self.workspace.store.own_older(&lease)?;
        let mut settled = settle_open(&self.workspace, &lease, sink)?;
        // What cannot be looked at hides nothing of what was settled.
        let (strays, problems) = self.recovered_strays()?;
        settled.rows.extend(strays);
        settled.problems.extend(problems);
        Ok(settled)
    }

    /// The strays of everywhere, and what becomes of each; with them comes what could not be looked at.
    pub(crate) fn recovered_strays(&self) -> Result<(Vec<Recovered>, Vec<Diagnostic>), Failure> {
        // Read for where to look; a mistake in it does not hide what is there.
        let config =
            read_input(&self.workspace, &Input::Project).map(|(located, _)| located.config).unwrap_or_default();
        let state = self.workspace.store.resources()?;
        let (places, mut problems) = other_places(&self.workspace, &config, &state)?;
        let world = look_at(&self.workspace, &config, &state, &places, false)?;
        problems.extend(world.problems);
        let strays = own_strays(&self.workspace, world.strays)?;
        let origins = origins(&self.workspace, &strays, config.resources.iter().map(|it| &it.address))?;
        let told = strays.into_iter().zip(origins).map(|(stray, origin)| {
            let (address, message) = match origin {
                Origin::LetGo => (None, "carries this state's mark, and the state let go of it".to_owned()),
                Origin::Lost(address, _) => {
                    let message = "this state lost it: `provision plan` shows the row that adopts it".to_owned();
                    (Some(address), message)
                }
                Origin::Unknown => {
                    let id = &stray.remote.id;
                    let how = format!("`provision import ADDRESS {id} --type {}` adopts it", stray.kind);
                    (None, format!("carries this state's mark, and the state does not know for which address: {how}"))
                }
            };
            let (kind, remote_id) = (stray.kind, Some(stray.remote.id));
            Recovered { address, kind, action: None, outcome: Outcome::Stray, message, remote_id }
        });
        Ok((told.collect(), problems))
    }
}
