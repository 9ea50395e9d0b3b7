//! Owns the provider that a Nushell module is: its commands are called, and what they give is held against its schema.

use crate::account::absent;
use crate::http::backoff;
use crate::runtime::text_of;
use crate::{CallError, CallStep, Class, Control, Operation, Provider, Sent, StepKind, wire};
use provision_diagnostic::{Code, Failure, Masker, did_you_mean, printable};
use provision_model::{Identity, Json, Map, Problem, Remote, secret_texts};
use provision_registry::{Manifest, Protocol, Setting, TypeSpec, time_of};
use provision_worker::{Asked, Commands, Fault, Raised};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a command may take where its schema does not say.
const LIMIT: Duration = Duration::from_secs(60);
/// How often what certainly had no effect, or only reads, is called again.
const AGAIN: u32 = 3;
/// How long something may be busy.
const BUSY: u32 = 12;
const THROTTLED: u32 = 30;

/// The commands of a module, for one account.
pub struct ModuleProvider {
    manifest: Arc<Manifest>,
    commands: Arc<dyn Commands>,
    /// What every command is told as `account`.
    settings: Map,
    /// Texts in it that are never shown.
    secrets: Masker,
    region: Option<String>,
    limit: Duration,
}

/// One call: which command, of what, and whether it may change something.
struct Request<'a> {
    command: &'static str,
    type_name: &'a str,
    body: Map,
    changes: bool,
    /// Finds what it sends that is secret.
    secrets: Masker,
}

impl ModuleProvider {
    pub fn new(
        manifest: Arc<Manifest>,
        commands: Arc<dyn Commands>,
        settings: Map,
        secrets: Vec<String>,
        region: Option<String>,
    ) -> Self {
        let limit = manifest.timeout.as_deref().and_then(time_of).unwrap_or(LIMIT);
        Self { manifest, commands, settings, secrets: Masker::new(secrets), region, limit }
    }

    fn error(&self, class: Class, code: &str, message: impl Into<String>) -> CallError {
        CallError::new(class, &self.manifest.name, code, message)
    }

    fn spec(&self, type_name: &str) -> Result<&TypeSpec, CallError> {
        let spec = self.manifest.types.get(type_name);
        spec.ok_or_else(|| self.error(Class::Malformed, "", format!("the schema has no type `{type_name}`")))
    }

    /// Calls a command until it has given an answer or a reason to stop.
    fn call(&self, request: Request<'_>, control: &Control<'_>) -> Result<Json, CallError> {
        let mut body = Map::new();
        body.insert("type".into(), Json::from(request.type_name));
        body.extend(request.body.clone());
        body.insert("account".into(), Json::Object(self.settings.clone()));
        let body = Json::Object(body);
        let hide = |text: &str| printable(&request.secrets.mask(&self.secrets.mask(text))).into_owned();
        let asked = Asked { interrupt: control.interrupt, limit: self.limit, hide: &hide };
        let mut attempt = 1;
        loop {
            if control.interrupt.load(Ordering::Relaxed) {
                return Err(self.error(Class::Interrupted, "", "interrupted before the call"));
            }
            if request.changes && !(control.may_change)() {
                return Err(self.error(Class::Interrupted, "", "not called: somebody else may be the writer now"));
            }
            let fault = match self.commands.call(request.command, &body, &asked) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let error = self.fault(fault, &request, control).masked(hide);
            let again = match error.class {
                Class::Throttle => attempt < THROTTLED,
                Class::Busy => attempt < BUSY,
                Class::NotSent | Class::Unavailable => attempt < AGAIN,
                _ => false,
            };
            if !again || (request.changes && control.winding_down.load(Ordering::Relaxed)) {
                return Err(error);
            }
            if !(control.retrying)(attempt, &error) {
                return Err(error);
            }
            if !control.sleep(backoff(attempt, control.clock)) {
                return Err(self.error(Class::Interrupted, "", "interrupted while waiting to try again"));
            }
            attempt += 1;
        }
    }

    /// What a call that gave no value means for its operation.
    fn fault(&self, fault: Fault, request: &Request<'_>, control: &Control<'_>) -> CallError {
        let command = request.command;
        let unknown_fate = if request.changes { Class::InDoubt } else { Class::Unavailable };
        // What it had sent when it ended may still arrive.
        let under_way = |error: CallError| if request.changes { error.sent_at(control.clock.now()) } else { error };
        match fault {
            Fault::NotBegun(_) if control.interrupt.load(Ordering::Relaxed) => {
                self.error(Class::Interrupted, "", "interrupted before the call")
            }
            Fault::NotBegun(why) => self.error(Class::NotSent, "", format!("`{command}` was not called: {why}")),
            Fault::Ended(how) => under_way(self.error(unknown_fate, "", format!("`{command}` did not end: {how}"))),
            Fault::Hung(limit) => {
                let message = format!("`{command}` did not end within {} and was stopped", shown(limit));
                under_way(self.error(unknown_fate, "", message))
            }
            // What was killed in the middle of a change may have made it.
            Fault::Interrupted if request.changes => {
                under_way(self.error(Class::InDoubt, "", format!("`{command}` was interrupted")))
            }
            Fault::Interrupted => self.error(Class::Interrupted, "", format!("`{command}` was interrupted")),
            Fault::Unreadable(why) => self.malformed(command, &format!("cannot be read: {why}")),
            Fault::Raised(raised) => self.raised(command, &raised),
        }
    }

