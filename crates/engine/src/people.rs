//! Owns who belongs to which group: `entities.json` beside the policies, in Cedar's JSON form.

use crate::Session;
use provision_diagnostic::Failure;
use provision_model::Json;
use provision_policy::EntityRef;
use serde_json::json;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;

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

impl Session {
    /// The people of the project's policies.
    pub(crate) fn people(&self, configured: Option<&str>) -> Result<People, Failure> {
        match self.people_text(configured)? {
            Some(text) => self.read_people(configured, &text),
            None => Ok(People::default()),
        }
    }

    /// What stands in their file, if there is one.
    pub(crate) fn people_text(&self, configured: Option<&str>) -> Result<Option<String>, Failure> {
        let file = self.people_file(configured);
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text)),
            // `policies` may also name one file.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Failure::new("policy::io", format!("{} cannot be read: {error}", file.display()))
                .with_help("It has the users and groups that policies speak of; policies are not asked without it.")),
        }
    }

    /// Reads the text of their file.
    pub(crate) fn read_people(&self, configured: Option<&str>, text: &str) -> Result<People, Failure> {
        People::read(text, &self.shown(&self.people_file(configured)))
    }

    fn people_file(&self, configured: Option<&str>) -> PathBuf {
        self.project.join(configured.unwrap_or(crate::gate::POLICIES)).join(PEOPLE)
    }

    fn shown(&self, file: &std::path::Path) -> String {
        file.strip_prefix(&self.shown_from).unwrap_or(file).display().to_string()
    }
}

impl People {
    /// Reads Cedar JSON rows `{uid, attrs, parents}`.
    pub fn read(text: &str, name: &str) -> Result<People, Failure> {
        let told = |what: String| {
            Failure::new("policy::entity", format!("{name}: {what}")).with_help(
                "It is a list of rows such as {\"uid\": \"Provision::User::\\\"ann\\\"\", \"parents\": [\"Provision::Group::\\\"web\\\"\"]}.",
            )
        };
        let rows: Vec<Json> = serde_json::from_str(text).map_err(|error| told(error.to_string()))?;
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
