//! Owns what of a resource that exists declares it: the fields a user can set, without what goes without saying. Pure.

use crate::observation::written::Line;
use indexmap::IndexMap;
use provision_model::{Address, FieldSpec, FieldType, Json, Map, Remote, Visible};
use provision_registry::{Manifest, TypeSpec};

/// What declares a resource.
pub struct Shown {
    pub fields: Map,
    /// Required fields that the cloud does not show; what stands for them is no value of theirs.
    pub unseen: Vec<String>,
    /// The labels, where they lack the one that would be set by default.
    pub unnamed: Option<String>,
    /// Fields that the cloud never shows and that need not be given: one made again has none of them.
    untold: Vec<String>,
    /// A value is not in the provider's catalogue.
    allow_unknown: bool,
}

impl Shown {
    /// The fields a user can set, as the cloud shows them, but not those that would be the same without being set.
    pub fn of(spec: &TypeSpec, remote: &Remote) -> Self {
        let settable = spec.fields.iter().filter(|(_, rule)| !rule.sensitive);
        let fields = settable
            .filter_map(|(name, rule)| {
                let value = tidy(rule, remote.fields.get(name).or_else(|| remote.adoptable.get(name))?)?;
                let needed = rule.required || rule.default.as_ref() != Some(&value);
                needed.then(|| (name.clone(), value))
            })
            .collect();
        let untold = |(_, rule): &(&String, &FieldSpec)| {
            rule.visible == Visible::Never && rule.adopt.is_none() && !rule.required && rule.wire.as_deref() != Some("")
        };
        let untold = spec.fields.iter().filter(untold).map(|(name, _)| name.clone()).collect();
        Self { fields, unseen: Vec::new(), unnamed: None, untold, allow_unknown: false }
    }

    /// Leaves out the default name, where it is known. Where the label with the name lacks, nothing may set it.
    pub fn leave_out_names(&mut self, spec: &TypeSpec, name: Option<&str>) {
        let is_name = |value: &Json| name.is_some() && value.as_str() == name;
        let default_name = |field: &str| spec.fields.get(field).is_some_and(|rule| rule.default_name);
        self.fields.retain(|field, value| !(default_name(field) && is_name(value)));
        let (Some(label), Some(field)) = (&spec.name_label, &spec.labels) else { return };
        let Some(Json::Object(labels)) = self.fields.get_mut(field) else {
            self.unnamed = Some(field.clone());
            return;
        };
        match labels.get(label).map(is_name) {
            None => self.unnamed = Some(field.clone()),
            Some(true) => {
                labels.shift_remove(label);
            }
            Some(false) => {}
        }
        if labels.is_empty() {
            self.fields.shift_remove(field);
        }
    }

    /// Puts something in the place of what is required and not shown, and looks whether the catalogue knows all.
    pub fn complete(&mut self, manifest: &Manifest, spec: &TypeSpec) {
        for (field, rule) in spec.fields.iter().filter(|(_, rule)| rule.required) {
            if !self.fields.contains_key(field) {
                self.fields.insert(field.clone(), placeholder(rule));
                self.unseen.push(field.clone());
            }
        }
        self.allow_unknown = is_beyond_catalog(manifest, &spec.fields, &self.fields);
    }

    /// The lines of its declaration; `fields` are its own with references in them.
    pub fn lines(&self, account: Option<&str>, fields: Map) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut line = |name: &str, value: Json, note: Option<&str>| {
            lines.push(Line { name: name.to_owned(), value, note: note.map(str::to_owned) });
        };
        if let Some(account) = account {
            line("$provider", Json::from(account), None);
        }
        for (name, value) in fields {
            let unseen = self.unseen.contains(&name);
            line(&name, value, unseen.then_some("The cloud does not show it; write here what it was made with."));
        }
        let ignored: Vec<&str> = self.unseen.iter().chain(&self.unnamed).map(String::as_str).collect();
        if !ignored.is_empty() {
            let note = match &self.unnamed {
                Some(_) => "It has no name among its labels; without this line it gets one.",
                None => "Without this line it would be changed to what is written above.",
            };
            line("lifecycle.ignore", ignored.into_iter().collect(), Some(note));
        }
        if !self.untold.is_empty() {
            let names: Vec<String> = self.untold.iter().map(|name| format!("`{name}`")).collect();
            let note = format!("The cloud does not show {}: made again, it has what you write here.", names.join(", "));
            line("", Json::Null, Some(&note));
        }
        if self.allow_unknown {
            line("lifecycle.allow_unknown", Json::Bool(true), None);
        }
        lines
    }
}

