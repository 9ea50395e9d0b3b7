//! Owns a provider's types and fields as rows people read.

use crate::{Manifest, TypeSpec};
use indexmap::IndexMap;
use provision_model::{Disruption, FieldSpec, FieldType, IdentityClass, Json, Visible};
use serde::Serialize;

/// A type of a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TypeRow {
    #[serde(rename = "type")]
    pub kind: String,
    pub doc: String,
    pub identity: IdentityClass,
    pub fields: Vec<FieldRow>,
    pub attributes: Vec<FieldRow>,
}

/// A field or an attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldRow {
    /// Dotted; `[]` and `{}` stand for the items of a list or a map.
    pub field: String,
    /// `string`, `list<int>`, `map<string>`, `record`.
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub default: Option<Json>,
    /// `update`, `restart`, `replace`, or `computed` for what only the cloud knows.
    pub on_change: &'static str,
    pub sensitive: bool,
    pub visible: Visible,
    /// The valid values, where they are known.
    pub values: Option<Vec<String>>,
    pub doc: String,
}

/// The types of a provider.
pub fn type_rows(manifest: &Manifest) -> Vec<TypeRow> {
    let row = |(name, spec): (&String, &TypeSpec)| TypeRow {
        kind: format!("{}.{name}", manifest.name),
        doc: spec.doc.clone(),
        identity: spec.identity,
        fields: field_rows(manifest, &spec.fields, false),
        attributes: field_rows(manifest, &spec.attributes, true),
    };
    manifest.types.iter().map(row).collect()
}

/// Fields with those inside them.
pub fn field_rows(manifest: &Manifest, specs: &IndexMap<String, FieldSpec>, computed: bool) -> Vec<FieldRow> {
    let mut out = Vec::new();
    add(manifest, specs, "", computed, None, &mut out);
    out
}

fn add(
    manifest: &Manifest,
    specs: &IndexMap<String, FieldSpec>,
    prefix: &str,
    computed: bool,
    outer: Option<(Disruption, Visible)>,
    out: &mut Vec<FieldRow>,
) {
    for (name, spec) in specs {
        let field = format!("{prefix}{name}");
        // What is inside a field changes and shows as the field does.
        let (change, visible) = outer.unwrap_or((spec.on_change, spec.visible));
        let catalog = spec.catalog.as_ref().and_then(|name| manifest.catalog.get(name)).cloned();
        let own = (!spec.one_of.is_empty()).then(|| spec.one_of.clone());
        out.push(FieldRow {
            field: field.clone(),
            kind: type_name(&spec.kind),
            required: spec.required,
            default: match spec.default_name {
                true => Some(Json::from("<project>-<address>")),
                false => spec.default.clone(),
            },
            on_change: match (computed, change) {
                (true, _) => "computed",
                (_, Disruption::Update) => "update",
                (_, Disruption::Restart) => "restart",
                (_, Disruption::Replace) => "replace",
            },
            sensitive: spec.sensitive,
            visible,
            values: own.or(catalog),
            doc: spec.doc.clone(),
        });
        let (inner, mark) = match &spec.kind {
            FieldType::List(inner) => (inner.as_ref(), "[]"),
            FieldType::Map(inner) => (inner.as_ref(), "{}"),
            other => (other, ""),
        };
        if let FieldType::Record(inner) = inner {
            add(manifest, inner, &format!("{field}{mark}."), computed, Some((change, visible)), out);
        }
    }
}

fn type_name(kind: &FieldType) -> String {
    match kind {
        FieldType::String => "string".into(),
        FieldType::Int => "int".into(),
        FieldType::Number => "number".into(),
        FieldType::Bool => "bool".into(),
        FieldType::Any => "any".into(),
        FieldType::List(inner) => format!("list<{}>", type_name(inner)),
        FieldType::Map(inner) => format!("map<{}>", type_name(inner)),
        FieldType::Record(_) => "record".into(),
    }
}
