//! Owns the provider `notes`: notes in a folder, one JSON file each. It stands for any API that a manifest cannot describe.

use provision_diagnostic::Failure;
use provision_model::{Identity, Json, LABEL_OP, LABEL_STATE, Map, Remote};
use provision_providers::{
    CallError, CallStep, Class, Control, Objection, Opened, Operation, Provider, RustProviders, Sent, StepKind,
};
use provision_registry::Manifest;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// The providers that this build has.
pub fn providers() -> RustProviders {
    RustProviders::default().with("notes", |opened| Ok(Arc::new(Notes::open(opened)?)))
}

/// An account: a folder.
pub struct Notes {
    manifest: Arc<Manifest>,
    folder: PathBuf,
}

impl Notes {
    /// The folder is the account's setting, or `notes` in the project. Nothing is asked or made yet.
    fn open(opened: &Opened<'_>) -> Result<Self, Failure> {
        let folder = opened.setting("folder")?.unwrap_or_else(|| "notes".to_owned());
        Ok(Self { manifest: opened.manifest.clone(), folder: opened.project().join(folder) })
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn error(&self, class: Class, message: impl std::fmt::Display) -> CallError {
        CallError::new(class, "notes", "", message.to_string())
    }

    /// What a failed look at the folder is: nothing was done, and it may be tried again.
    fn unavailable(&self, error: std::io::Error) -> CallError {
        self.error(Class::Unavailable, error)
    }

    fn load(&self, id: &str) -> Result<Option<Remote>, CallError> {
        let text = match std::fs::read_to_string(self.file(id)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unavailable(error)),
        };
        let Ok(Json::Object(note)) = serde_json::from_str(&text) else {
            return Err(self.error(Class::Malformed, format!("the note {id} is no JSON object")));
        };
        Ok(Some(shown(id, note)))
    }

    /// Writes a note whole. A create writes only what is not there.
    fn store(&self, id: &str, note: &Map, new: bool) -> Result<(), CallError> {
        let text = Json::Object(note.clone()).to_string();
        let beside = self.folder.join(format!(".{id}"));
        let written = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&beside, text));
        // So far nobody can have seen it: it certainly had no effect.
        written.map_err(|error| self.error(Class::NotSent, error))?;
        let named = match new {
            true => std::fs::hard_link(&beside, self.file(id)).and_then(|()| std::fs::remove_file(&beside)),
            false => std::fs::rename(&beside, self.file(id)),
        };
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => self.error(Class::Conflict, format!("the note {id} is there already")),
            // Whether it has its name now cannot be told from here: the engine looks, by the mark.
            _ => self.error(Class::InDoubt, error),
        })
    }
}

/// A note as the engine sees it: fields as users write them, without our marks; these are its identity.
fn shown(id: &str, mut fields: Map) -> Remote {
    let mut identity = None;
    if let Some(Json::Object(labels)) = fields.get_mut("labels") {
        let mark = |labels: &mut Map, name: &str| labels.shift_remove(name)?.as_str().map(str::to_owned);
        if let (Some(state), Some(op)) = (mark(labels, LABEL_STATE), mark(labels, LABEL_OP)) {
            identity = Some(Identity { state, op });
        }
    }
    let attributes = Map::from_iter([("id".to_owned(), Json::from(id))]);
    Remote { id: id.to_owned(), fields, attributes, identity, ..Remote::default() }
}

/// A note as it is kept: what is wanted, and the marks by which it is found again.
fn marked(operation: &Operation) -> Map {
    let mut note = operation.inputs.clone();
    let labels = note.entry("labels").or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(labels) = labels {
        labels.insert(LABEL_STATE.into(), Json::from(operation.identity.state.as_str()));
        labels.insert(LABEL_OP.into(), Json::from(operation.identity.op.as_str()));
    }
    note
}

impl Provider for Notes {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        CallStep::at_once(operation)
    }

    fn spare(&self, _: &Operation, _: &str, _: &str) -> Vec<CallStep> {
        // Nothing is deleted together with a note: the manifest names nothing in `takes`.
        Vec::new()
    }

    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError> {
        // Right before it changes something, and again before each repetition.
        if !(control.may_change)() {
            return Err(self.error(Class::Interrupted, "somebody else may be the writer now"));
        }
        let id = match (step.kind, &operation.remote_id) {
            // The folder lets us choose: the same create makes the same note.
            (StepKind::Create, _) | (_, None) => operation.identity.op.clone(),
            (_, Some(id)) => id.clone(),
        };
        match step.kind {
            StepKind::Create => self.store(&id, &marked(operation), true)?,
            StepKind::Change => self.store(&id, &marked(operation), false)?,
            StepKind::Delete => std::fs::remove_file(self.file(&id)).map_err(|error| match error.kind() {
                ErrorKind::NotFound => self.error(Class::Gone, "the note is gone"),
                _ => self.error(Class::InDoubt, error),
            })?,
        }
        Ok(Sent { remote_id: Some(id), ..Sent::default() })
    }

    fn wait(&self, _: &Operation, _: &CallStep, _: &str, _: &Sent, _: &Control<'_>) -> Result<(), CallError> {
        // A note is there as soon as it is written.
        Ok(())
    }

    fn read(&self, _: &str, _: Option<&str>, id: &str, _: &Control<'_>) -> Result<Option<Remote>, CallError> {
        self.load(id)
    }

    fn list(
        &self,
        _: &str,
        _: Option<&str>,
        label: Option<(&str, &str)>,
        _: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
            Err(error) => return Err(self.unavailable(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.unavailable(error))?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            let Some(remote) = self.load(id)? else { continue };
            let has = |(name, value): (&str, &str)| match (&remote.identity, name) {
                (Some(identity), LABEL_STATE) => identity.state == value,
                (Some(identity), LABEL_OP) => identity.op == value,
                _ => remote.fields.get("labels").and_then(|labels| labels.get(name)) == Some(&Json::from(value)),
            };
            if label.is_none_or(has) {
                found.push(remote);
            }
        }
        Ok(Some(found))
    }

    fn prepare(&self, _: &str, fields: &Map, _: &HashSet<String>) -> Result<Map, Vec<Objection>> {
        match fields.get("text").and_then(Json::as_str) {
            Some("") => Err(vec![Objection::new("text", "is empty", "Write something.")]),
            _ => Ok(Map::new()),
        }
    }
}
