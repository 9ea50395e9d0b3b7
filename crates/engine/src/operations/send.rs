//! Owns sending the calls of an operation: a lost answer is settled before anything is sent again.

use crate::observation::others::leave_out;
use crate::observation::sighting::{Sighting, Window, interrupted};
use crate::operations::execute::{Executor, Run, Stopped};
use crate::operations::search::{Found, search_made};
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Json, Map, Remote, Status, Visible, compare};
use provision_providers::{CallError, CallStep, Class, Control, Operation, Sent, StepKind};
use provision_registry::TypeSpec;
use provision_state::Entry;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a call whose answer was lost is sent again after it was found to have had no effect.
const SENDS: u32 = 6;

impl Executor<'_> {
    pub(crate) fn with_control<T>(&self, run: &Run<'_>, body: impl FnOnce(&Control<'_>) -> T) -> T {
        self.with_again(run, &|_| true, body)
    }

    /// The same; after each repetition `again` says whether there is another one.
    fn with_again<T>(
        &self,
        run: &Run<'_>,
        again: &(dyn Fn(&CallError) -> bool + Sync),
        body: impl FnOnce(&Control<'_>) -> T,
    ) -> T {
        let retrying = |attempt: u32, error: &CallError| {
            run.attempt.fetch_max(attempt + 1, Ordering::Relaxed);
            self.tell(run, Status::Retrying, None, Some(error.to_string()));
            again(error)
        };
        body(&self.on.host.control(&|| self.lease.check().is_ok(), &retrying))
    }

    fn send(&self, run: &Run<'_>, operation: &Operation, step: &CallStep) -> Result<Result<Sent, CallError>, Failure> {
        // Nothing is sent by somebody who may not be the writer any more, and nothing is sent again.
        self.lease.check()?;
        run.unanswered.store(true, Ordering::Relaxed);
        // Refused as busy, it may be as it was to be: a cloud detaches what hangs on something that is deleted.
        let again = |error: &CallError| error.class != Class::Busy || !self.is_done(run, operation, step);
        let sent = self.with_again(run, &again, |control| run.account.provider.send(operation, step, control));
        let is_answered = sent.as_ref().err().is_none_or(|error| error.unanswered.is_none());
        run.unanswered.store(!is_answered, Ordering::Relaxed);
        if matches!(&sent, Err(error) if error.class == Class::Interrupted) {
            self.lease.check()?;
        }
        Ok(sent)
    }

    /// Whether the cloud shows already what a step is to do.
    fn is_done(&self, run: &Run<'_>, operation: &Operation, step: &CallStep) -> bool {
        let Some(id) = operation.remote_id.as_deref().filter(|_| step.kind != StepKind::Create) else { return false };
        match self.look(run, operation, id, false) {
            Ok(Sighting::There(remote)) => step_took_effect(run.spec, operation, step, &remote),
            // It is gone: whoever sends the step finds out what that means.
            Ok(Sighting::Absent(_)) => true,
            Ok(Sighting::Interrupted) | Err(_) => false,
        }
    }

    /// Sends a create. A lost answer is settled by the identity, never simply sent again.
    pub(crate) fn send_create(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        step: &CallStep,
        entry: &mut Entry,
    ) -> Result<Sent, Stopped> {
        let what = self.what(run);
        let mut sends = 1;
        loop {
            let error = match self.send(run, operation, step)? {
                Ok(sent) => return Ok(sent),
                Err(error) => error,
            };
            let conflict = error.class == Class::Conflict;
            // No answer was lost before: what is there was there before.
            if conflict && sends == 1 {
                return Err(self.give_up(run, entry, &what, &error, None));
            }
            if !error.class.is_unclear() && !conflict {
                return Err(self.give_up(run, entry, &what, &error, None));
            }
            self.asking(run, &error);
            let found = self.with_control(run, |control| {
                // What nobody answered may be on its way, and be seen only some time after it arrives.
                let window = Window::until(self.arrived(run, &error) + crate::observation::sighting::window(run.spec));
                search_made(self.on, &run.account, run.spec, entry, window, &|| {}, control)
            });
            match found {
                Err(failure) => return Err(Stopped::InDoubt(failure)),
                Ok(Sighting::Interrupted) => return Err(self.interrupted(run, &what)),
                Ok(Sighting::There(Found::One(remote))) => {
                    return Ok(Sent { remote_id: Some(remote.id), ..Sent::default() });
                }
                Ok(Sighting::There(Found::Many(ids))) => {
                    return Err(Stopped::InDoubt(
                        Failure::new(
                            Code::ApplyIncomplete,
                            format!("{what}: {} resources may be what it made: {}", ids.len(), ids.join(", ")),
                        )
                        .with_help("Keep one of them in the cloud's console, then run `provision recover`."),
                    ));
                }
                Ok(Sighting::Absent(_)) if conflict || matches!(error.class, Class::Malformed | Class::Raised) => {
                    return Err(self.give_up(run, entry, &what, &error, None));
                }
                Ok(Sighting::Absent(_)) => {
                    if sends >= SENDS || self.on.host.stop.is_requested() {
                        return Err(self.give_up(run, entry, &what, &error, None));
                    }
                }
            }
            sends += 1;
            run.attempt.fetch_add(1, Ordering::Relaxed);
            self.pause(sends);
        }
    }

    /// From when on a call that failed so cannot arrive any more.
    fn arrived(&self, run: &Run<'_>, error: &CallError) -> Instant {
        let now = self.on.host.outside.clock.now();
        error.unanswered.map_or(now, |sent| sent + run.account.under_way)
    }

    fn interrupted(&self, run: &Run<'_>, what: &str) -> Stopped {
        Stopped::InDoubt(interrupted(&run.account.name).failure(what))
    }

    /// Tells that a call's fate is not known, and that the cloud is asked for it.
    fn asking(&self, run: &Run<'_>, error: &CallError) {
        let left = self.arrived(run, error).saturating_duration_since(self.on.host.outside.clock.now());
        let late = match left.as_secs() {
            0 => String::new(),
            left => format!(", for up to {left} s, as long as it may still arrive"),
        };
        let message = format!("no clear answer, asking the cloud whether it was done{late}: {error}");
        self.tell(run, Status::Retrying, None, Some(message));
    }

    /// Sends a step of an update. A lost answer is settled by reading.
    pub(crate) fn send_change(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        step: &CallStep,
        entry: &mut Entry,
    ) -> Result<Sent, Stopped> {
        let what = format!("{} ({})", self.what(run), step.name);
        let mut sends = 1;
        loop {
            let error = match self.send(run, operation, step)? {
                Ok(sent) => return Ok(sent),
                Err(error) => error,
            };
            // Sent before with its answer lost, and now it is there already, or gone already: that was us.
            if sends > 1 && matches!(error.class, Class::Conflict | Class::Gone) || is_so(operation, step, error.class)
            {
                return Ok(Sent::default());
            }
            let is_over = !error.class.is_unclear() || sends >= SENDS;
            if !is_over {
                self.asking(run, &error);
            }
            let id = operation.remote_id.clone().unwrap_or_default();
            let mut seen = None;
            // Sent once more while the first one is under way, the first could undo what comes after both.
            let looked = Window::until(self.arrived(run, &error));
            let looked = self.with_control(run, |control| {
                looked.look(control, || match self.look(run, operation, &id, false)? {
                    Sighting::There(remote) => {
                        let is_done = step_took_effect(run.spec, operation, step, &remote);
                        seen = Some(remote);
                        Ok(is_done.then_some(()))
                    }
                    Sighting::Absent(_) => Ok(None),
                    Sighting::Interrupted => Err(interrupted(&run.account.name)),
                })
            });
            match looked {
                Ok(Sighting::There(())) => return Ok(Sent::default()),
                Ok(Sighting::Absent(_)) if is_over || error.class == Class::Raised => {
                    return Err(self.give_up(run, entry, &what, &error, seen.as_ref()));
                }
                Ok(Sighting::Absent(_)) => {}
                // The cloud refused it, so nothing is in doubt, whether it can be looked at or not.
                _ if !error.class.is_unclear() => return Err(self.give_up(run, entry, &what, &error, seen.as_ref())),
                Ok(Sighting::Interrupted) => return Err(self.interrupted(run, &what)),
                Err(error) => return Err(Stopped::InDoubt(error.failure(&what))),
            }
            sends += 1;
            run.attempt.fetch_add(1, Ordering::Relaxed);
            self.pause(sends);
        }
    }

    /// Sends a step of a deletion; `None` when the resource is gone.
    pub(crate) fn send_delete(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        step: &CallStep,
        entry: &mut Entry,
    ) -> Result<Option<Sent>, Stopped> {
        let what = format!("{} ({})", self.what(run), step.name);
        let id = operation.remote_id.clone().unwrap_or_default();
        let mut sends = 1;
        loop {
            let error = match self.send(run, operation, step)? {
                Ok(sent) => return Ok(Some(sent)),
                Err(error) => error,
            };
            // Of what an earlier step takes off only that part is gone.
            if error.class == Class::Gone && step.kind != StepKind::Delete {
                return Ok(None);
            }
            // A cloud that does not know it may not show it yet: it is gone when it was looked for long enough.
            let is_unclear = error.class.is_unclear() || error.class == Class::Gone;
            let is_over = !is_unclear || sends >= SENDS;
            if error.class.is_unclear() && !is_over {
                self.asking(run, &error);
            }
            let mut seen = None;
            // Sent once more while the first one is under way, the first could take away what has the same key by then.
            let looked = self.with_control(run, |control| {
                Window::until(self.arrived(run, &error)).look(control, || {
                    match self.look(run, operation, &id, false)? {
                        Sighting::There(remote) => {
                            seen = Some(remote);
                            Ok(None)
                        }
                        Sighting::Absent(gone) => Ok(Some(gone)),
                        Sighting::Interrupted => Err(interrupted(&run.account.name)),
                    }
                })
            });
            match looked {
                // Refused, and detached already: the cloud did it.
                Ok(Sighting::Absent(_))
                    if seen
                        .as_ref()
                        .is_some_and(|it| !is_unclear && step_took_effect(run.spec, operation, step, it)) =>
                {
                    return Ok(Some(Sent::default()));
                }
                // Refused, and not there any more: somebody else took it away.
                Ok(Sighting::There(_)) if is_unclear || error.class == Class::Busy => return Ok(None),
                Ok(Sighting::Interrupted) if is_unclear => return Err(self.interrupted(run, &what)),
                Err(error) if is_unclear => return Err(Stopped::InDoubt(error.failure(&what))),
                _ if is_over || error.class == Class::Raised => {
                    return Err(self.give_up(run, entry, &what, &error, seen.as_ref()));
                }
                _ => {}
            }
            sends += 1;
            run.attempt.fetch_add(1, Ordering::Relaxed);
            self.pause(sends);
        }
    }

    fn pause(&self, sends: u32) {
        // Full jitter: those that lost their answers together do not come back together.
        let longest = 400.0 * f64::from(sends);
        let time = Duration::from_secs_f64((50.0 + self.on.host.outside.clock.chance() * longest) / 1000.0);
        self.on.host.sleep(time);
    }

    pub(crate) fn await_step(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        step: &CallStep,
        sent: &Sent,
        entry: &mut Entry,
    ) -> Result<(), Stopped> {
        let id = operation.remote_id.clone().unwrap_or_default();
        if !sent.pending.is_empty() || run.spec.status.is_some() {
            self.tell(run, Status::Waiting, Some(id.clone()), Some(step.name.clone()));
        }
        let waited = self.with_control(run, |control| run.account.provider.wait(operation, step, &id, sent, control));
        let Err(error) = waited else { return Ok(()) };
        let what = self.what(run);
        if error.class != Class::Rejected {
            return Err(Stopped::InDoubt(error.failure(&what)));
        }
        // The cloud says that it failed: what it left is in the state, and replaced by the next plan.
        let remote = self.known(run, operation, &id, false).map_err(Stopped::InDoubt)?;
        match (run.action, remote) {
            (Action::Create, Some(remote)) => {
                let mut resource = self.resource(run, entry, operation, &id, Some(&remote), Map::new())?;
                resource.tainted = true;
                self.on.store.close_with(self.lease, entry, &error.to_string(), Some(&resource))?;
            }
            (_, remote) => return Err(self.give_up(run, entry, &what, &error, remote.as_ref())),
        }
        Err(Stopped::Failed(error.failure(&what)))
    }
}

