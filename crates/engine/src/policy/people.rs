//! Owns who belongs to which group: `entities.json` beside the policies, in Cedar's JSON form.

use provision_diagnostic::{Code, Failure};
use provision_model::Json;
use provision_policy::EntityRef;
use serde_json::json;
use std::collections::HashMap;

/// Cedar's names for who asks and what they belong to.
pub(crate) const USER: &str = "Provision::User";

pub(crate) const GROUP: &str = "Provision::Group";

/// The file of users and groups in the folder of the policies.
pub(crate) const PEOPLE: &str = "entities.json";

/// Users and groups by uid.
#[derive(Debug, Default)]
pub(crate) struct People {
    rows: HashMap<EntityRef, Json>,
}

impl People {
    /// Reads Cedar JSON rows `{uid, attrs, parents}`.
    pub fn read(text: &str, name: &str) -> Result<People, Failure> {
        let told = |what: String| {
            Failure::new(Code::PolicyEntity, format!("{name}: {what}")).with_help(
                "It is a list of rows such as {\"uid\": \"Provision::User::\\\"ann\\\"\", \"parents\": [\"Provision::Group::\\\"web\\\"\"]}.",
            )
        };
        let rows = provision_policy::read_json(text).map_err(|error| told(error.to_string()))?;
        let Json::Array(rows) = rows else { return Err(told("it is not a list".to_owned())) };
        let mut people = People::default();
        for mut row in rows {
            let uid: EntityRef = serde_json::from_value(row["uid"].clone()).map_err(|error| told(error.to_string()))?;
            if ![USER, GROUP].contains(&uid.kind.as_str()) {
                return Err(told(format!("`{uid}` is neither a {USER} nor a {GROUP}")));
            }
            let parents: Vec<EntityRef> = match row.get("parents") {
                None | Some(Json::Null) => Vec::new(),
                Some(parents) => serde_json::from_value(parents.clone()).map_err(|error| told(error.to_string()))?,
            };
            row["uid"] = json!(uid);
            row["parents"] = json!(parents);
            if uid.kind == USER && row["attrs"]["name"].is_null() {
                row["attrs"]["name"] = json!(uid.id);
            } else if row["attrs"].is_null() {
                row["attrs"] = json!({});
            }
            if people.rows.insert(uid.clone(), row).is_some() {
                return Err(told(format!("`{uid}` is there twice")));
            }
        }
        Ok(people)
    }

    /// The rows of a user and of all groups above. Somebody unknown belongs to no group.
    pub fn of(&self, user: &str) -> Vec<Json> {
        let uid = EntityRef::new(USER, user);
        let Some(row) = self.rows.get(&uid) else {
            return vec![json!({"uid": uid, "attrs": {"name": user}, "parents": []})];
        };
        let mut found = vec![row.clone()];
        let mut told = vec![uid];
        let mut at = 0;
        while at < found.len() {
            let parents: Vec<EntityRef> = serde_json::from_value(found[at]["parents"].clone()).unwrap_or_default();
            for parent in parents {
                if !told.contains(&parent) {
                    let row = self.rows.get(&parent).cloned();
                    found.push(row.unwrap_or_else(|| json!({"uid": parent, "attrs": {}, "parents": []})));
                    told.push(parent);
                }
            }
            at += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_comes_with_all_groups_above_and_strangers_alone() {
        let text = r#"[
            {"uid": "Provision::User::\"ann\"", "parents": ["Provision::Group::\"web\""]},
            {"uid": {"type": "Provision::Group", "id": "web"}, "parents": ["Provision::Group::\"all\""]}
        ]"#;
        let people = People::read(text, "entities.json").unwrap();
        let uids: Vec<String> =
            people.of("ann").iter().map(|row| row["uid"]["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(uids, ["ann", "web", "all"]);
        assert_eq!(people.of("ann")[0]["attrs"]["name"], "ann");
        assert_eq!(people.of("bob").len(), 1);
        let wrong = |text: &str| People::read(text, "e.json").unwrap_err().first.message;
        assert!(wrong(r#"[{"uid": "Hetzner::Server::\"a\""}]"#).contains("neither"));
        assert!(wrong(r#"[{"uid": "Provision::Group::\"a\""}, {"uid": "Provision::Group::\"a\""}]"#).contains("twice"));
        assert!(wrong("[").starts_with("e.json"));
    }
}
