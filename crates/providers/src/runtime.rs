//! Owns the manifest runtime: a deterministic interpreter that makes a provider of a manifest.

use crate::auth::Authenticator;
use crate::http::{Outgoing, Transport, escape};
use crate::steps::{encode_item, expand, leave_out_done, spare};
use crate::waiting::{ActionBoard, Listed, StatusBoard};
use crate::{CallError, CallStep, Class, Control, Operation, Outside, Pending, Provider, Sent, StepKind, wire};
use provision_model::{
    Action, FieldSpec, Host, Identity, IdentityClass, Json, LABEL_OP, LABEL_STATE, Map, Remote, Visible, short_hash,
};
use provision_registry::{Call, Manifest, Protocol, StepSpec, Takes, TypeSpec, pascal};
use std::sync::Arc;

const EC2_VERSION: &str = "2016-11-15";

/// A provider made of a manifest, for one account.
pub struct ManifestProvider {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) transport: Transport,
    region: Option<String>,
    actions: ActionBoard,
    statuses: StatusBoard,
}

impl ManifestProvider {
    pub fn new(
        manifest: Arc<Manifest>,
        endpoint: String,
        authenticator: Authenticator,
        region: Option<String>,
        outside: &Outside,
    ) -> Self {
        let transport = Transport::new(
            &manifest.name,
            manifest.protocol,
            endpoint,
            authenticator,
            manifest.errors.clone(),
            manifest.rate_limit.clone(),
            outside,
        );
        Self { manifest, transport, region, actions: ActionBoard::default(), statuses: StatusBoard::default() }
    }

    pub(crate) fn spec(&self, type_name: &str) -> Result<&TypeSpec, CallError> {
        self.manifest.types.get(type_name).ok_or_else(|| self.fault(format!("the manifest has no type `{type_name}`")))
    }

    pub(crate) fn fault(&self, message: impl Into<String>) -> CallError {
        CallError::new(Class::Malformed, &self.manifest.name, "", message)
    }

    pub(crate) fn region_of(&self, region: Option<&str>) -> Result<String, CallError> {
        match region.or(self.region.as_deref()) {
            Some(region) => Ok(region.to_owned()),
            None if self.manifest.region.is_none() => Ok(String::new()),
            None => Err(CallError::new(Class::Rejected, &self.manifest.name, "", "no region is given")),
        }
    }

    /// Inputs with the labels that mark the resource as ours and, where a change sends all labels and none are declared,
    /// with those that others gave it.
    fn labelled(
        &self,
        spec: &TypeSpec,
        operation: &Operation,
        step: &CallStep,
        control: &Control<'_>,
    ) -> Result<Map, CallError> {
        let mut inputs = operation.inputs.clone();
        spec.leave_out_barred(&mut inputs);
        let Some(field) = &spec.labels else { return Ok(inputs) };
        let sends_all = step.kind == StepKind::Change && step.fields.as_ref().is_some_and(|it| it.contains(field));
        let mut labels = Map::new();
        if let Some(id) = operation.remote_id.as_deref().filter(|_| sends_all)
            && spec.leaves_others(field, operation.inputs.get(field))
        {
            let now = self.read_raw(&operation.type_name, operation.region.as_deref(), id, control)?;
            if let Some(Json::Object(now)) = now.and_then(|mut now| now.fields.shift_remove(field)) {
                labels = now;
            }
            // What was ours goes unless it is wanted still.
            if let Some(Json::Object(ours)) = operation.prior.get(field) {
                labels.retain(|key, _| !ours.contains_key(key));
            }
        }
        match inputs.shift_remove(field) {
            Some(Json::Object(wanted)) => labels.extend(wanted),
            None | Some(Json::Null) => {}
            Some(other) => {
                inputs.insert(field.clone(), other);
                return Ok(inputs);
            }
        }
        labels.insert(LABEL_STATE.into(), Json::from(operation.identity.state.as_str()));
        labels.insert(LABEL_OP.into(), Json::from(operation.identity.op.as_str()));
        inputs.insert(field.clone(), Json::Object(labels));
        Ok(inputs)
    }

