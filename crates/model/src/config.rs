//! Owns the configuration: the evaluated `infra.ncl` (or data piped in) as declarations, and what is wrong with its shape.

use crate::{Address, Json, Map, Problem, Step};
use indexmap::IndexMap;
use provision_diagnostic::Code;
use serde::{Deserialize, Serialize};

/// An infrastructure as written.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub name: String,
    pub resources: Vec<Declaration>,
    /// Accounts by the name under `providers`; a provider without one gets its defaults.
    pub accounts: IndexMap<String, AccountConfig>,
    pub outputs: Map,
    /// Folder of Cedar policies as written, relative to the project.
    pub policies: Option<String>,
}

/// One account or region of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountConfig {
    pub provider: String,
    /// Credentials (as references), endpoint and defaults.
    pub settings: Map,
}

/// Whether a name is that of an account of a provider; the provider's own account has its name without being configured.
pub fn is_account_of(accounts: &IndexMap<String, AccountConfig>, name: &str, provider: &str) -> bool {
    accounts.get(name).map_or(name == provider, |account| account.provider == provider)
}

/// One resource as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    pub address: Address,
    /// `hetzner.server`.
    pub kind: String,
    /// The name under `providers`; the provider's own name by default.
    pub account: String,
    /// Fields, references unresolved.
    pub fields: Map,
    pub lifecycle: Lifecycle,
    pub depends_on: Vec<Address>,
    /// Those of `depends_on` that only fields set after the creation refer to. Known of what is in the state, whose values
    /// are no references any more; nobody writes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Address>,
    /// Where it stands in the data.
    #[serde(skip)]
    pub path: Vec<Step>,
}

/// How a resource may be changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lifecycle {
    /// Never delete or replace; lifted only by `provision state unprotect`.
    pub protect: bool,
    /// Forget instead of deleting.
    pub retain: bool,
    /// Fields whose changes are not ours to make.
    pub ignore: Vec<String>,
    /// Take a region, size or image that the catalogue does not list.
    pub allow_unknown: bool,
    /// A replacement makes the new one first.
    pub create_before_destroy: bool,
    /// Values whose change replaces the resource; references may stand among them.
    pub replace_when: Vec<Json>,
    /// Addresses it had before: what the state has there is this resource.
    pub moved_from: Vec<Address>,
    /// What must hold before anything is done to it.
    pub precondition: Vec<Condition>,
    /// What must hold when something was done to it.
    pub postcondition: Vec<Condition>,
}

/// A condition written in Nickel: a function of the resource that gives `true`, or a text that says what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The source of the function, for example `fun self => self.status == "running"`.
    pub condition: String,
    /// What is said when it gives `false`.
    #[serde(default)]
    pub message: Option<String>,
}

/// Names inside a resource that are not fields of the cloud.
pub const RESERVED: &[&str] = &["$type", "$key", "$provider", "lifecycle", "depends_on"];

const TOP: &[&str] = &["name", "resources", "providers", "outputs", "policies", "environments"];
const LIFECYCLE: &[&str] = &[
    "protect",
    "retain",
    "ignore",
    "allow_unknown",
    "create_before_destroy",
    "replace_when",
    "moved_from",
    "precondition",
    "postcondition",
];
/// Those that may be one where others are many.
const LISTS: &[&str] = &["ignore", "replace_when", "moved_from", "precondition", "postcondition"];

impl Declaration {
    /// `hetzner` of `hetzner.server`.
    pub fn provider(&self) -> &str {
        self.kind.split_once('.').map_or(self.kind.as_str(), |(provider, _)| provider)
    }

    /// `server` of `hetzner.server`.
    pub fn type_name(&self) -> &str {
        crate::type_name(&self.kind)
    }
}

impl Config {
    /// Reads evaluated data, collecting every problem of its shape.
    pub fn read(data: &Json) -> (Config, Vec<Problem>) {
        let mut config = Config::default();
        let mut problems = Vec::new();
        let Some(top) = data.as_object() else {
            problems.push(
                Problem::value(Code::ConfigInvalid, "an infrastructure is a record", &[])
                    .help("Give a record with `name` and `resources`."),
            );
            return (config, problems);
        };
        for key in top.keys().filter(|key| !TOP.contains(&key.as_str())) {
            problems.push(
                Problem::key(
                    Code::ConfigInvalid,
                    format!("unknown field `{key}` of an infrastructure"),
                    &[key.as_str().into()],
                )
                .help(provision_diagnostic::did_you_mean(key, TOP.iter().copied(), || {
                    format!("The fields are {}.", TOP.join(", "))
                })),
            );
        }
        match top.get("name").and_then(Json::as_str) {
            Some(name) if !name.is_empty() => config.name = name.to_owned(),
            _ => problems.push(
                Problem::value(Code::ConfigInvalid, "an infrastructure needs a `name`", &[])
                    .help("Add `name = \"shop\"`."),
            ),
        }
        config.policies = top.get("policies").and_then(Json::as_str).map(str::to_owned);
        config.read_accounts(top.get("providers"), &mut problems);
        if let Some(outputs) = top.get("outputs").filter(|value| !value.is_null()) {
            match outputs.as_object() {
                Some(map) => config.outputs = map.clone(),
                None => {
                    problems.push(Problem::value(Code::ConfigInvalid, "`outputs` is a record", &["outputs".into()]))
                }
            }
        }
        match top.get("resources") {
            // An absent one would mean to delete everything, which nobody says by leaving a word out.
            None | Some(Json::Null) => problems.push(
                Problem::value(Code::ConfigInvalid, "an infrastructure needs `resources`", &[])
                    .help("Add `resources = { … }`; an empty record deletes what is there."),
            ),
            Some(Json::Object(map)) => {
                for (name, value) in map {
                    config.read_entry(name, value, &mut problems);
                }
            }
            Some(_) => {
                problems.push(Problem::value(Code::ConfigInvalid, "`resources` is a record", &["resources".into()]));
            }
        }
        config.check_addresses(&mut problems);
        (config, problems)
    }

