//! Owns what a resource should be: its fields with defaults filled in, its region, what it needs. Pure.

use provision_model::{Address, Declaration, Json, Map, references};
use provision_registry::{Manifest, TypeSpec};

/// The addresses a declaration needs: targets of references, and `depends_on`.
pub fn needs(declaration: &Declaration) -> Vec<Address> {
    let mut out: Vec<Address> = Vec::new();
    let found = declaration.fields.values().flat_map(references).map(|reference| reference.address);
    for address in found.chain(declaration.depends_on.iter().cloned()) {
        if !out.contains(&address) {
            out.push(address);
        }
    }
    out
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
        let value = match declaration.fields.get(field) {
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
