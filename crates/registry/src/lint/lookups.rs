//! Owns what is wrong with the look-ups of a manifest: their shape, and whether what they are known by can be told.

use super::calls::{self, Place};
use super::{Contract, Findings, against, at, fields};
use crate::Manifest;
use provision_diagnostic::{Code, did_you_mean};
use provision_model::{FieldType, Json, Map, NEWEST, Step};

const LINT: Code = Code::ProviderLint;

/// Holds them against the contract.
pub fn shape(contract: &Contract, manifest: &Map, findings: &mut Findings) {
    for (name, lookup) in manifest.get("lookups").and_then(Json::as_object).into_iter().flatten() {
        let path: Vec<Step> = vec!["lookups".into(), name.as_str().into()];
        let Json::Object(lookup) = lookup else {
            findings.error(
                Code::ProviderManifest,
                format!("the look-up `{name}` is no record"),
                &path,
                "Give a `call`, `filters` and `columns`.",
            );
            continue;
        };
        against(&contract.lookup, lookup, &path, findings);
        fields(contract, lookup.get("columns"), &at(&path, "columns"), findings);
        for (name, filter) in lookup.get("filters").and_then(Json::as_object).into_iter().flatten() {
            let path = at(&at(&path, "filters"), name.as_str());
            match filter {
                Json::Object(filter) => against(&contract.filter, filter, &path, findings),
                _ => findings.error(
                    Code::ProviderManifest,
                    format!("the filter `{name}` is no record"),
                    &path,
                    "Write `{}` for a column that must be equal.",
                ),
            }
        }
    }
}

/// Whether what they say can be asked.
pub fn check(manifest: &Manifest, findings: &mut Findings) {
    for (name, lookup) in &manifest.lookups {
        let path: Vec<Step> = vec!["lookups".into(), name.as_str().into()];
        calls::one(manifest, None, &lookup.call, Place::List, &at(&path, "call"), findings);
        let known: Vec<&str> = lookup.columns.keys().map(String::as_str).collect();
        let region = manifest.region.as_ref().map(|region| region.field.as_str());
        for (filter, rule) in &lookup.filters {
            let here = at(&at(&path, "filters"), filter.as_str());
            if rule.query.is_empty() && !known.contains(&filter.as_str()) {
                let help =
                    did_you_mean(filter, known.iter().copied(), || "Give it a `query`, or add the column.".to_owned());
                let message = format!("the filter `{filter}` is neither asked for nor a column of `{name}`");
                findings.error(Code::ProviderUnknownField, message, &here, help);
            }
            if !rule.query.is_empty() && !rule.query.values().any(|it| it.contains("{value}")) {
                let message = format!("the filter `{filter}` never says which value it looks for");
                findings.error(LINT, message, &at(&here, "query"), "Put `{value}` where the value goes.");
            }
            if filter == NEWEST || region == Some(filter) {
                let message = format!("a filter cannot be called `{filter}`: look-ups have that word");
                findings.error(LINT, message, &here, "Give it another name.");
            }
        }
        for key in lookup.example.keys().filter(|key| !lookup.filters.contains_key(*key) && *key != NEWEST) {
            let message = format!("the example of `{name}` has the unknown filter `{key}`");
            let help = format!("There are {}.", lookup.filters.keys().cloned().collect::<Vec<_>>().join(", "));
            findings.error(Code::ProviderUnknownField, message, &at(&path, "example"), help);
        }
        let scalar = |kind: &FieldType| !matches!(kind, FieldType::List(_) | FieldType::Map(_) | FieldType::Record(_));
        for (column, rule) in lookup.columns.iter().filter(|(column, rule)| {
            lookup.filters.get(*column).is_some_and(|it| it.query.is_empty()) && !scalar(&rule.kind)
        }) {
            let message = format!("the column `{column}` is {} and cannot be compared with a value", rule.kind.name());
            findings.error(LINT, message, &at(&at(&path, "columns"), column.as_str()), "Read one value of it.");
        }
    }
}