    fn read_accounts(&mut self, value: Option<&Json>, problems: &mut Vec<Problem>) {
        let Some(Json::Object(map)) = value else { return };
        for (name, settings) in map {
            let Some(settings) = settings.as_object() else {
                problems.push(Problem::value(
                    Code::ConfigInvalid,
                    format!("`providers.{name}` is a record"),
                    &["providers".into(), name.as_str().into()],
                ));
                continue;
            };
            let mut settings = settings.clone();
            let provider = match settings.shift_remove("$account") {
                Some(Json::String(provider)) => provider,
                _ => name.clone(),
            };
            self.accounts.insert(name.clone(), AccountConfig { provider, settings });
        }
    }

    fn read_entry(&mut self, name: &str, value: &Json, problems: &mut Vec<Problem>) {
        let path: Vec<Step> = vec!["resources".into(), name.into()];
        let Json::Array(members) = value else {
            self.read_resource(Address::new(name), value, path, problems);
            return;
        };
        for (index, member) in members.iter().enumerate() {
            let key = match member.get("$key").and_then(Json::as_str) {
                Some(key) => key.to_owned(),
                None => index.to_string(),
            };
            let mut path = path.clone();
            path.push(index.into());
            self.read_resource(Address::new(format!("{name}.{key}")), member, path, problems);
        }
    }

    fn read_resource(&mut self, address: Address, value: &Json, path: Vec<Step>, problems: &mut Vec<Problem>) {
        if !address.as_str().split('.').all(Address::valid_part) {
            problems.push(
                Problem::key(Code::PlanAddress, format!("`{address}` is not a valid address"), &path)
                    .help("Use lower-case letters, digits, `_` and `-`, starting with a letter."),
            );
        }
        let Some(map) = value.as_object() else {
            problems.push(
                Problem::value(Code::ConfigInvalid, format!("`{address}` is not a resource"), &path)
                    .help("Write it with a constructor, such as `p.hetzner.server & { … }`."),
            );
            return;
        };
        let Some(kind) = map.get("$type").and_then(Json::as_str) else {
            problems.push(
                Problem::value(Code::PlanUnknownType, format!("`{address}` has no type"), &path)
                    .help("Write it with a constructor, such as `p.hetzner.server & { … }`."),
            );
            return;
        };
        let lifecycle = read_lifecycle(map.get("lifecycle"), &path, problems);
        let mut depends_on = Vec::new();
        if let Some(Json::Array(items)) = map.get("depends_on") {
            depends_on.extend(items.iter().filter_map(Json::as_str).map(Address::new));
        }
        let provider = kind.split_once('.').map_or(kind, |(provider, _)| provider);
        let account = map.get("$provider").and_then(Json::as_str).unwrap_or(provider).to_owned();
        let fields = map
            .iter()
            .filter(|(key, value)| !RESERVED.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.resources.push(Declaration {
            address,
            kind: kind.to_owned(),
            account,
            fields,
            lifecycle,
            depends_on,
            deferred: Vec::new(),
            path,
        });
    }

    fn check_addresses(&self, problems: &mut Vec<Problem>) {
        let mut seen = std::collections::HashSet::new();
        for declaration in &self.resources {
            if !seen.insert(declaration.address.as_str()) {
                problems.push(
                    Problem::key(
                        Code::PlanAddress,
                        format!("the address `{}` is used twice", declaration.address),
                        &declaration.path,
                    )
                    .help("Give each member of a group its own `$key`."),
                );
            }
        }
    }
}

fn read_lifecycle(value: Option<&Json>, path: &[Step], problems: &mut Vec<Problem>) -> Lifecycle {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Lifecycle::default() };
    let mut at = path.to_vec();
    at.push("lifecycle".into());
    let Some(map) = value.as_object() else {
        problems.push(wrong_type(&at, "a record", "Write it as `lifecycle = { protect = true }`, for example."));
        return Lifecycle::default();
    };
    let mut known = Map::new();
    for (key, item) in map {
        let mut at = at.clone();
        at.push(key.as_str().into());
        if !LIFECYCLE.contains(&key.as_str()) {
            problems.push(unknown_field(&at, key, LIFECYCLE));
            continue;
        }
        let item = as_written(key, item);
        let before = problems.len();
        match key.as_str() {
            "precondition" | "postcondition" => check_conditions(&item, &at, problems),
            name => {
                let alone: Map = [(key.clone(), item.clone())].into_iter().collect();
                if serde_json::from_value::<Lifecycle>(Json::Object(alone)).is_err() {
                    let (expected, help) = match name {
                        "ignore" => ("a list of field names", "Write it as `ignore = [\"labels\"]`, for example."),
                        "moved_from" => {
                            ("an address or a list of them", "Write it as `moved_from = \"web\"`, for example.")
                        }
                        "replace_when" => (
                            "a value or a list of values",
                            "Write it as `replace_when = [p.ref \"net\" \"id\"]`, for example.",
                        ),
                        _ => ("`true` or `false`", "Write `true` or `false`."),
                    };
                    problems.push(wrong_type(&at, expected, help));
                }
            }
        }
        if problems.len() == before {
            known.insert(key.clone(), item);
        }
    }
    serde_json::from_value(Json::Object(known)).unwrap_or_default()
}

