//! Owns what a resource should be: its fields with defaults filled in, its region, what it needs, and what it was.

use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_model::{
    Address, AttributeOf, Declaration, FieldSpec, Json, Lifecycle, Map, Resource, lookup, references, resolve,
};
use provision_registry::{Manifest, TypeSpec};
use provision_state::{Sealer, Version};
use std::collections::{HashMap, HashSet};

/// The addresses a declaration needs besides its own: targets of references, and `depends_on`, each once.
pub fn needs(declaration: &Declaration) -> Vec<Address> {
    let written = declaration.fields.values().chain(&declaration.lifecycle.replace_when);
    let found = written.flat_map(references).map(|reference| reference.address);
    let mut seen = HashSet::from([declaration.address.clone()]);
    found.chain(declaration.depends_on.iter().cloned()).filter(|address| seen.insert(address.clone())).collect()
}

/// The values of `replace_when` as far as they are known.
pub enum Triggers {
    /// Their digest.
    Known(String),
    /// Some of them are known only after apply.
    Later,
}

impl Triggers {
    /// The digest, where all are known.
    pub fn known(self) -> Option<String> {
        match self {
            Triggers::Known(digest) => Some(digest),
            Triggers::Later => None,
        }
    }
}

/// What `replace_when` comes to; `None` where it is empty.
pub fn triggers(
    values: &[Json],
    attribute: &AttributeOf<'_, Failure>,
    on: &Workspace,
) -> Result<Option<Triggers>, Failure> {
    if values.is_empty() {
        return Ok(None);
    }
    let sealer = on.store.sealer();
    let open: Vec<Json> = values.iter().map(|value| sealer.open_value(value)).collect::<Result<_, _>>()?;
    let resolved = resolve(&Json::Array(open), attribute, on)?;
    if resolved.unknown {
        return Ok(Some(Triggers::Later));
    }
    // Keyed, for a secret may be among them.
    Ok(Some(Triggers::Known(on.store.sealer().digest(&resolved.value))))
}

/// What the state last applied, as a declaration: the values as they were sent.
pub fn declaration(resource: &Resource, sealer: &Sealer) -> Result<Declaration, Failure> {
    let lifecycle = Lifecycle { protect: resource.protect, retain: resource.retain, ..Lifecycle::default() };
    declared(resource, &resource.inputs, lifecycle, sealer)
}

/// What a version of the history was written as.
pub fn declaration_of(version: &Version, sealer: &Sealer) -> Result<Declaration, Failure> {
    declared(&version.resource, &version.declared, version.lifecycle.clone(), sealer)
}

/// The fields with the manifest's defaults, the cloud name and the account's region.
pub fn with_defaults(
    declaration: &Declaration,
    manifest: &Manifest,
    spec: &TypeSpec,
    project: &str,
    region: Option<&str>,
) -> Map {
    let name = declaration.address.cloud_name(project);
    let mut fields = Map::new();
    for (field, rule) in &spec.fields {
        // What is `null` is not there.
        let value = match declaration.fields.get(field).filter(|value| !value.is_null()) {
            Some(value) => Some(value.clone()),
            None if rule.default_name => Some(Json::from(name.as_str())),
            None => rule.default.clone(),
        };
        if let Some(value) = value {
            fields.insert(field.clone(), value);
        }
    }
    if let (Some(rule), Some(region)) = (&manifest.region, region)
        && spec.fields.contains_key(&rule.field)
    {
        fields.entry(rule.field.clone()).or_insert_with(|| Json::from(region));
    }
    if let (Some(label), Some(field)) = (&spec.name_label, &spec.labels) {
        let labels = fields.entry(field.clone()).or_insert_with(|| Json::Object(Map::new()));
        if let Json::Object(map) = labels
            && !map.keys().any(|key| key.starts_with('$'))
        {
            map.entry(label.clone()).or_insert_with(|| Json::from(name.as_str()));
        }
    }
    fields
}

/// The region of a resource with these fields.
pub fn region_of(manifest: &Manifest, fields: &Map) -> Option<String> {
    manifest.region.as_ref().and_then(|rule| fields.get(&rule.field)).and_then(Json::as_str).map(str::to_owned)
}

/// The fields whose changes are not ours to make, by address.
pub(crate) fn ignored(declared: &[Declaration]) -> HashMap<&str, &[String]> {
    declared.iter().map(|it| (it.address.as_str(), it.lifecycle.ignore.as_slice())).collect()
}

/// An attribute by dotted name: what the cloud says first, then what was sent.
pub fn attribute_of(attributes: &Map, inputs: &Map, name: &str) -> Option<Json> {
    let find = |map: &Map| {
        map.get(name).cloned().or_else(|| {
            let (first, rest) = name.split_once('.')?;
            lookup(map.get(first)?, rest).cloned()
        })
    };
    find(attributes).or_else(|| match name.split_once('.') {
        // What the cloud shows is whole: what is not in it is not there any more, whatever was sent.
        Some((first, _)) if attributes.contains_key(first) => None,
        _ => find(inputs),
    })
}

/// The fields to be left alone: those that are named, and those that follow from one of them.
pub fn left_alone(spec: &TypeSpec, ignore: &[String]) -> Vec<String> {
    let follows = |rule: &FieldSpec| rule.follows.iter().any(|field| ignore.contains(field));
    let followers = spec.fields.iter().filter(|(_, rule)| follows(rule)).map(|(name, _)| name.clone());
    ignore.iter().cloned().chain(followers).collect()
}

fn declared(resource: &Resource, fields: &Map, lifecycle: Lifecycle, sealer: &Sealer) -> Result<Declaration, Failure> {
    let open = |(name, value): (&String, &Json)| -> Result<(String, Json), Failure> {
        let (value, sealed) = sealer.reveal(value)?;
        // What was sealed may say itself that it is secret.
        let value = match sealed && !provision_model::has_secret(&value) {
            true => serde_json::json!({"$secret": value}),
            false => value,
        };
        Ok((name.clone(), value))
    };
    Ok(Declaration {
        address: resource.address.clone(),
        kind: resource.kind.clone(),
        account: resource.account.clone(),
        fields: fields.iter().map(open).collect::<Result<_, _>>()?,
        lifecycle,
        depends_on: resource.depends_on.clone(),
        deferred: resource.deferred.clone(),
        path: Vec::new(),
    })
}
