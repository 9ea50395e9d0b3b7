//! Owns drift: what the clouds show otherwise than it was last applied.

use crate::configuration::desired::left_alone;
use crate::observation::others::leave_out;
use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_model::{Address, Change, Json, Map, Remote, Resource, Time, compare, digest};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashSet;

/// One thing in a cloud that is not as it was last applied.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DriftRow {
    /// `None` for what carries our mark and is in no row of the state.
    pub address: Option<Address>,
    #[serde(rename = "type")]
    pub kind: String,
    /// Dotted path of the field; `None` where it is the resource as a whole.
    pub path: Option<String>,
    /// As it was last applied; the id of a resource that is gone.
    pub expected: Json,
    /// As the cloud shows it; the id of a stray.
    pub actual: Json,
    /// When it was first seen so, RFC 3339.
    pub since: Time,
    pub remote_id: String,
}

impl DriftRow {
    /// What is remembered of it to tell since when: address, path, digest of the actual value. A stray has no address, so
    /// it is found by type and id.
    pub(crate) fn key(&self) -> (String, String, String) {
        let (address, path) = match (&self.address, &self.path) {
            (None, _) => (String::new(), format!("{} {}", self.kind, self.remote_id)),
            (Some(address), path) => (address.to_string(), path.clone().unwrap_or_default()),
        };
        (address, path, digest(&self.actual))
    }
}

/// The fields that the cloud shows otherwise than they were sent; what is secret is masked.
pub(crate) fn differences(
    on: &Workspace,
    resource: &Resource,
    remote: &Remote,
    ignore: &[String],
) -> Result<Vec<Change>, Failure> {
    let (_, spec) = on.project.registry.type_of(&resource.kind)?;
    let mut expected = Map::new();
    let mut actual = Map::new();
    let mut secret = HashSet::new();
    // What the cloud does not show counts as it was sent, and what was never ours to set is no drift.
    for (field, value) in &resource.inputs {
        let Some(shown) = remote.fields.get(field) else { continue };
        if provision_model::is_sealed(value) {
            secret.insert(field.as_str());
        }
        expected.insert(field.clone(), on.store.sealer().open_value(value)?);
        actual.insert(field.clone(), shown.clone());
    }
    actual.extend(remote.said_as(&spec.fields, &expected));
    leave_out(spec, &mut actual, &expected, &Map::new());
    let secrets = on.store.secrets_of(resource)?;
    let found = compare(&spec.fields, &expected, &actual, &left_alone(spec, ignore), &|a, b| a == b);
    Ok(found
        .changes
        .into_iter()
        .map(|change| {
            let field = change.path.split('.').next().unwrap_or_default();
            let repeats = [&change.before, &change.after].iter().any(|value| secrets.is_in_json(value));
            if secret.contains(field) || repeats { change.masked() } else { change }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_drift_is_remembered_by_its_own_key() {
        let row = DriftRow {
            address: Some(Address::new("web")),
            kind: "hetzner.server".into(),
            path: Some("labels.tier".into()),
            expected: json!("web"),
            actual: json!("other"),
            since: Time::default(),
            remote_id: "7".into(),
        };
        let gone = DriftRow { path: None, actual: Json::Null, ..row.clone() };
        let stray = DriftRow { address: None, path: None, actual: json!("7"), ..row.clone() };
        let second = DriftRow { remote_id: "8".into(), actual: json!("8"), ..stray.clone() };
        let keys: HashSet<_> = [&row, &gone, &stray, &second].map(|row| (row.key().0, row.key().1)).into();
        assert_eq!(keys.len(), 4);
        assert_ne!(row.key().2, DriftRow { actual: json!("third"), ..row.clone() }.key().2);
    }
}