/// Looks at conditions one by one, each a record by now.
fn check_conditions(items: &Json, at: &[Step], problems: &mut Vec<Problem>) {
    const FORM: &str =
        "Write the text of a function, or `{ condition = \"fun self => …\", message = \"what is wrong\" }`.";
    const FIELDS: &[&str] = &["condition", "message"];
    let items = items.as_array().map_or(&[] as &[Json], Vec::as_slice);
    for (index, item) in items.iter().enumerate() {
        let mut at = at.to_vec();
        if items.len() > 1 {
            at.push(index.into());
        }
        let Some(map) = item.as_object() else {
            problems.push(wrong_type(&at, "a text or a record", FORM));
            continue;
        };
        for (key, value) in map {
            let mut at = at.clone();
            at.push(key.as_str().into());
            if !FIELDS.contains(&key.as_str()) {
                problems.push(unknown_field(&at, key, FIELDS));
            } else if !value.is_string() {
                problems.push(wrong_type(&at, "a text", FORM));
            }
        }
        if !map.contains_key("condition") {
            let message = format!("`{}` has no `condition`", crate::display_path(&at));
            problems.push(Problem::value(Code::PlanMissingField, message, &at).help(FORM));
        }
    }
}

fn wrong_type(at: &[Step], expected: &str, help: &str) -> Problem {
    let message = format!("`{}` is {expected}, and is given as something else", crate::display_path(at));
    Problem::value(Code::PlanType, message, at).help(help)
}

fn unknown_field(at: &[Step], key: &str, fields: &[&str]) -> Problem {
    let message = format!("unknown field `{}`", crate::display_path(at));
    Problem::key(Code::PlanUnknownField, message, at).help(provision_diagnostic::did_you_mean(
        key,
        fields.iter().copied(),
        || format!("The fields are {}.", fields.join(", ")),
    ))
}

/// One value stands for a list of one, and a condition's text for the whole condition.
fn as_written(key: &str, value: &Json) -> Json {
    if !LISTS.contains(&key) {
        return value.clone();
    }
    let items = match value {
        Json::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    match key {
        "precondition" | "postcondition" => items
            .into_iter()
            .map(|item| if item.is_string() { serde_json::json!({"condition": item}) } else { item })
            .collect(),
        _ => Json::Array(items),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn groups_and_keys_make_addresses() {
        let (config, problems) = Config::read(&json!({"name": "s", "resources": {
            "pool": [{"$type": "local.data"}, {"$type": "local.data", "$key": "blue"}], "web": {"$type": "local.data"}}}));
        assert_eq!(problems, vec![]);
        let addresses: Vec<&str> = config.resources.iter().map(|it| it.address.as_str()).collect();
        assert_eq!(addresses, ["pool.0", "pool.blue", "web"]);
    }

    #[test]
    fn every_mistake_is_reported() {
        let (_, problems) = Config::read(
            &json!({"nam": 1, "resources": {"Web": {"$type": "a.b", "lifecycle": {"protct": true}}, "x": 3}}),
        );
        let codes: Vec<Code> = problems.iter().map(|it| it.code).collect();
        assert_eq!(
            codes,
            [Code::ConfigInvalid, Code::ConfigInvalid, Code::PlanAddress, Code::PlanUnknownField, Code::ConfigInvalid]
        );
        assert_eq!(problems[3].help.as_deref(), Some("Did you mean `protect`?"));
    }
}