/// Whether an item that was to come is there already, or one that was to go is gone: a life before this one got so far,
/// and where the cloud never shows the field nothing else could tell. A single value that is there already may be another one.
fn is_so(operation: &Operation, step: &CallStep, class: Class) -> bool {
    let Some((field, _)) = &step.item else { return false };
    let many = matches!(operation.inputs.get(field), Some(Json::Array(_) | Json::Object(_)));
    match step.wants_item(operation) {
        Some(true) => many && class == Class::Conflict,
        Some(false) => class == Class::Gone,
        None => false,
    }
}

/// Whether the resource shows what a step was to do.
fn step_took_effect(spec: &TypeSpec, operation: &Operation, step: &CallStep, remote: &Remote) -> bool {
    if !step.until.is_empty() && !remote.status.as_ref().is_some_and(|status| step.until.contains(status)) {
        return false;
    }
    if !step.until.is_empty() && !step.sends_values() {
        return true;
    }
    if let (Some((field, _)), Some(wanted)) = (&step.item, step.wants_item(operation)) {
        let never = spec.fields.get(field).is_none_or(|spec| spec.visible == Visible::Never);
        // Of what it does not show, a resource that is read has none.
        return !never && step.shows_item(&remote.fields).unwrap_or(false) == wanted;
    }
    let fields: Vec<&String> = match &step.fields {
        Some(fields) => fields.iter().collect(),
        None => spec.fields.keys().collect(),
    };
    let wanted: Map =
        fields.iter().filter_map(|field| Some(((*field).clone(), operation.inputs.get(*field)?.clone()))).collect();
    let mut shown = remote.fields.clone();
    leave_out(spec, &mut shown, &operation.inputs, &Map::new());
    // What cannot be seen cannot be told: then the step is sent again, which every such step of ours allows.
    !wanted.is_empty()
        && wanted.keys().all(|field| remote.fields.contains_key(field))
        && compare(&spec.fields, &wanted, &shown, &[], &|a, b| a == b).changes.is_empty()
}