    pub(crate) fn outgoing(
        &self,
        call: &Call,
        body: Option<Json>,
        value_of: &dyn Fn(&str) -> Option<Json>,
        region: String,
        default_method: &str,
    ) -> Outgoing {
        let query_value = |value: &Json| match wire::fill(value, value_of) {
            Json::String(text) => text,
            other => other.to_string(),
        };
        let mut query: Vec<(String, String)> =
            call.query.iter().map(|(key, value)| (key.clone(), query_value(value))).collect();
        if self.manifest.protocol == Protocol::Ec2Query {
            // A value in the name of an action is written as names are: `ingress` is `Ingress`.
            let named = |name: &str| value_of(name).map(|value| text_of(&value).map_or(value, |it| pascal(&it).into()));
            let action = call.action.as_deref().map(|action| wire::fill_text(action, &named));
            let action = action.as_ref().and_then(Json::as_str).unwrap_or_default().to_owned();
            let mutating = !action.starts_with("Describe");
            query.insert(0, ("Action".into(), action));
            query.insert(1, ("Version".into(), EC2_VERSION.into()));
            return Outgoing { method: "POST".into(), path: String::new(), query, body, region, mutating };
        }
        let path: Vec<String> = call
            .path
            .split('/')
            .map(|segment| match wire::fill_text(segment, value_of) {
                Json::String(text) => escape(&text),
                other => other.to_string(),
            })
            .collect();
        let method = call.method.clone().unwrap_or_else(|| default_method.to_owned());
        let mutating = method != "GET";
        Outgoing { method, path: path.join("/"), query, body, region, mutating }
    }

    pub(crate) fn remote(&self, spec: &TypeSpec, item: &Json) -> Option<Remote> {
        let id = id_of(spec, item)?;
        let protocol = self.manifest.protocol;
        let mut fields = wire::decode_fields(&spec.fields, item, protocol);
        spec.leave_out_barred(&mut fields);
        let mut attributes = wire::decode_fields(&spec.attributes, item, protocol);
        if spec.id.contains(',') && spec.attributes.contains_key("id") {
            attributes.insert("id".into(), Json::from(id.as_str()));
        }
        let mut identity = None;
        if let Some(Json::Object(labels)) = spec.labels.as_ref().and_then(|field| fields.get_mut(field)) {
            let state = labels.shift_remove(LABEL_STATE).and_then(|value| text_of(&value));
            let op = labels.shift_remove(LABEL_OP).and_then(|value| text_of(&value));
            labels.retain(|name, _| !self.manifest.reserved_labels.iter().any(|start| name.starts_with(start)));
            if let (Some(state), Some(op)) = (state, op) {
                identity = Some(Identity { state, op });
            }
        }
        let status =
            spec.status.as_ref().and_then(|status| wire::extract(item, &status.path)).and_then(|value| text_of(&value));
        let found =
            |takes: &Takes| takes.at.iter().filter_map(|path| wire::extract(item, path)).flat_map(texts).collect();
        let takes = spec.takes.iter().flatten();
        let held = takes.map(|(name, takes)| (name.clone(), found(takes))).collect();
        let adopted = |(name, field): (&String, &FieldSpec)| {
            let raw = wire::extract(item, field.adopt.as_ref()?)?;
            Some((name.clone(), wire::decode(field, &raw, protocol)?))
        };
        let adoptable = spec.fields.iter().filter_map(adopted).collect();
        Some(Remote { id, fields, attributes, identity, status, held, adoptable, host: None })
    }

    /// The resource of an item of a read or a list; an error where a field is not what the manifest says.
    pub(crate) fn shown(&self, spec: &TypeSpec, item: &Json) -> Result<Option<Remote>, CallError> {
        let Some(remote) = self.remote(spec, item) else { return Ok(None) };
        match wire::misfit(&spec.fields, &remote.fields) {
            Some((name, field)) => {
                Err(self.fault(format!("`{name}` of {} is not {} in the answer", remote.id, field.kind.name())))
            }
            None => Ok(Some(remote)),
        }
    }