/// The part of an address made from a resource's name: lower-case, starting with a letter.
pub fn part(spec: &TypeSpec, remote: &Remote, type_name: &str) -> String {
    let named = spec.fields.iter().filter(|(_, rule)| rule.default_name);
    let named = named.filter_map(|(field, _)| remote.fields.get(field)).find_map(Json::as_str);
    let label = || remote.fields.get(spec.labels.as_ref()?)?.get(spec.name_label.as_ref()?)?.as_str();
    let made: String = named
        .or_else(label)
        .unwrap_or(type_name)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let made = made.trim_matches(['-', '_']);
    match made {
        "" => type_name.to_owned(),
        made if Address::valid_part(made) && made.starts_with(|c: char| c.is_ascii_lowercase()) => made.to_owned(),
        made => format!("{type_name}-{made}"),
    }
}

/// A value without what is empty in it; `None` for one that is empty, unless it must be there.
fn tidy(rule: &FieldSpec, value: &Json) -> Option<Json> {
    let value = tidy_kind(&rule.kind, value);
    let empty = match &value {
        Json::Null => return None,
        // Some clouds write nothing as an empty text.
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    };
    // Where another list would be set by default, none is a word.
    let instead = rule.default.is_some() && matches!(rule.kind, FieldType::List(_) | FieldType::Map(_));
    (!empty || rule.required || instead).then_some(value)
}

fn tidy_kind(kind: &FieldType, value: &Json) -> Json {
    match (kind, value) {
        (FieldType::List(inner), Json::Array(items)) => items.iter().map(|item| tidy_kind(inner, item)).collect(),
        (FieldType::Record(specs), Json::Object(map)) => {
            let settable = specs.iter().filter(|(_, rule)| !rule.sensitive);
            let mut fields: Map =
                settable.filter_map(|(name, rule)| Some((name.clone(), tidy(rule, map.get(name)?)?))).collect();
            // A list of nothing is not shown in XML.
            for (name, rule) in specs.iter().filter(|(_, rule)| rule.required) {
                if matches!(rule.kind, FieldType::List(_)) {
                    fields.entry(name.clone()).or_insert_with(|| Json::Array(Vec::new()));
                }
            }
            Json::Object(fields)
        }
        _ => value.clone(),
    }
}

fn placeholder(rule: &FieldSpec) -> Json {
    match &rule.kind {
        FieldType::String | FieldType::Any => Json::from(rule.one_of.first().map_or("unknown", String::as_str)),
        FieldType::Int | FieldType::Number => Json::from(0),
        FieldType::Bool => Json::Bool(false),
        FieldType::List(_) => Json::Array(Vec::new()),
        FieldType::Map(_) | FieldType::Record(_) => Json::Object(Map::new()),
    }
}

