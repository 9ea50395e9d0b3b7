//! Owns what a type must leave alone: what others put into the resource, what its deletion would take along, and that what is
//! attached to something survives it.

use crate::bench::Bench;
use provision_model::{Disruption, Json, Map, references};

/// What somebody else puts into a resource that declares no labels.
const LABEL: (&str, &str) = ("contract-others", "1");

/// What others changed of a resource, and what it was like then.
pub struct Others {
    /// Fields that the configuration leaves alone.
    pub ignored: Vec<String>,
    before: Map,
    /// The field whose map of labels has one of somebody else.
    labels: Option<String>,
}

impl Others {
    /// Lets somebody else change the fields that the steps of a field could send too, and add a label.
    pub fn meddle(bench: &Bench<'_>, id: &str, changed: &str, declared: &Map) -> Result<Self, String> {
        let spec = bench.samples.spec;
        let mut ignored = Vec::new();
        let steps = spec.update.iter().filter(|step| step.fields.iter().any(|field| field == changed));
        let beside = steps.flat_map(|step| &step.fields).filter(|name| *name != changed);
        for name in beside.filter(|name| spec.labels.as_ref() != Some(*name) && bench.samples.shows(name)) {
            let Some(rule) = spec.fields.get(name) else { continue };
            let now = bench.seen(id)?.and_then(|remote| remote.fields.get(name).cloned());
            let Ok(other) = bench.samples.another(name, now.as_ref()) else { continue };
            let other = bench.resolved(&other)?;
            if !rule.grows && !ignored.contains(name) && bench.meddle(id, Some((name, &other))).is_ok() {
                ignored.push(name.clone());
            }
        }
        let mut labels = None;
        // Labels that only a new resource can have are not changed by any call, and nobody can add one here.
        let stays = |field: &String| spec.fields.get(field).is_some_and(|rule| rule.on_change == Disruption::Replace);
        let free = |field: &&String| *field != changed && !declared.contains_key(*field) && !stays(field);
        if let Some(field) = spec.labels.as_ref().filter(free) {
            let shown = bench.seen(id)?.and_then(|remote| remote.fields.get(field).cloned());
            let mut with = shown.and_then(|shown| shown.as_object().cloned()).unwrap_or_default();
            with.insert(LABEL.0.to_owned(), Json::from(LABEL.1));
            bench.meddle(id, Some((field, &Json::Object(with))))?;
            labels = Some(field.clone());
        }
        let before = bench.seen(id)?.map(|remote| remote.fields).unwrap_or_default();
        Ok(Self { ignored, before, labels })
    }

    /// Whether all but the changed field, and what follows from it, is as it was.
    pub fn left_alone(&self, bench: &Bench<'_>, id: &str, changed: &str) -> Result<(), String> {
        let after = bench.seen(id)?.map(|remote| remote.fields).unwrap_or_default();
        let spec = bench.samples.spec;
        let follows =
            |name: &str| spec.fields.get(name).is_some_and(|field| field.follows.iter().any(|it| it == changed));
        let found = provision_model::compare(&spec.fields, &self.before, &after, &[], &|a, b| a == b);
        if let Some(name) = found.fields.iter().find(|name| *name != changed && !follows(name)) {
            let shown = |fields: &Map| fields.get(name).unwrap_or(&Json::Null).to_string();
            let (before, after) = (shown(&self.before), shown(&after));
            return Err(format!("it set `{name}` from {before} to {after}, which is somebody else's"));
        }
        let kept = |field: &String| after.get(field).is_some_and(|labels| labels.get(LABEL.0).is_some());
        match self.labels.as_ref().filter(|field| !kept(field)) {
            Some(field) => Err(format!("it took a label of somebody else from `{field}`")),
            None => Ok(()),
        }
    }
}

/// What the resource needs and its cloud does not have any more.
pub fn lost(bench: &Bench<'_>) -> Result<(), String> {
    for name in bench.samples.spec.needs.keys() {
        if let Some(kind) = bench.is_lost(name)? {
            return Err(format!("the {kind} `{name}` went with it"));
        }
    }
    Ok(())
}

/// The resources that it needs, each with the field by which it is attached to one: that field may be taken out.
pub fn hosts<'a>(bench: &Bench<'a>) -> Vec<(&'a str, String)> {
    let spec = bench.samples.spec;
    let mut found: Vec<(&str, String)> = Vec::new();
    for (name, field) in spec.fields.iter().filter(|(_, field)| field.detaches) {
        let sample = [&field.example, &field.other].into_iter().flatten().flat_map(references).next();
        found.extend(sample.map(|it| (name.as_str(), it.address.to_string())));
    }
    found
}