    fn raised(&self, command: &str, raised: &Raised) -> CallError {
        let class = match raised.code.as_deref() {
            Some("gone") => Class::Gone,
            Some("conflict") => Class::Conflict,
            Some("throttle") => Class::Throttle,
            Some("busy") => Class::Busy,
            Some("quota") => Class::Quota,
            Some("protected") => Class::Protected,
            Some("credentials") => Class::Credentials,
            Some("invalid") => Class::Rejected,
            _ => Class::Raised,
        };
        let code = raised.code.as_deref().filter(|code| !code.starts_with("nu::")).unwrap_or_default();
        let mut message = format!("`{command}`: {raised}");
        if let Some(help) =
            raised.help.as_ref().filter(|_| !raised.code.as_ref().is_some_and(|code| code.starts_with("nu::")))
        {
            message += &format!("; {help}");
        }
        self.error(class, code, message)
    }

    fn malformed(&self, command: &str, what: &str) -> CallError {
        self.error(Class::Malformed, "", format!("what `{command}` gives {what}"))
    }

    /// A record that a command gave, as a resource.
    fn remote(&self, spec: &TypeSpec, item: &Json, command: &str) -> Result<Remote, CallError> {
        if !item.is_object() {
            return Err(self.malformed(command, "is no record"));
        }
        let id = item.get("id").and_then(text_of).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| self.malformed(command, "has no `id`"))?;
        for (name, field) in spec.fields.iter().chain(&spec.attributes) {
            let mut problems: Vec<Problem> = Vec::new();
            let Some(value) = wire::extract(item, name) else { continue };
            field.kind.check(&value, &mut vec![name.as_str().into()], &mut problems);
            // What it says besides is its own affair; of the values nothing is told, they may be secret.
            if let Some(problem) = problems.iter().find(|problem| problem.code == Code::PlanType) {
                return Err(self.malformed(command, &format!("is not what its schema says: {}", problem.message)));
            }
        }
        let identity = item.get("mark").and_then(Json::as_str).and_then(mark_of);
        let fields = wire::decode_fields(&spec.fields, item, Protocol::Nushell);
        let attributes = wire::decode_fields(&spec.attributes, item, Protocol::Nushell);
        Ok(Remote { id, fields, attributes, identity, ..Remote::default() })
    }

    /// The request of an operation.
    fn body(&self, operation: &Operation, action: &str) -> Map {
        let mut body = Map::new();
        let mut put = |name: &str, value: Json| body.insert(name.to_owned(), value);
        put("address", Json::from(operation.address.as_str()));
        put("name", Json::from(operation.name.as_str()));
        if let Some(id) = operation.remote_id.as_deref().filter(|_| action != "create") {
            put("id", Json::from(id));
        }
        if action != "delete" {
            put("fields", Json::Object(operation.inputs.clone()));
        }
        if action != "create" {
            put("prior", Json::Object(operation.prior.clone()));
        }
        if action == "update" {
            put("changed", operation.changed.iter().map(|name| Json::from(name.as_str())).collect());
        }
        put("mark", Json::from(mark(&operation.identity)));
        self.put_region(operation.region.as_deref(), &mut body);
        body
    }

    fn put_region(&self, region: Option<&str>, body: &mut Map) {
        if self.manifest.region.is_some() {
            body.insert("region".into(), region.or(self.region.as_deref()).map_or(Json::Null, Json::from));
        }
    }
}

/// The word that a type keeps with what it makes.
fn mark(identity: &Identity) -> String {
    format!("{}/{}", identity.state, identity.op)
}

fn mark_of(text: &str) -> Option<Identity> {
    let (state, op) = text.split_once('/')?;
    Some(Identity { state: state.to_owned(), op: op.to_owned() })
}

fn shown(time: Duration) -> String {
    match time.as_millis() % 1000 {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    }
}