/// Whether a plan would refuse a value because the provider's catalogue does not have it.
fn is_beyond_catalog(manifest: &Manifest, specs: &IndexMap<String, FieldSpec>, values: &Map) -> bool {
    specs.iter().any(|(name, spec)| {
        let Some(value) = values.get(name) else { return false };
        let known = spec.catalog.as_ref().and_then(|catalog| manifest.catalog.get(catalog));
        if let (Some(known), Some(text)) = (known, value.as_str()) {
            return !known.iter().any(|entry| entry == text);
        }
        match (&spec.kind, value) {
            (FieldType::List(inner), Json::Array(items)) => match inner.as_ref() {
                FieldType::Record(specs) => {
                    items.iter().filter_map(Json::as_object).any(|item| is_beyond_catalog(manifest, specs, item))
                }
                _ => false,
            },
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_nickel::Evaluator;
    use provision_registry::Registry;
    use serde_json::json;

    fn remote(fields: Json) -> Remote {
        Remote { id: "7".into(), fields: fields.as_object().unwrap().clone(), ..Remote::default() }
    }

    fn shown(kind: &str, fields: Json, name: Option<&str>) -> (Json, Json) {
        let registry = Registry::load(None, None, &Evaluator::default()).unwrap();
        let (manifest, spec) = registry.type_of(kind).unwrap();
        let mut shown = Shown::of(spec, &remote(fields));
        shown.leave_out_names(spec, name);
        shown.complete(manifest, spec);
        let lines = shown.lines(None, shown.fields.clone());
        let life = lines.iter().filter(|line| line.name.starts_with("lifecycle"));
        let life: Map = life.map(|line| (line.name.clone(), line.value.clone())).collect();
        (Json::Object(shown.fields), Json::Object(life))
    }

    #[test]
    fn only_what_is_needed_is_declared() {
        let fields = json!({"name": "s-web", "server_type": "cx23", "image": "debian-12", "location": "hel1",
            "networks": [], "firewalls": [7], "labels": {}});
        let (found, life) = shown("hetzner.server", fields, Some("s-web"));
        let expected = json!({"server_type": "cx23", "image": "debian-12", "location": "hel1", "firewalls": [7]});
        assert_eq!((found, life), (expected, json!({})));
        let fields = json!({"title": "x", "hostname": "x", "zone": "fi-hel1", "plan": "custom", "metadata": true});
        let (found, life) = shown("upcloud.server", fields, None);
        assert_eq!(found, json!({"title": "x", "hostname": "x", "zone": "fi-hel1", "plan": "custom"}));
        assert_eq!(life, json!({"lifecycle.allow_unknown": true}));
    }

    #[test]
    fn what_the_cloud_does_not_show_is_left_alone() {
        let (found, life) = shown("aws.key_pair", json!({"key_name": "k", "tags": {}}), None);
        assert_eq!(found, json!({"key_name": "k", "public_key_material": "unknown"}));
        assert_eq!(life, json!({"lifecycle.ignore": ["public_key_material"]}));
        let (found, life) = shown("aws.vpc", json!({"cidr_block": "10.0.0.0/16", "tags": {"team": "a"}}), Some("s-v"));
        assert_eq!(found, json!({"cidr_block": "10.0.0.0/16", "tags": {"team": "a"}}));
        assert_eq!(life, json!({"lifecycle.ignore": ["tags"]}));
        let (found, life) =
            shown("aws.vpc", json!({"cidr_block": "10.0.0.0/16", "tags": {"Name": "s-v"}}), Some("s-v"));
        assert_eq!((found, life), (json!({"cidr_block": "10.0.0.0/16"}), json!({})));
    }

    #[test]
    fn a_name_becomes_a_part_of_an_address() {
        let registry = Registry::load(None, None, &Evaluator::default()).unwrap();
        let of = |kind: &str, fields: Json| {
            let (_, spec) = registry.type_of(kind).unwrap();
            part(spec, &remote(fields), kind.split_once('.').unwrap().1)
        };
        assert_eq!(of("hetzner.server", json!({"name": "Web.1 (old)"})), "web-1--old");
        assert_eq!(of("hetzner.server", json!({"name": "42"})), "server-42");
        assert_eq!(of("hetzner.server", json!({"name": "ü"})), "server");
        assert_eq!(of("aws.vpc", json!({"tags": {"Name": "Main"}})), "main");
        assert_eq!(of("aws.vpc", json!({"tags": {}})), "vpc");
    }
}