    /// The resource of an item that has everything a cloud ever shows of one, be it null, and is ready.
    fn whole(&self, spec: &TypeSpec, item: &Json) -> Option<Remote> {
        let shown = |(name, field): (&String, &FieldSpec)| {
            field.returned_once
                || field.visible == Visible::Never
                || wire::extract(item, &wire::read_path(name, field, self.manifest.protocol)).is_some()
        };
        if !spec.fields.iter().chain(&spec.attributes).all(shown) {
            return None;
        }
        let remote = self.remote(spec, item)?;
        let ready = spec
            .status
            .as_ref()
            .is_none_or(|rules| remote.status.as_ref().is_some_and(|status| rules.ready.contains(status)));
        ready.then_some(remote)
    }

    fn is_gone(spec: &TypeSpec, remote: &Remote) -> bool {
        match (&spec.status, &remote.status) {
            (Some(rules), Some(status)) => rules.gone.contains(status),
            _ => false,
        }
    }
}

pub(crate) fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The texts of a value, or of the items of a list.
pub(crate) fn texts(value: Json) -> Vec<String> {
    match value {
        Json::Array(items) => items.iter().filter_map(text_of).collect(),
        one => text_of(&one).into_iter().collect(),
    }
}

/// Whether an item that is there counts as not there.
pub(crate) fn is_absent(spec: &TypeSpec, item: &Json) -> bool {
    let Some(rule) = &spec.gone_when else { return false };
    match wire::extract(item, &rule.path) {
        None | Some(Json::Null) => true,
        Some(Json::Array(items)) => items.is_empty(),
        Some(Json::String(text)) => text.is_empty() || rule.like.iter().any(|like| is_like(like, &text)),
        Some(_) => false,
    }
}

/// Whether a text is like a pattern, in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|left| {
            left.char_indices().map(|(at, _)| at).chain([left.len()]).any(|at| is_like(rest, &left[at..]))
        }),
    }
}

/// The id of an item; its parts with commas between where it has several.
fn id_of(spec: &TypeSpec, item: &Json) -> Option<String> {
    let parts = spec.id.split(',').map(|path| text_of(&wire::extract(item, path)?));
    Some(parts.collect::<Option<Vec<String>>>()?.join(","))
}

/// `{id}`, or one of its parts: `{id.0}`.
fn id_part(name: &str, id: &str, protocol: Protocol) -> Option<Json> {
    match name.strip_prefix("id.") {
        None => (name == "id").then(|| id_value(id, protocol)),
        Some(part) => Some(id_value(id.split(',').nth(part.parse().ok()?)?, protocol)),
    }
}

/// Ids that are numbers on the wire stay numbers in a body.
fn id_value(id: &str, protocol: Protocol) -> Json {
    match (protocol, id.parse::<i64>()) {
        (Protocol::RestJson, Ok(number)) => Json::from(number),
        _ => Json::from(id),
    }
}

