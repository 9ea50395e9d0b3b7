//! Owns an example of each resource type that a provider ships, as its manifest gives it: how it is made, changed in place
//! and replaced.

use provision_contract::{Samples, Way};
use provision_model::Disruption;
use provision_nickel::Evaluator;
use provision_registry::Registry;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// One type with what it takes to try it.
pub struct Example {
    pub kind: String,
    /// What must be there for it.
    pub needs: Vec<(String, Value)>,
    /// Its fields at first.
    pub first: Value,
    /// Fields that are changed in place.
    pub changed: Option<Value>,
    /// Fields that make another one.
    pub replaced: Option<Value>,
}

/// How many fields are changed at once: one that takes a restart where there is such, labels, and one more.
const CHANGED: usize = 3;

/// A value whose references and dependencies go to other addresses.
fn apart(value: Value, renamed: &dyn Fn(&str) -> Option<String>) -> Value {
    match value {
        Value::Object(mut map) => {
            if let Some(address) = map.get("$ref").and_then(|it| it["address"].as_str()).and_then(renamed) {
                map["$ref"]["address"] = Value::from(address);
                return Value::Object(map);
            }
            if let Some(Value::Array(needed)) = map.get_mut("depends_on") {
                needed.iter_mut().for_each(|it| {
                    if let Some(address) = it.as_str().and_then(renamed) {
                        *it = Value::from(address);
                    }
                });
            }
            map.into_iter().map(|(key, item)| (key, apart(item, renamed))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(|item| apart(item, renamed)).collect(),
        scalar => scalar,
    }
}

/// Every type of the built-in providers.
pub fn examples() -> Vec<Example> {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| Registry::load(None, None, &Evaluator::default()).unwrap());
    let mut all = Vec::new();
    for manifest in registry.manifests() {
        for (name, spec) in &manifest.types {
            let samples = Samples::new(manifest, name, spec);
            let first = samples.first();
            let others = |way: Way, most: usize| {
                let is_labels = |field: &str| samples.spec.labels.as_deref() == Some(field);
                // What the manifest has two values of, and labels.
                let mut fields = samples.fields(way);
                fields.retain(|field| spec.fields[*field].other.is_some() || is_labels(field));
                fields.sort_by_key(|field| match spec.fields[*field].on_change {
                    Disruption::Restart => 0,
                    _ if is_labels(field) => 1,
                    _ => 2,
                });
                let pairs = fields.into_iter().filter_map(|field| {
                    let value = samples.another(field, first.get(field)).ok()?;
                    Some((field.to_owned(), value))
                });
                let found: Map<String, Value> = pairs.take(most).collect();
                (!found.is_empty()).then_some(Value::Object(found))
            };
            // What it needs has a name of its own beside what others need.
            let kind = samples.kind();
            let own = |address: &str| format!("{address}-of-{}", kind.replace(['.', '_'], "-"));
            let apart = |value: Value| apart(value, &|address| spec.needs.contains_key(address).then(|| own(address)));
            let (changed, replaced) = (others(Way::Update, CHANGED), others(Way::Replace, 1));
            all.push(Example {
                needs: spec.needs.iter().map(|(address, value)| (own(address), apart(value.clone()))).collect(),
                changed: changed.map(apart),
                replaced: replaced.map(apart),
                first: apart(Value::Object(first)),
                kind: kind.clone(),
            });
        }
    }
    all
}

impl Example {
    /// The resource under test with these fields on top of the first ones.
    pub fn resource(&self, with: Option<&Value>) -> Value {
        let mut all = self.first.as_object().cloned().unwrap_or_default();
        all.extend(with.and_then(Value::as_object).cloned().unwrap_or_default());
        all.insert("$type".into(), json!(self.kind));
        Value::Object(all)
    }

    /// A project with what it needs and, when given, the resource itself under `it`.
    pub fn project(&self, it: Option<Value>) -> Value {
        let mut resources: Map<String, Value> = self.needs.iter().cloned().collect();
        resources.extend(it.map(|it| ("it".to_owned(), it)));
        json!({"name": "s", "resources": resources})
    }

    /// What can be done to it, each from one configuration to another.
    pub fn ways(&self) -> Vec<(&'static str, Value, Value)> {
        let with = |fields: Option<&Value>| self.project(Some(self.resource(fields)));
        let (none, first) = (self.project(None), with(None));
        let mut ways = vec![("create", none.clone(), first.clone()), ("delete", first.clone(), none)];
        ways.extend(self.changed.as_ref().map(|changed| ("update", first.clone(), with(Some(changed)))));
        ways.extend(self.replaced.as_ref().map(|replaced| ("replace", first, with(Some(replaced)))));
        ways
    }
}
