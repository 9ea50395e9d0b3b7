//! Owns the values a type is tried with: from the examples in its manifest, and where there are none from the types,
//! choices and catalogues of its fields.

use provision_model::{Disruption, FieldSpec, FieldType, Json, Map, Visible};
use provision_registry::{Manifest, TypeSpec};

/// What every value that must not be seen begins with.
pub const CANARY: &str = "canary-";

/// What a type is tried with.
pub struct Samples<'a> {
    manifest: &'a Manifest,
    pub name: &'a str,
    pub spec: &'a TypeSpec,
}

/// How a field is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Update,
    Replace,
}

impl<'a> Samples<'a> {
    pub fn new(manifest: &'a Manifest, name: &'a str, spec: &'a TypeSpec) -> Self {
        Self { manifest, name, spec }
    }

    /// `hetzner.server`.
    pub fn kind(&self) -> String {
        format!("{}.{}", self.manifest.name, self.name)
    }

    /// The fields it is made with: those that must be given and those with an example.
    pub fn first(&self) -> Map {
        let mut fields = Map::new();
        for (name, field) in &self.spec.fields {
            let value = match &field.example {
                Some(example) => Some(example.clone()),
                None if field.sensitive && field.kind == FieldType::String => {
                    Some(Json::from(format!("{CANARY}{name}-4b1d")))
                }
                None if field.required => Some(self.made_up(field)),
                None => None,
            };
            if let Some(value) = value {
                fields.insert(name.clone(), guarded(field, value));
            }
        }
        fields
    }

    /// Another value than the one it has; `Err` says why there is none.
    pub fn another(&self, name: &str, now: Option<&Json>) -> Result<Json, String> {
        let Some(field) = self.spec.fields.get(name) else { return Err("there is no such field".into()) };
        let is_now = |value: &Json| now == Some(value) || now.and_then(|now| now.get("$secret")) == Some(value);
        let mut choices: Vec<Json> = Vec::new();
        choices.extend(field.other.clone());
        choices.extend(field.example.clone());
        choices.extend(field.one_of.iter().map(|choice| Json::from(choice.as_str())));
        choices.extend(self.catalog(field));
        match &field.kind {
            FieldType::Bool => choices.extend([Json::from(true), Json::from(false)]),
            FieldType::Map(inner) if **inner == FieldType::String => {
                choices.extend(["contract", "drifted"].map(|team| serde_json::json!({ "team": team })));
            }
            FieldType::String if field.sensitive && field.example.is_none() => {
                choices.push(Json::from(format!("{CANARY}{name}-9f3e")))
            }
            FieldType::String if field.default_name => {
                choices.extend(["contract-other", "contract-third"].map(Json::from));
            }
            _ => {}
        }
        let found = choices.into_iter().find(|choice| !is_now(choice));
        found
            .map(|value| guarded(field, value))
            .ok_or_else(|| format!("no other value of `{name}` is known: give it `other` in the manifest"))
    }

    /// The fields that are changed in the given way, in the order of the manifest.
    pub fn fields(&self, way: Way) -> Vec<&'a str> {
        let region = self.manifest.region.as_ref().map(|region| region.field.as_str());
        let wanted = |name: &str, field: &FieldSpec| {
            let replaces = field.on_change == Disruption::Replace || region == Some(name);
            replaces == (way == Way::Replace)
        };
        self.spec.fields.iter().filter(|(name, field)| wanted(name, field)).map(|(name, _)| name.as_str()).collect()
    }

    /// Whether the cloud shows a field when it is asked by id.
    pub fn shows(&self, name: &str) -> bool {
        self.spec.fields.get(name).is_some_and(|field| match field.visible {
            Visible::Never => false,
            Visible::Read => self.spec.read.is_some(),
            Visible::List => true,
        })
    }

    /// The configuration with what it needs and, when given, the resource itself as `it`.
    pub fn project(&self, endpoint: Option<&str>, it: Option<&Map>) -> Json {
        let mut resources: Map = self.spec.needs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(fields) = it {
            let mut own = fields.clone();
            own.insert("$type".into(), Json::from(self.kind()));
            resources.insert("it".into(), Json::Object(own));
        }
        let mut project = serde_json::json!({"name": "contract", "resources": resources});
        if let Some(endpoint) = endpoint {
            project["providers"][&self.manifest.name]["endpoint"] = Json::from(endpoint);
        }
        project
    }

    fn catalog(&self, field: &FieldSpec) -> Vec<Json> {
        let values = field.catalog.as_ref().and_then(|name| self.manifest.catalog.get(name));
        values.into_iter().flatten().map(|value| Json::from(value.as_str())).collect()
    }

    fn made_up(&self, field: &FieldSpec) -> Json {
        if let Some(choice) = field.one_of.first() {
            return Json::from(choice.as_str());
        }
        if let Some(choice) = self.catalog(field).into_iter().next() {
            return choice;
        }
        match &field.kind {
            FieldType::Int | FieldType::Number => Json::from(1),
            FieldType::Bool => Json::from(true),
            FieldType::List(_) => Json::Array(Vec::new()),
            FieldType::Map(_) => serde_json::json!({"team": "contract"}),
            FieldType::Record(fields) => {
                let needed = fields.iter().filter(|(_, field)| field.required);
                Json::Object(needed.map(|(name, field)| (name.clone(), self.made_up(field))).collect())
            }
            FieldType::String | FieldType::Any => Json::from("contract"),
        }
    }
}

/// A sensitive value is given as a secret, as a user gives it.
fn guarded(field: &FieldSpec, value: Json) -> Json {
    match field.sensitive {
        true => serde_json::json!({ "$secret": value }),
        false => value,
    }
}
