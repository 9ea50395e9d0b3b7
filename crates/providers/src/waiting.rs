//! Owns waiting: one poller per account asks for everything that is waited for, whoever waits.

use crate::{CallError, Class, Control, Pending, wire};
use provision_diagnostic::locked;
use provision_model::Json;
use provision_registry::{ActionPolling, StatusSpec};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
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
        let begun = control.clock.now();
        let mut pause = FIRST_PAUSE;
        locked(&self.board).wanted.extend(pending.iter().map(|action| action.id.clone()));
        loop {
            if !control.sleep(pause) {
                return Err(CallError::new(
                    Class::Interrupted,
                    provider,
                    "",
                    "interrupted while waiting for an action",
                ));
            }
            let mut board = locked(&self.board);
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

/// A list is asked for again only after this many times as long as it took: a long one must not be all that is done.
const REST: u32 = 4;

/// The states of all resources of a type.
pub struct Listed {
    pub states: HashMap<String, String>,
    /// How many calls it took.
    pub calls: usize,
}

/// The states as they were listed.
struct Snapshot {
    at: Instant,
    took: Duration,
    listed: Listed,
}

/// What is known of one type, and how many wait for something of it.
#[derive(Default)]
struct Board {
    snapshot: Mutex<Option<Snapshot>>,
    waiting: AtomicUsize,
}

/// One that waits, as long as it is held.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Snapshot {
    /// For how much longer no other is to be asked for.
    fn rest(&self, now: Instant) -> Duration {
        (self.at + self.took * (REST + 1)).saturating_duration_since(now)
    }
}

/// The states of the resources of one type, listed for everybody who waits; where the list takes more calls than they are,
/// each asks for its own.
#[derive(Default)]
pub struct StatusBoard {
    boards: Mutex<HashMap<String, Arc<Board>>>,
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
        list: &(dyn Fn() -> Result<Listed, CallError> + Sync),
        read: &dyn Fn() -> Result<Option<String>, CallError>,
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        let failed = || CallError::new(Class::Unavailable, provider, "", "the state poller failed");
        let interrupted = || CallError::new(Class::Interrupted, provider, "", "interrupted while waiting for a state");
        let begun = control.clock.now();
        let mut pause = FIRST_PAUSE;
        let board = locked(&self.boards).entry(key.to_owned()).or_default().clone();
        let _counted = Waiting::new(&board.waiting);
        loop {
            let listed = {
                let mut snapshot = locked(&board.snapshot);
                let now = control.clock.now();
                let rest = snapshot.as_ref().map_or(Duration::ZERO, |it| it.rest(now));
                let calls = snapshot.as_ref().map_or(1, |it| it.listed.calls);
                let is_cheaper = board.waiting.load(Ordering::SeqCst) > calls;
                match &*snapshot {
                    _ if !is_cheaper => {}
                    Some(it) if it.at >= begun && (!rest.is_zero() || now - it.at < pause) => {}
                    // It was taken before this wait began.
                    Some(_) if !rest.is_zero() => {
                        drop(snapshot);
                        if !control.sleep(rest) {
                            return Err(interrupted());
                        }
                        continue;
                    }
                    _ => {
                        // On a thread that ends: what a long list takes is given back, and not kept by everybody who waits.
                        let listed = std::thread::scope(|scope| scope.spawn(list).join());
                        let listed = listed.map_err(|_| failed())??;
                        *snapshot = Some(Snapshot { at: now, took: control.clock.now() - now, listed });
                    }
                }
                let current = snapshot.as_ref().filter(|it| is_cheaper && it.at >= begun);
                current.and_then(|it| it.listed.states.get(id).cloned())
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
                return Err(interrupted());
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}