impl Provider for ManifestProvider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn steps(&self, operation: &Operation) -> Vec<CallStep> {
        let Some(spec) = self.manifest.types.get(&operation.type_name) else { return Vec::new() };
        let mut out = Vec::new();
        match operation.action {
            Action::Create | Action::Replace => {
                if let Some(call) = &spec.create {
                    out.push(CallStep {
                        name: "create".into(),
                        kind: StepKind::Create,
                        call: call.clone(),
                        fields: call.fields.clone(),
                        item: None,
                        until: Vec::new(),
                    });
                }
                let set = |field: &String| operation.inputs.get(field).is_some_and(|value| !value.is_null());
                let initial = spec.initial();
                for step in spec.update.iter().filter(|step| step.on_create && step.fields.iter().any(set)) {
                    expand(spec, step, operation, &initial, &mut out);
                }
            }
            Action::Update => {
                let changed = |field: &String| operation.changed.contains(field);
                let restores = |step: &StepSpec| {
                    operation
                        .restore
                        .as_ref()
                        .is_some_and(|status| step.until.contains(status) && step.when_status.contains(status))
                };
                for step in spec.update.iter().filter(|step| step.fields.iter().any(changed) || restores(step)) {
                    expand(spec, step, operation, &operation.prior, &mut out);
                }
            }
            Action::Delete => {
                for step in &spec.delete {
                    expand(spec, step, operation, &operation.prior, &mut out);
                }
                if let Some(last) = out.last_mut() {
                    last.kind = StepKind::Delete;
                }
            }
            Action::Adopt | Action::Forget | Action::NoOp => {}
        }
        leave_out_done(operation, &mut out);
        out
    }

    fn spare(&self, operation: &Operation, name: &str, id: &str) -> Vec<CallStep> {
        let spec = self.manifest.types.get(&operation.type_name);
        let takes = spec.and_then(|spec| spec.takes.as_ref()?.get(name));
        takes.map_or_else(Vec::new, |takes| spare(&takes.spare, operation, name, &id_value(id, self.manifest.protocol)))
    }

    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError> {
        let spec = self.spec(&operation.type_name)?;
        let protocol = self.manifest.protocol;
        let inputs = self.labelled(spec, operation, step, control)?;
        let encoded_item = step.item.as_ref().map(|(field, item)| encode_item(spec, field, item, protocol));
        let value_of = |name: &str| -> Option<Json> {
            if let Some(part) = operation.remote_id.as_deref().and_then(|id| id_part(name, id, protocol)) {
                return Some(part);
            }
            if name == "item" {
                return encoded_item.clone();
            }
            if name == "host" {
                return operation.host.as_deref().map(|id| id_value(id, protocol));
            }
            if let Some(path) = name.strip_prefix("item.") {
                return step.item.as_ref().and_then(|(_, item)| provision_model::lookup(item, path).cloned());
            }
            let field = name.strip_prefix("field.")?;
            // A deletion is sent no fields; what it names is as it was.
            let goes = operation.action == Action::Delete;
            let value = inputs.get(field).or_else(|| operation.prior.get(field).filter(|_| goes))?;
            Some(wire::encode(spec.fields.get(field)?, value, protocol))
        };
        let sends = |name: &str| match &step.fields {
            None => step.kind == StepKind::Create,
            Some(fields) => fields.iter().any(|field| field == name),
        };
        let mut body = wire::encode_fields(spec.fields.iter().filter(|(name, _)| sends(name)), &inputs, protocol);
        if let Some(template) = &step.call.body {
            wire::merge(&mut body, wire::fill(template, &value_of));
        }
        if let (StepKind::Create, Some(token)) = (step.kind, &spec.token) {
            // The token covers the inputs: a changed repetition is another request.
            let digest = short_hash(&provision_model::canonical(&body), 16);
            wire::put(&mut body, &[token.as_str()], Json::from(format!("{}-{digest}", operation.identity.op)));
        }
        let empty = body.as_object().is_none_or(Map::is_empty);
        let body = match &step.call.wrap {
            Some(name) => {
                let mut outer = Map::new();
                outer.insert(name.clone(), body);
                Some(Json::Object(outer))
            }
            None => (!empty).then_some(body),
        };
        let region = self.region_of(operation.region.as_deref())?;
        let request = self.outgoing(&step.call, body, &value_of, region, "POST");
        let answer = self.transport.call(&request, control)?;

        let mut sent = Sent::default();
        for path in &step.call.actions {
            let Some(found) = wire::extract(&answer, path) else { continue };
            let list = match found {
                Json::Array(items) => items,
                one => vec![one],
            };
            for action in list {
                if let (Some(polling), Some(id)) = (&self.manifest.actions, action.get("id").and_then(text_of)) {
                    let status = wire::extract(&action, &polling.status).and_then(|value| text_of(&value));
                    if status.is_none_or(|status| polling.running.contains(&status) || polling.failed.contains(&status))
                    {
                        sent.pending.push(Pending { id });
                    }
                }
            }
        }
        if step.kind == StepKind::Create {
            let mut item = match &step.call.result {
                Some(path) => wire::extract(&answer, path),
                None => Some(answer.clone()),
            };
            // What only the request said, such as what it is part of.
            if let Some(item) = &mut item {
                wire::complete(item, &step.call.with, &value_of);
            }
            sent.remote_id = match &step.call.id {
                Some(template) => text_of(&wire::fill_text(template, &value_of)),
                None => item.as_ref().and_then(|item| id_of(spec, item)),
            };
            if call_is_over(spec, step, &sent) {
                sent.shown = item.as_ref().and_then(|item| self.whole(spec, item));
            }
            if sent.remote_id.is_none() {
                return Err(self.fault(format!("the answer to {} has no `{}`", step.name, spec.id)));
            }
            for (name, attribute) in spec.attributes.iter().filter(|(_, attribute)| attribute.returned_once) {
                let path = wire::read_path(name, attribute, protocol);
                if let Some(value) =
                    wire::extract(&answer, &path).and_then(|raw| wire::decode(attribute, &raw, protocol))
                {
                    sent.once.insert(name.clone(), value);
                }
            }
        }
        Ok(sent)
    }

    fn wait(
        &self,
        operation: &Operation,
        step: &CallStep,
        id: &str,
        sent: &Sent,
        control: &Control<'_>,
    ) -> Result<(), CallError> {
        let spec = self.spec(&operation.type_name)?;
        if let (Some(polling), false) = (&self.manifest.actions, sent.pending.is_empty()) {
            let region = self.region_of(operation.region.as_deref())?;
            let ask = |ids: &[String]| -> Result<Json, CallError> {
                let query = ids.iter().map(|id| (polling.query.clone(), id.clone())).collect();
                let request = Outgoing {
                    method: "GET".into(),
                    path: polling.path.clone(),
                    query,
                    body: None,
                    region: region.clone(),
                    mutating: false,
                };
                self.transport.call(&request, control)
            };
            self.actions.wait(&self.manifest.name, polling, &sent.pending, &ask, control)?;
        }
        // A step that waits for what it is attached to waits for that one's status.
        let (spec, type_name, id) = match (&spec.host, &operation.host) {
            (Some(host), Some(id)) if !step.until.is_empty() => {
                (self.spec(&host.kind)?, host.kind.as_str(), id.as_str())
            }
            _ => (spec, operation.type_name.as_str(), id),
        };
        let Some(status) = &spec.status else { return Ok(()) };
        let wanted: &[String] = match step.kind {
            _ if !step.until.is_empty() => &step.until,
            StepKind::Create => &status.ready,
            _ => return Ok(()),
        };
        let deleting = step.kind == StepKind::Delete;
        let list = || {
            let label = spec.labels.as_ref().map(|_| (LABEL_STATE, operation.identity.state.as_str()));
            let found = self.list_raw(type_name, operation.region.as_deref(), label, control)?;
            let paged = self.manifest.pagination.as_ref().filter(|_| spec.list.as_ref().is_some_and(|it| !it.unpaged));
            let calls = paged.map_or(1, |it| found.len().div_ceil(it.max().max(1) as usize).max(1));
            Ok(Listed { calls, states: found.into_iter().filter_map(|it| Some((it.id, it.status?))).collect() })
        };
        let read = || {
            let found = self.read_raw(type_name, operation.region.as_deref(), id, control)?;
            Ok(found.map(|remote| remote.status.unwrap_or_default()))
        };
        let key = format!("{type_name} {}", operation.region.as_deref().unwrap_or_default());
        self.statuses.wait(&self.manifest.name, &key, id, wanted, status, deleting, &list, &read, control)
    }

    fn read(
        &self,
        type_name: &str,
        region: Option<&str>,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, CallError> {
        let spec = self.spec(type_name)?;
        let mut found = self.read_raw(type_name, region, id, control)?.filter(|remote| !Self::is_gone(spec, remote));
        self.without_foreign(spec, region, found.as_mut_slice(), control)?;
        Ok(found)
    }

    fn list(
        &self,
        type_name: &str,
        region: Option<&str>,
        label: Option<(&str, &str)>,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        let spec = self.spec(type_name)?;
        if spec.list.is_none() {
            return Ok(None);
        }
        let mut found = self.list_raw(type_name, region, label, control)?;
        found.retain(|remote| !Self::is_gone(spec, remote));
        self.without_foreign(spec, region, &mut found, control)?;
        Ok(Some(found))
    }

    fn catalog(&self, name: &str, region: Option<&str>, control: &Control<'_>) -> Result<Vec<Map>, CallError> {
        self.offered(name, region, control)
    }

    fn look_up(
        &self,
        name: &str,
        region: Option<&str>,
        filter: &Map,
        control: &Control<'_>,
    ) -> Result<Vec<Map>, CallError> {
        self.looked_up(name, region, filter, control)
    }

    fn find(
        &self,
        type_name: &str,
        region: Option<&str>,
        fields: &Map,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        let spec = self.spec(type_name)?;
        let key = spec.create.as_ref().and_then(|call| call.id.as_ref());
        let value_of = |name: &str| {
            let field = name.strip_prefix("field.")?;
            Some(wire::encode(spec.fields.get(field)?, fields.get(field)?, self.manifest.protocol))
        };
        if spec.list.is_some() {
            return Ok(None);
        }
        match (key.filter(|_| spec.read.is_some()), &spec.among) {
            (Some(template), _) => {
                let id = text_of(&wire::fill_text(template, &value_of)).unwrap_or_default();
                Ok(Some(self.read(type_name, region, &id, control)?.into_iter().collect()))
            }
            (None, Some(call)) => {
                let mut found = self.beside(spec, type_name, call, &value_of, region, control)?;
                // Where a key tells them apart, the others are none of this one's business.
                let same = |remote: &Remote, name: &str| remote.fields.get(name) == fields.get(name);
                if spec.identity == IdentityClass::Keyed {
                    found.retain(|remote| spec.keys().all(|key| key.iter().all(|name| same(remote, name))));
                }
                Ok(Some(found))
            }
            (None, None) => Ok(None),
        }
    }
}