/// The settings of an account, resolved, and the texts among them that are never shown.
pub fn settings(
    account: &str,
    manifest: &Manifest,
    given: &Map,
    env: &crate::Environment<'_>,
) -> Result<(Map, Vec<String>), Failure> {
    let declared = &manifest.settings;
    let (mut out, mut secrets) = (Map::new(), Vec::new());
    for (name, value) in given {
        if !declared.is_empty() && !declared.contains_key(name) {
            return Err(Failure::new(
                Code::ConfigInvalid,
                format!("`providers.{account}` has the unknown setting `{name}`"),
            )
            .with_help(did_you_mean(name, declared.keys().map(String::as_str), || {
                format!("There are {}.", declared.keys().cloned().collect::<Vec<_>>().join(", "))
            })));
        }
        let inner = value.get("$secret").unwrap_or(value);
        let variable = inner.get("$env").and_then(Json::as_str);
        let value = match variable {
            Some(variable) => {
                let found = env(variable).filter(|found| !found.is_empty()).map(Json::from);
                found.ok_or_else(|| absent(&format!("{account}.{name}"), &[variable.to_owned()]))?
            }
            None => inner.clone(),
        };
        let is_secret = variable.is_some()
            || given.get(name).is_some_and(|value| value.get("$secret").is_some())
            || declared.get(name).is_some_and(|setting| setting.sensitive);
        if is_secret {
            secrets.extend(secret_texts(&value));
        }
        out.insert(name.clone(), value);
    }
    for (name, setting) in declared {
        if out.get(name).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let found = setting.env.iter().find_map(|variable| env(variable).filter(|found| !found.is_empty()));
        if let (Some(found), true) = (&found, setting.sensitive) {
            secrets.push(found.clone());
        }
        match found.map(Json::from).or_else(|| setting.default.clone()) {
            Some(value) => _ = out.insert(name.clone(), value),
            None if setting.required => return Err(lacking(account, name, setting)),
            None => _ = out.insert(name.clone(), Json::Null),
        }
    }
    Ok((out, secrets))
}

fn lacking(account: &str, name: &str, setting: &Setting) -> Failure {
    if !setting.env.is_empty() {
        return absent(&format!("{account}.{name}"), &setting.env);
    }
    Failure::new(Code::ProviderCredential, format!("the account `{account}` lacks the setting `{name}`"))
        .with_help(format!("Write `providers.{account}.{name} = …`: {}", setting.doc))
}

impl Provider for ModuleProvider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        CallStep::at_once(operation)
    }

    /// A module's delete command deletes what it is asked to.
    fn spare(&self, _operation: &Operation, _name: &str, _id: &str) -> Vec<CallStep> {
        Vec::new()
    }

    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError> {
        let spec = self.spec(&operation.type_name)?;
        let command = step.kind.command();
        let request = Request {
            command,
            type_name: &operation.type_name,
            body: self.body(operation, command),
            changes: true,
            secrets: operation.masker(spec),
        };
        let answer = self.call(request, control)?;
        let mut sent = Sent::default();
        match step.kind {
            StepKind::Create => {
                let remote = self.remote(spec, &answer, command)?;
                for (name, attribute) in spec.attributes.iter().filter(|(_, attribute)| attribute.returned_once) {
                    let value = wire::extract(&answer, name);
                    if let Some(value) = value.and_then(|raw| wire::decode(attribute, &raw, Protocol::Nushell)) {
                        sent.once.insert(name.clone(), value);
                    }
                }
                sent.remote_id = Some(remote.id);
            }
            StepKind::Change if !answer.is_null() => {
                let remote = self.remote(spec, &answer, command)?;
                if operation.remote_id.as_ref().is_some_and(|id| *id != remote.id) {
                    return Err(self.malformed(command, &format!("has the id `{}`, which is another one", remote.id)));
                }
            }
            _ => {}
        }
        Ok(sent)
    }

    /// A command is over when it has answered.
    fn wait(&self, _: &Operation, _: &CallStep, _: &str, _: &Sent, _: &Control<'_>) -> Result<(), CallError> {
        Ok(())
    }

    fn read(
        &self,
        type_name: &str,
        region: Option<&str>,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, CallError> {
        let spec = self.spec(type_name)?;
        let mut body = Map::new();
        body.insert("id".into(), Json::from(id));
        self.put_region(region, &mut body);
        let request = Request { command: "read", type_name, body, changes: false, secrets: Masker::default() };
        let answer = match self.call(request, control) {
            Err(error) if error.class == Class::Gone => return Ok(None),
            other => other?,
        };
        if answer.is_null() {
            return Ok(None);
        }
        let remote = self.remote(spec, &answer, "read")?;
        if remote.id != id {
            return Err(self.malformed("read", &format!("has the id `{}`, asked was for `{id}`", remote.id)));
        }
        Ok(Some(remote))
    }

    fn list(
        &self,
        type_name: &str,
        region: Option<&str>,
        _: Option<(&str, &str)>,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        let spec = self.spec(type_name)?;
        let mut body = Map::new();
        self.put_region(region, &mut body);
        let request = Request { command: "list", type_name, body, changes: false, secrets: Masker::default() };
        let Json::Array(items) = self.call(request, control)? else {
            return Err(self.malformed("list", "is no table; where there is nothing it is an empty one"));
        };
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(items.len());
        for item in &items {
            let remote = self.remote(spec, item, "list")?;
            if !seen.insert(remote.id.clone()) {
                return Err(self.malformed("list", &format!("has the id `{}` twice", remote.id)));
            }
            found.push(remote);
        }
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was() {
        let identity = Identity { state: "abc".into(), op: "def".into() };
        assert_eq!(mark_of(&mark(&identity)), Some(identity));
        assert_eq!(mark_of("somebody's comment"), None);
    }
}
