//! Owns the provider `local`: files, directories, random values, keys, certificates and requests that need no cloud; one room
//! for each.

mod age_key;
mod directory;
mod disk;
mod file;
mod http;
mod paths;
mod random;
mod time;
mod tls_certificate;
mod tls_key;

use crate::network::Proxies;
use crate::{CallError, CallStep, Class, Control, Objection, Opened, Operation, Outside, Provider, Sent, StepKind};
use provision_model::{Json, Map, Remote, unknown};
use provision_registry::Manifest;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Works on this machine, below a project's folder where paths are relative.
pub struct Local {
    manifest: Arc<Manifest>,
    project: PathBuf,
    outside: Outside,
    proxies: Proxies,
}

impl Local {
    pub fn open(opened: &Opened<'_>) -> Self {
        Self {
            manifest: opened.manifest.clone(),
            project: opened.project().to_path_buf(),
            outside: opened.outside().clone(),
            proxies: Proxies::from_env(&|name| opened.env(name)),
        }
    }
}

impl Provider for Local {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        CallStep::at_once(operation)
    }

    /// Nothing goes with what is here.
    fn spare(&self, _operation: &Operation, _name: &str, _id: &str) -> Vec<CallStep> {
        Vec::new()
    }

    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError> {
        if !(control.may_change)() {
            return Err(failed(Class::Interrupted, "not done: somebody else may be the writer now"));
        }
        match operation.type_name.as_str() {
            "file" => return file::send(&self.project, operation, step.kind),
            "directory" => return directory::send(&self.project, operation, step.kind),
            _ => {}
        }
        let id = operation.remote_id.clone().unwrap_or_else(|| operation.identity.op.clone());
        let mut once = match (operation.type_name.as_str(), step.kind) {
            (_, StepKind::Delete) => Map::new(),
            ("data", _) => {
                Map::from_iter([("output".into(), operation.inputs.get("input").cloned().unwrap_or(Json::Null))])
            }
            // What is made once stays what it is; only what it is made of would change it.
            (_, StepKind::Change) => Map::new(),
            ("random", _) => random::make(&operation.inputs)?,
            ("random_id", _) => random::make_id(&operation.inputs)?,
            ("age_key", _) => age_key::make(),
            ("tls_key", _) => tls_key::make(&operation.inputs)?,
            ("tls_certificate", _) => tls_certificate::make(&operation.inputs, control.clock.wall())?,
            ("http", _) => http::make(&self.outside, &self.proxies, operation, control)?,
            (other, _) => return Err(failed(Class::Rejected, format!("there is no type `{other}` in this build"))),
        };
        once.insert("id".into(), Json::from(id.as_str()));
        Ok(Sent { remote_id: Some(id), once, ..Sent::default() })
    }

    fn wait(&self, _: &Operation, _: &CallStep, _: &str, _: &Sent, _: &Control<'_>) -> Result<(), CallError> {
        Ok(())
    }

    fn read(&self, type_name: &str, _: Option<&str>, id: &str, _: &Control<'_>) -> Result<Option<Remote>, CallError> {
        match type_name {
            "file" => file::read(&self.project, id),
            "directory" => directory::read(&self.project, id),
            // It lives in the state alone.
            _ => Ok(None),
        }
    }

    fn list(
        &self,
        type_name: &str,
        _: Option<&str>,
        _: Option<(&str, &str)>,
        _: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        // Nobody lists a disk: what is in the state is read by its path.
        Ok(on_disk(type_name).then(Vec::new))
    }

    fn prepare(&self, type_name: &str, fields: &Map, secrets: &HashSet<String>) -> Result<Map, Vec<Objection>> {
        let mut found = Found { fields, secrets, objections: Vec::new(), derived: Map::new() };
        match type_name {
            "file" => file::prepare(&self.project, &mut found),
            "directory" => directory::prepare(&self.project, &mut found),
            "random" => random::prepare(&mut found),
            "random_id" => random::prepare_id(&mut found),
            "tls_key" => {}
            "tls_certificate" => tls_certificate::prepare(&mut found),
            "http" => http::prepare(&mut found),
            _ => {}
        }
        if found.objections.is_empty() { Ok(found.derived) } else { Err(found.objections) }
    }

    fn due(&self, type_name: &str, fields: &Map, attributes: &Map, now: SystemTime) -> Option<String> {
        match type_name {
            "tls_certificate" => tls_certificate::due(fields, attributes, now),
            _ => None,
        }
    }

    fn find(
        &self,
        type_name: &str,
        _: Option<&str>,
        fields: &Map,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        if !on_disk(type_name) {
            return Ok(None);
        }
        let Some(path) = text(fields, "path") else { return Ok(Some(Vec::new())) };
        Ok(Some(self.read(type_name, None, &path, control)?.into_iter().collect()))
    }
}

/// Whether things of a type are on the disk, rather than in the state alone.
fn on_disk(type_name: &str) -> bool {
    ["file", "directory"].contains(&type_name)
}

/// The fields of a resource, what is wrong with them and what follows from them.
struct Found<'a> {
    fields: &'a Map,
    secrets: &'a HashSet<String>,
    objections: Vec<Objection>,
    derived: Map,
}

impl Found<'_> {
    /// Notes what is wrong with a field. A value stands in the message after a colon; of a secret field it is not told.
    fn object(&mut self, field: &str, message: impl Into<String>, help: impl Into<String>) {
        let mut message: String = message.into();
        if self.secrets.contains(field)
            && let Some(value) = message.find(':')
        {
            message.truncate(value);
        }
        self.objections.push(Objection::new(field, message, help));
    }

    /// Whether a field is given, known or not.
    fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }

    /// A field that is given and known.
    fn known(&self, field: &str) -> Option<&Json> {
        self.fields.get(field).filter(|value| !value.is_null() && !holds_unknown(value))
    }

    fn text(&self, field: &str) -> Option<String> {
        text(self.fields, field)
    }

    /// A whole number that must be in a range, where it is given and known.
    fn number(&mut self, field: &str, least: i64, most: i64) {
        let Some(number) = self.known(field).and_then(Json::as_i64) else { return };
        if !(least..=most).contains(&number) {
            self.object(field, format!("is out of range: {number}"), format!("Give a number from {least} to {most}."));
        }
    }
}

/// A text field that is given and known; numbers and booleans that a reference gives are their texts.
fn text(fields: &Map, name: &str) -> Option<String> {
    match fields.get(name)? {
        Json::String(text) => Some(text.clone()),
        value @ (Json::Number(_) | Json::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

fn flag(fields: &Map, name: &str) -> Option<bool> {
    fields.get(name).and_then(Json::as_bool)
}

fn texts(fields: &Map, name: &str) -> Vec<String> {
    let items = fields.get(name).and_then(Json::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn holds_unknown(value: &Json) -> bool {
    match value {
        value if *value == unknown() => true,
        Json::Array(items) => items.iter().any(holds_unknown),
        Json::Object(map) => map.values().any(holds_unknown),
        _ => false,
    }
}

/// An attribute that is kept as a secret whatever the manifest says of it.
fn secret(value: impl Into<Json>) -> Json {
    Json::Object(Map::from_iter([("$secret".to_owned(), value.into())]))
}

fn failed(class: Class, message: impl Into<String>) -> CallError {
    CallError::new(class, "local", "", message)
}
