//! Owns the provider `local`: data that lives in the state alone.

use crate::{CallError, CallStep, Control, Operation, Provider, Sent, StepKind};
use provision_model::{Action, Json, Remote};
use provision_registry::{Call, Manifest};
use std::sync::Arc;

/// Stores its input and touches nothing.
pub struct Local {
    manifest: Arc<Manifest>,
}

impl Local {
    pub fn new(manifest: Arc<Manifest>) -> Self {
        Self { manifest }
    }
}

impl Provider for Local {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        let kind = match operation.action {
            Action::Create | Action::Replace => StepKind::Create,
            Action::Update => StepKind::Change,
            Action::Delete => StepKind::Delete,
            Action::Adopt | Action::Forget | Action::NoOp => return Vec::new(),
        };
        let name = operation.action.name().to_owned();
        vec![CallStep { name, kind, call: Call::default(), fields: None, item: None, until: Vec::new() }]
    }

    fn send(&self, operation: &Operation, _: &CallStep, _: &Control<'_>) -> Result<Sent, CallError> {
        let id = operation.remote_id.clone().unwrap_or_else(|| operation.identity.op.clone());
        let mut once = provision_model::Map::new();
        once.insert("id".into(), Json::from(id.as_str()));
        once.insert("output".into(), operation.inputs.get("input").cloned().unwrap_or(Json::Null));
        Ok(Sent { remote_id: Some(id), once, ..Sent::default() })
    }

    fn wait(&self, _: &Operation, _: &CallStep, _: &str, _: &Sent, _: &Control<'_>) -> Result<(), CallError> {
        Ok(())
    }

    fn read(&self, _: &str, _: Option<&str>, _: &str, _: &Control<'_>) -> Result<Option<Remote>, CallError> {
        Ok(None)
    }

    fn list(
        &self,
        _: &str,
        _: Option<&str>,
        _: Option<(&str, &str)>,
        _: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        Ok(None)
    }
}
