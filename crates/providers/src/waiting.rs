//! Owns waiting: one poller per account asks for everything that is waited for, whoever waits.

use crate::{CallError, Class, Control, Pending, wire};
use provision_model::Json;
use provision_registry::{ActionPolling, StatusSpec};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Actions somebody waits for and what is known of them.
#[derive(Default)]
pub struct ActionBoard {
    board: Mutex<Actions>,
}

#[derive(Default)]
struct Actions {
    wanted: BTreeSet<String>,
    /// Finished: `None` well, otherwise the error.
    over: HashMap<String, Option<String>>,
    asked: Option<Instant>,
}

impl ActionBoard {
    /// Waits until all of `pending` are over. Whoever finds the last answer old asks for all that anybody waits for.
    pub fn wait(
        &self,
        provider: &str,
        polling: &ActionPolling,
        pending: &[Pending],
        ask: &dyn Fn(&[String]) -> Result<Json, CallError>,
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        let poisoned = || CallError::new(Class::Unavailable, provider, "", "the action poller failed");
        let begun = control.clock.now();
        let mut pause = FIRST_PAUSE;
        self.board.lock().map_err(|_| poisoned())?.wanted.extend(pending.iter().map(|action| action.id.clone()));
        loop {
            if !control.sleep(pause) {
                return Err(CallError::new(
                    Class::Interrupted,
                    provider,
                    "",
                    "interrupted while waiting for an action",
                ));
            }
            let mut board = self.board.lock().map_err(|_| poisoned())?;
            if board.asked.is_none_or(|at| control.clock.now() - at >= pause) && !board.wanted.is_empty() {
                let ids: Vec<String> = board.wanted.iter().cloned().collect();
                for batch in ids.chunks(polling.batch.max(1)) {
                    let answer = ask(batch)?;
                    let Some(Json::Array(found)) = wire::extract(&answer, &polling.items) else {
                        return Err(CallError::new(Class::Malformed, provider, "", "the answer has no actions"));
                    };
                    for action in &found {
                        let text = |path: &str| {
                            wire::extract(action, path)
                                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                        };
                        let (Some(id), Some(status)) = (text(&polling.id), text(&polling.status)) else { continue };
                        if polling.running.contains(&status) {
                            continue;
                        }
                        let error = polling
                            .failed
                            .contains(&status)
                            .then(|| text(&polling.error).unwrap_or_else(|| "the action failed".into()));
                        board.wanted.remove(&id);
                        board.over.insert(id, error);
                    }
                }
                board.asked = Some(control.clock.now());
            }
            if pending.iter().all(|action| board.over.contains_key(&action.id)) {
                let failed = pending.iter().filter_map(|action| board.over.remove(&action.id).flatten()).next();
                return match failed {
                    None => Ok(()),
                    Some(message) => Err(CallError::new(Class::Rejected, provider, "action_failed", message)),
                };
            }
            drop(board);
            if control.clock.now() - begun > TIMEOUT {
                return Err(CallError::new(
                    Class::Unavailable,
                    provider,
                    "",
                    "an action is still running after 15 minutes",
                ));
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}

type Snapshot = Arc<Mutex<Option<(Instant, HashMap<String, String>)>>>;

/// The states of the resources of one type, listed for everybody who waits.
#[derive(Default)]
pub struct StatusBoard {
    boards: Mutex<HashMap<String, Snapshot>>,
}

impl StatusBoard {
    /// Waits until the state of `id` is one of `wanted`; when deleting, until it is gone.
    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename the arguments")]
    pub fn wait(
        &self,
        provider: &str,
        key: &str,
        id: &str,
        wanted: &[String],
        rules: &StatusSpec,
        deleting: bool,
        list: &dyn Fn() -> Result<HashMap<String, String>, CallError>,
        read: &dyn Fn() -> Result<Option<String>, CallError>,
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        let poisoned = || CallError::new(Class::Unavailable, provider, "", "the state poller failed");
        let begun = control.clock.now();
        let mut pause = FIRST_PAUSE;
        let board = self.boards.lock().map_err(|_| poisoned())?.entry(key.to_owned()).or_default().clone();
        loop {
            let listed = {
                let mut snapshot = board.lock().map_err(|_| poisoned())?;
                let usable = snapshot.as_ref().is_some_and(|(at, _)| *at >= begun && control.clock.now() - *at < pause);
                if !usable {
                    let at = control.clock.now();
                    *snapshot = Some((at, list()?));
                }
                snapshot.as_ref().and_then(|(_, states)| states.get(id).cloned())
            };
            // Absence from a list proves nothing: ask for the one.
            let status = match listed {
                Some(status) => Some(status),
                None => read()?,
            };
            match status {
                None if deleting => return Ok(()),
                Some(status) if wanted.contains(&status) || (deleting && rules.gone.contains(&status)) => return Ok(()),
                Some(status) if rules.failed.contains(&status) => {
                    return Err(CallError::new(Class::Rejected, provider, "", format!("the state became `{status}`")));
                }
                _ => {}
            }
            if control.clock.now() - begun > TIMEOUT {
                return Err(CallError::new(
                    Class::Unavailable,
                    provider,
                    "",
                    "the state is not reached after 15 minutes",
                ));
            }
            if !control.sleep(pause) {
                return Err(CallError::new(Class::Interrupted, provider, "", "interrupted while waiting for a state"));
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}
