//! Owns apply: settling what is open, checking the rows, asking the policies, then carrying them out.

use crate::commands::Session;
use crate::configuration::reading::Input;
use crate::operations::apply::{Change, carry_out};
use crate::operations::authorize::authorize;
use crate::operations::doubles::refuse_doubles;
use crate::operations::events::{Sink, event};
use crate::operations::settle::settle_open;
use crate::planning::options::PlanOptions;
use crate::planning::planned::Plan;
use crate::planning::subset::{Subset, check_rows, load_rows};
use crate::policy::gate::open_gate;
use crate::workspace::{Workspace, writer};
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Address, Event, Json, Outcome, Recovered, Status};
use provision_state::{Lease, NewChange};
use std::collections::HashSet;

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Operations at a time; one place is left for each account that has something to do.
    pub parallel: usize,
    /// Consent to apply what the project says now.
    pub yes: bool,
    /// Plan the removal of everything.
    pub destroy: bool,
    /// The ids of the approvals that count; `None` for all of the plan.
    pub approvals: Option<Vec<String>>,
    /// Why, for the history.
    pub reason: Option<String>,
    /// The configuration that is planned when no rows are given.
    pub input: Input,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { parallel: 16, yes: false, destroy: false, approvals: None, reason: None, input: Input::Project }
    }
}

impl Session {
    /// Applies rows of a plan, or with consent what the project says. Everything that can be refused is refused before
    /// the first call that changes something.
    pub fn apply(&self, rows: Option<&[Json]>, options: &ApplyOptions, sink: Sink<'_>) -> Result<(), Failure> {
        if rows.is_none() && !options.yes {
            let what = if options.destroy { "provision destroy" } else { "provision apply" };
            return Err(Failure::new(
                Code::ApplyConsent,
                format!("{what} was given no plan rows and no consent"),
            )
            .with_help(match options.destroy {
                true => {
                    "Run `provision destroy --yes`, or pipe rows of `provision plan --destroy` into `provision apply`."
                }
                false => "Pipe in rows of `provision plan`, or run `provision apply --yes`.",
            }));
        }
        // What cannot be applied at all needs no lease.
        let loaded = match rows {
            Some(rows) => match load_rows(&self.workspace, rows)? {
                Some(loaded) => Some(loaded),
                None => return Ok(()),
            },
            None => None,
        };
        let lease = writer(&self.workspace, &self.actor)?;
        for address in self.workspace.store.mend(&lease)? {
            let what = "its damaged row was written again from the history";
            sink(event(&self.workspace, address, Action::NoOp, Status::Settled, Some(what.to_owned())));
        }
        let settled = settle_open(&self.workspace, &lease, sink)?;
        for row in settled.rows.iter().filter(|row| row.outcome != Outcome::InDoubt) {
            sink(settled_event(&self.workspace, row));
        }
        Failure::check(settled.problems)?;
        let made: HashSet<Address> = settled
            .rows
            .iter()
            .filter(|row| matches!(row.outcome, Outcome::Adopted | Outcome::Done))
            .filter_map(|row| row.address.clone())
            .collect();
        let (plan, chosen) = match loaded {
            Some(loaded) => loaded,
            None => {
                let how = PlanOptions { destroy: options.destroy, certain: true, ..PlanOptions::default() };
                let plan = self.plan(&options.input, &how)?;
                let all = (0..plan.rows.len()).collect();
                (plan, all)
            }
        };
        self.workspace.refuse_other_project(&plan.project)?;
        let mut subset = check_rows(&self.workspace, plan, chosen, &made)?;
        refuse_doubles(&self.workspace, &lease, &mut subset, rows.is_some())?;
        let subset = subset;
        let gate = open_gate(&self.workspace, &self.actor, subset.plan.policies.as_deref(), Some(&lease))?;
        let asked = match authorize(&self.workspace, &self.actor, &gate, &subset, options.approvals.as_deref(), sink) {
            Ok(asked) => asked,
            Err(failure) => {
                let noted = self.audit_denial(&lease, &subset.plan, &failure);
                return Failure::both(Err(failure), noted);
            }
        };
        for &at in &subset.skipped {
            let row = &subset.plan.rows[at].row;
            if row.action != Action::NoOp {
                sink(event(
                    &self.workspace,
                    row.address.clone(),
                    row.action,
                    Status::Skipped,
                    Some("this plan has done it already".into()),
                ));
            }
        }
        self.workspace.store.put_outputs(&lease, &subset.plan.outputs)?;
        self.workspace.store.put_accounts(&lease, &serde_json::json!(subset.plan.accounts))?;
        self.workspace.store.pin_project(&lease, &subset.plan.project)?;
        if subset.todo.is_empty() {
            if rows.is_none() {
                self.workspace.store.clear_behind(&lease)?;
            }
            return Ok(());
        }
        let approvals: Vec<String> = asked.used.iter().cloned().collect();
        // Nothing is sent before the head beside the state is that of the log: an older one shows from here on.
        self.workspace.store.anchor()?;
        let serial = self.workspace.store.open_change(&lease, &self.new_change(&subset, options)?, &approvals)?;
        let change = Change {
            on: &self.workspace,
            by: &self.actor,
            lease: &lease,
            serial,
            gate: &gate,
            subset: &subset,
            asked: &asked,
            sink,
        };
        let (counts, done) = carry_out(&change, options.parallel)?;
        let done = done.map_err(|mut failure| {
            failure.first.help = Some(self.next_step(rows.is_some(), options));
            failure
        });
        // What became of the operations is told whatever happens to its record.
        let closed = self.workspace.store.close_change(&lease, serial, counts);
        let closed = closed.and_then(|()| match rows.is_none() && done.is_ok() {
            true => self.workspace.store.clear_behind(&lease),
            false => Ok(()),
        });
        let closed = closed.and_then(|()| self.workspace.store.checkpoint());
        drop(lease);
        if closed.is_err() {
            return Failure::both(done, closed);
        }
        // The work is done and written down; a backup that cannot be made must not make it look undone.
        if let Err(failure) = self.workspace.store.backup_when_due() {
            let message = format!("no backup was made: {}", failure.first.message);
            sink(event(&self.workspace, Address::new("backup"), Action::NoOp, Status::Failed, Some(message)));
        }
        done
    }

