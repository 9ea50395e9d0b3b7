//! Owns the one place where what a provider says becomes text for people: secrets are masked there, whoever implements it.

use crate::{CallError, CallStep, Control, Objection, Operation, Provider, Sent};
use provision_diagnostic::printable;
use provision_model::{Map, Remote};
use provision_registry::Manifest;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Takes the secrets out of a text.
pub type Mask = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A provider whose errors, repetitions and objections hold no secret, even where the cloud repeats what it was sent.
pub struct Guarded {
    inner: Arc<dyn Provider>,
    mask: Mask,
}

impl Guarded {
    pub fn new(inner: Arc<dyn Provider>, mask: Mask) -> Self {
        Self { inner, mask }
    }

    fn clean(&self, error: CallError) -> CallError {
        error.masked(|text| self.told(text))
    }

    /// As it may be told: no secret is in it, and nothing that steers a terminal.
    fn told(&self, text: &str) -> String {
        printable(&(self.mask)(text)).into_owned()
    }

    fn call<T>(
        &self,
        control: &Control<'_>,
        body: impl FnOnce(&Control<'_>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let retrying = |attempt: u32, error: &CallError| (control.retrying)(attempt, &self.clean(error.clone()));
        body(&Control { retrying: &retrying, ..*control }).map_err(|error| self.clean(error))
    }
}

impl Provider for Guarded {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        self.inner.steps(operation)
    }

    fn spare(&self, operation: &Operation, name: &str, id: &str) -> Vec<CallStep> {
        self.inner.spare(operation, name, id)
    }

    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError> {
        self.call(control, |control| self.inner.send(operation, step, control))
    }

    fn wait(
        &self,
        operation: &Operation,
        step: &CallStep,
        id: &str,
        sent: &Sent,
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        self.call(control, |control| self.inner.wait(operation, step, id, sent, control))
    }

    fn read(
        &self,
        type_name: &str,
        region: Option<&str>,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, CallError> {
        self.call(control, |control| self.inner.read(type_name, region, id, control))
    }

    fn list(
        &self,
        type_name: &str,
        region: Option<&str>,
        label: Option<(&str, &str)>,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        self.call(control, |control| self.inner.list(type_name, region, label, control))
    }

    fn prepare(&self, type_name: &str, fields: &Map, secrets: &HashSet<String>) -> Result<Map, Vec<Objection>> {
        self.inner.prepare(type_name, fields, secrets).map_err(|mut objections| {
            for objection in &mut objections {
                objection.message = self.told(&objection.message);
                objection.help = self.told(&objection.help);
            }
            objections
        })
    }

    fn due(&self, type_name: &str, fields: &Map, attributes: &Map, now: SystemTime) -> Option<String> {
        self.inner.due(type_name, fields, attributes, now)
    }

    fn find(
        &self,
        type_name: &str,
        region: Option<&str>,
        fields: &Map,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        self.call(control, |control| self.inner.find(type_name, region, fields, control))
    }

    fn catalog(&self, name: &str, region: Option<&str>, control: &Control<'_>) -> Result<Vec<Map>, CallError> {
        self.call(control, |control| self.inner.catalog(name, region, control))
    }

    fn look_up(
        &self,
        name: &str,
        region: Option<&str>,
        filter: &Map,
        control: &Control<'_>,
    ) -> Result<Vec<Map>, CallError> {
        self.call(control, |control| self.inner.look_up(name, region, filter, control))
    }
}