impl ManifestProvider {
    /// One resource, also when its status says it is as good as gone.
    fn read_raw(
        &self,
        type_name: &str,
        region: Option<&str>,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, CallError> {
        let spec = self.spec(type_name)?;
        let Some(call) = &spec.read else {
            // Where there is no call for one of them, it is one of all.
            let mut all = self.list_raw(type_name, region, None, control)?;
            return Ok(all.iter().position(|remote| remote.id == id).map(|at| all.swap_remove(at)));
        };
        let value_of = |name: &str| id_part(name, id, self.manifest.protocol);
        let request = self.outgoing(call, None, &value_of, self.region_of(region)?, "GET");
        match self.transport.call(&request, control) {
            Ok(mut answer) => {
                wire::inherit(&mut answer, &call.inherit, &Map::new());
                let item = match &call.result {
                    Some(path) => text_of(&wire::fill_text(path, &value_of)).and_then(|it| wire::extract(&answer, &it)),
                    None => Some(answer),
                };
                let Some(mut item) = item.filter(|item| !is_absent(spec, item)) else { return Ok(None) };
                wire::complete(&mut item, &call.with, &value_of);
                let Some(mut remote) = self.shown(spec, &item)? else { return Ok(None) };
                if let Some(host) = &spec.host
                    && let Some(id) = wire::extract(&item, &host.at).map(texts).and_then(|ids| ids.into_iter().next())
                {
                    let status = self.read_raw(&host.kind, region, &id, control)?.and_then(|host| host.status);
                    remote.host = Some(Host { id, status });
                }
                Ok(Some(remote))
            }
            Err(error) if error.class == Class::Gone => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether nothing goes on in the cloud after the answer to a create, as far as the answer tells.
fn call_is_over(spec: &TypeSpec, step: &CallStep, sent: &Sent) -> bool {
    // A type of several parts has its id from what was sent: the answer is about something else.
    step.call.id.is_none() && sent.pending.is_empty() && !spec.id.contains(',')
}