    /// What goes on with an apply that is incomplete: the very thing that was begun, and no other.
    fn next_step(&self, of_rows: bool, options: &ApplyOptions) -> String {
        let environment = self
            .workspace
            .project
            .environment
            .as_ref()
            .map(|name| format!(" --environment {name}"))
            .unwrap_or_default();
        let again = match (of_rows, options.destroy) {
            (true, _) => format!(
                "Make the same plan again and apply the same of its rows, or all that the project says with \
                 `provision apply --yes{environment}`"
            ),
            (false, true) => format!("Run `provision destroy --yes{environment}` to go on"),
            (false, false) => format!("Run `provision apply --yes{environment}` to go on"),
        };
        format!("{again}: what is done stays done, what is in doubt is settled first.")
    }

    fn new_change(&self, subset: &Subset, options: &ApplyOptions) -> Result<NewChange, Failure> {
        let plan = &subset.plan;
        let mut detail = provision_model::Map::new();
        detail.insert("rows".into(), Json::from(subset.todo.len()));
        Ok(NewChange {
            reason: options.reason.clone(),
            revision: provision_state::revision(&self.workspace.project.folder)?,
            plan: Some(plan.digest.clone()),
            project: Some(plan.project.clone()),
            policies: plan.policies.clone(),
            outputs: plan.outputs.clone(),
            detail,
            ..NewChange::new(&plan.purpose, &self.actor.source)
        })
    }

    /// Writes down who was denied what.
    fn audit_denial(&self, lease: &Lease, plan: &Plan, failure: &Failure) -> Result<(), Failure> {
        let mut detail = provision_model::Map::new();
        let told: Vec<&str> = failure.diagnostics().map(|one| one.message.as_str()).take(100).collect();
        detail.insert("plan".into(), Json::from(plan.digest.as_str()));
        detail.insert("denials".into(), serde_json::json!(told));
        self.workspace.store.audit(lease, "apply.deny", None, detail)?;
        self.workspace.store.checkpoint()
    }
}

fn settled_event(on: &Workspace, row: &Recovered) -> Event {
    let address = row.address.clone().unwrap_or_else(|| Address::new(row.kind.clone()));
    Event {
        remote_id: row.remote_id.clone(),
        ..event(on, address, row.action.unwrap_or(Action::NoOp), Status::Settled, Some(row.message.clone()))
    }
}
