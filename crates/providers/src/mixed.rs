//! Owns the provider of a manifest some of whose types are implemented by a module: each type goes where it is implemented.

use crate::module::ModuleProvider;
use crate::{CallError, CallStep, Control, ManifestProvider, Objection, Operation, Provider, Sent};
use provision_model::{Map, Remote};
use provision_registry::Manifest;
use std::collections::HashSet;
use std::time::SystemTime;

/// Calls for most types, commands for the others.
pub struct Mixed {
    pub wire: ManifestProvider,
    pub commands: ModuleProvider,
}

impl Mixed {
    fn of(&self, type_name: &str) -> &dyn Provider {
        let spec = self.wire.manifest().types.get(type_name);
        match spec.is_some_and(|spec| spec.implemented_by.is_some()) {
            true => &self.commands,
            false => &self.wire,
        }
    }
}

impl Provider for Mixed {
    fn manifest(&self) -> &Manifest {
        self.wire.manifest()
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        self.of(&operation.type_name).steps(operation)
    }

    fn spare(&self, operation: &Operation, name: &str, id: &str) -> Vec<CallStep> {
        self.of(&operation.type_name).spare(operation, name, id)
    }

    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError> {
        self.of(&operation.type_name).send(operation, step, control)
    }

    fn wait(
        &self,
        operation: &Operation,
        step: &CallStep,
        id: &str,
        sent: &Sent,
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        self.of(&operation.type_name).wait(operation, step, id, sent, control)
    }

    fn read(
        &self,
        type_name: &str,
        region: Option<&str>,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, CallError> {
        self.of(type_name).read(type_name, region, id, control)
    }

    fn list(
        &self,
        type_name: &str,
        region: Option<&str>,
        label: Option<(&str, &str)>,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        self.of(type_name).list(type_name, region, label, control)
    }

    fn prepare(&self, type_name: &str, fields: &Map, secrets: &HashSet<String>) -> Result<Map, Vec<Objection>> {
        self.of(type_name).prepare(type_name, fields, secrets)
    }

    fn due(&self, type_name: &str, fields: &Map, attributes: &Map, now: SystemTime) -> Option<String> {
        self.of(type_name).due(type_name, fields, attributes, now)
    }

    fn find(
        &self,
        type_name: &str,
        region: Option<&str>,
        fields: &Map,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        self.of(type_name).find(type_name, region, fields, control)
    }

    fn look_up(
        &self,
        name: &str,
        region: Option<&str>,
        filter: &Map,
        control: &Control<'_>,
    ) -> Result<Vec<Map>, CallError> {
        self.wire.look_up(name, region, filter, control)
    }

    fn catalog(&self, name: &str, region: Option<&str>, control: &Control<'_>) -> Result<Vec<Map>, CallError> {
        self.wire.catalog(name, region, control)
    }
}
