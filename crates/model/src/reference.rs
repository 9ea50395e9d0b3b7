//! Owns references inside data: finding them, and putting values in their place. Where a secret is counts as one.

use crate::{Address, Json, Map, Step};
use provision_diagnostic::Code;

/// `{"$ref": {address, attribute}}` somewhere in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub address: Address,
    pub attribute: String,
    /// Where in the value it stands.
    pub path: Vec<Step>,
}

/// What resolving a value gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    pub value: Json,
    /// A part is not known until apply.
    pub unknown: bool,
    /// A part came from a secret.
    pub sensitive: bool,
}

/// Where a secret is, other than in the data itself: `{"$secret": {"age": "db"}}` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// An encrypted file of the project, and a dotted path into what it holds.
    Age { name: String, field: Option<String> },
    /// A file, relative to the project.
    File(String),
    /// What a program prints: its name and its arguments.
    Command(Vec<String>),
    /// An environment variable.
    Env(String),
    /// What the command `secret` of a Nushell module gives for a name: the module's folder, relative to the project.
    Module { folder: String, name: Option<String> },
}

/// The words that say where a secret is.
const KINDS: [&str; 5] = ["age", "file", "command", "env", "module"];

/// Whether a word is one of those but for one slip of the pen.
fn slip(word: &str) -> bool {
    !word.starts_with('$') && provision_diagnostic::nearest(word, KINDS).is_some()
}

/// How a source is written.
const SOURCE_FORM: &str = "Say where the secret is with `p.secret { age = \"NAME\" }` (and `field = \"a.b\"`), \
    `{ file = \"PATH\" }`, `{ command = [\"PROGRAM\", …] }`, `{ env = \"NAME\" }` or `{ module = \"FOLDER\" }` (and \
    `name = \"a/b\"`), and nothing beside it.";

impl SecretSource {
    /// Reads what a `$secret` holds: a record with a field `age`, `file`, `command`, `env` or `module` says where the secret
    /// is, and is `Some(None)` where it does not say it well. Anything else is the secret itself.
    pub fn read(inner: &Json) -> Option<Option<SecretSource>> {
        let map = match inner {
            Json::Null => return Some(None),
            inner => inner.as_object()?,
        };
        match KINDS.into_iter().find(|kind| map.contains_key(*kind)) {
            Some(kind) => Some(Self::of_kind(kind, map)),
            // A slip in the word must not make the record itself the secret.
            None => map.keys().all(|key| key == "field" || slip(key)).then_some(None),
        }
    }

    fn of_kind(kind: &str, map: &Map) -> Option<SecretSource> {
        let beside = match kind {
            "age" => "field",
            "module" => "name",
            kind => kind,
        };
        if map.keys().any(|key| key != kind && key != beside) {
            return None;
        }
        let text = |value: &Json| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let value = map.get(kind)?;
        match kind {
            "age" => {
                let field = match map.get("field").filter(|field| !field.is_null()) {
                    // `a..b` is a slip, and not the same as `a.b`.
                    Some(field) => Some(text(field).filter(|path| path.split('.').all(|part| !part.is_empty()))?),
                    None => None,
                };
                Some(SecretSource::Age { name: text(value)?, field })
            }
            "file" => Some(SecretSource::File(text(value)?)),
            "env" => Some(SecretSource::Env(text(value)?)),
            "module" => {
                let name = match map.get("name").filter(|name| !name.is_null()) {
                    Some(name) => Some(text(name)?),
                    None => None,
                };
                Some(SecretSource::Module { folder: text(value)?, name })
            }
            _ => {
                let words = value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
                let words: Vec<String> = words.collect::<Option<_>>()?;
                words.first().is_some_and(|program| !program.is_empty()).then_some(SecretSource::Command(words))
            }
        }
    }
}

/// Something that looks like a reference and is not of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the value it stands.
    pub path: Vec<Step>,
    /// A code of the closed list of `provision-diagnostic`.
    pub code: Code,
    /// What it should have been.
    pub what: &'static str,
    /// The next step.
    pub help: &'static str,
}

/// The address and attribute of a `$ref` record.
pub fn parse_ref(value: &Json) -> Option<(Address, String)> {
    let inner = value.as_object()?.get("$ref")?.as_object()?;
    Some((Address::new(inner.get("address")?.as_str()?), inner.get("attribute")?.as_str()?.to_owned()))
}

/// Walks a value in order; a visit that takes a value keeps the walk out of it.
pub(crate) fn walk(value: &Json, path: &mut Vec<Step>, take: &mut dyn FnMut(&Json, &[Step]) -> bool) {
    if take(value, path) {
        return;
    }
    match value {
        Json::Object(map) => {
            for (key, item) in map {
                path.push(Step::Field(key.clone()));
                walk(item, path, take);
                path.pop();
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(item, path, take);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Every `$ref` in a value, in order.
pub fn references(value: &Json) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some((address, attribute)) = parse_ref(value) else { return false };
        found.push(Reference { address, attribute, path: path.to_vec() });
        true
    });
    found
}

/// References that are not of their form.
pub fn malformed(value: &Json) -> Vec<Malformed> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some(map) = value.as_object() else { return false };
        let reference = (Code::PlanUnknownReference, "reference");
        let wrong = [
            (
                map.contains_key("$ref") && parse_ref(value).is_none(),
                reference,
                "To refer to something, write `p.ref \"address\" \"attribute\"`.",
            ),
            (
                map.get("$env").is_some_and(|name| !name.is_string()),
                reference,
                "To refer to something, write `p.env \"NAME\"`.",
            ),
            (
                map.get("$join").is_some_and(|parts| !parts.is_array()),
                reference,
                "To refer to something, write `p.join [\"text\", …]`.",
            ),
            (
                map.contains_key("$lookup") && crate::parse_lookup(value).is_none(),
                (Code::PlanLookup, "look-up"),
                "To look something up, write `p.lookup \"hetzner.image\" { name = \"debian-12\" } \"id\"`.",
            ),
            (
                map.get("$secret").and_then(SecretSource::read) == Some(None),
                (Code::SecretSource, "source of a secret"),
                SOURCE_FORM,
            ),
        ];
        let Some((_, (code, what), help)) = wrong.into_iter().find(|(wrong, ..)| *wrong) else { return false };
        found.push(Malformed { path: path.to_vec(), code, what, help });
        true
    });
    found
}

/// The environment variables a value stands on, with where it names them.
pub fn variables(value: &Json) -> Vec<(Vec<Step>, String)> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some(name) = value.get("$env").and_then(Json::as_str) else { return false };
        found.push((path.to_vec(), name.to_owned()));
        true
    });
    found.extend(secret_sources(value).into_iter().filter_map(|(path, source)| match source {
        SecretSource::Env(name) => Some((path, name)),
        _ => None,
    }));
    found
}

/// The sources of secrets a value stands on, with where it names them.
pub fn secret_sources(value: &Json) -> Vec<(Vec<Step>, SecretSource)> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some(Some(source)) = value.get("$secret").and_then(SecretSource::read) else { return false };
        let kind = match source {
            SecretSource::Age { .. } => "age",
            SecretSource::File(_) => "file",
            SecretSource::Command(_) => "command",
            SecretSource::Env(_) => "env",
            SecretSource::Module { .. } => "module",
        };
        let mut at = path.to_vec();
        at.extend(["$secret".into(), kind.into()]);
        found.push((at, source));
        true
    });
    found
}

/// The marker that stands for a value not known until apply.
pub fn unknown() -> Json {
    let mut map = Map::new();
    map.insert("$unknown".into(), Json::Bool(true));
    Json::Object(map)
}

/// Gives a resource's attribute and whether it is sensitive; `Ok(None)` when it is not known yet.
pub type AttributeOf<'a, E> = dyn Fn(&Address, &str) -> Result<Option<(Json, bool)>, E> + 'a;

/// Gives what is outside the configuration and the state, or an error that names it.
pub trait Sources<E> {
    /// An environment variable.
    fn env(&self, name: &str) -> Result<Json, E>;

    /// A secret, from where it is.
    fn secret(&self, source: &SecretSource) -> Result<Json, E>;
}

/// Puts values in the place of references. `attribute` gives a resource's attribute, `Ok(None)` when it is not known
/// yet; `sources` gives the rest.
pub fn resolve<E>(value: &Json, attribute: &AttributeOf<'_, E>, sources: &dyn Sources<E>) -> Result<Resolution, E> {
    if let Some((address, name)) = parse_ref(value) {
        return Ok(match attribute(&address, &name)? {
            Some((value, sensitive)) => Resolution { value, unknown: false, sensitive },
            None => Resolution { value: unknown(), unknown: true, sensitive: false },
        });
    }
    match value {
        Json::Object(map) => {
            if let Some(name) = map.get("$env").and_then(Json::as_str) {
                return Ok(Resolution { value: sources.env(name)?, unknown: false, sensitive: false });
            }
            if let Some(inner) = map.get("$secret") {
                if let Some(Some(source)) = SecretSource::read(inner) {
                    return Ok(Resolution { value: sources.secret(&source)?, unknown: false, sensitive: true });
                }
                return Ok(Resolution { sensitive: true, ..resolve(inner, attribute, sources)? });
            }
            if let Some(Json::Array(parts)) = map.get("$join") {
                let mut out = Resolution { value: Json::Null, unknown: false, sensitive: false };
                let mut text = String::new();
                for part in parts {
                    let part = resolve(part, attribute, sources)?;
                    out.unknown |= part.unknown;
                    out.sensitive |= part.sensitive;
                    match part.value {
                        Json::String(piece) => text.push_str(&piece),
                        other => text.push_str(&other.to_string()),
                    }
                }
                out.value = if out.unknown { unknown() } else { Json::String(text) };
                return Ok(out);
            }
            let mut out = Resolution { value: Json::Null, unknown: false, sensitive: false };
            let mut resolved = Map::new();
            for (key, item) in map {
                let item = resolve(item, attribute, sources)?;
                out.unknown |= item.unknown;
                out.sensitive |= item.sensitive;
                resolved.insert(key.clone(), item.value);
            }
            out.value = Json::Object(resolved);
            Ok(out)
        }
        Json::Array(items) => {
            let mut out = Resolution { value: Json::Null, unknown: false, sensitive: false };
            let mut resolved = Vec::with_capacity(items.len());
            for item in items {
                let item = resolve(item, attribute, sources)?;
                out.unknown |= item.unknown;
                out.sensitive |= item.sensitive;
                resolved.push(item.value);
            }
            out.value = Json::Array(resolved);
            Ok(out)
        }
        scalar => Ok(Resolution { value: scalar.clone(), unknown: false, sensitive: false }),
    }
}

/// A value as far as those may see it from whom its secrets are kept: these stand in it as not known.
pub fn without_secrets<E>(value: &Json, attribute: &AttributeOf<'_, E>, sources: &dyn Sources<E>) -> Result<Json, E> {
    let open = |address: &Address, name: &str| Ok(attribute(address, name)?.filter(|(_, sensitive)| !sensitive));
    resolve(&covered(value), &open, sources).map(|resolved| resolved.value)
}

fn covered(value: &Json) -> Json {
    match value {
        Json::Object(map) if map.contains_key("$secret") => unknown(),
        // A text with a secret in it is one.
        Json::Object(map) if map.contains_key("$join") && has_secret(value) => unknown(),
        Json::Object(map) => map.iter().map(|(key, item)| (key.clone(), covered(item))).collect::<Map>().into(),
        Json::Array(items) => items.iter().map(covered).collect::<Vec<_>>().into(),
        scalar => scalar.clone(),
    }
}

/// Whether a value is sealed, as a state keeps what is secret.
pub fn is_sealed(value: &Json) -> bool {
    value.get("$sealed").is_some()
}

/// The secret texts of a secret value: of an expression, such as a `$join`, those that it names as secret; of anything else all
/// of it, numbers of six digits and more too.
pub fn secret_texts(value: &Json) -> Vec<String> {
    let mut found = Vec::new();
    match ["$secret", "$ref", "$join", "$env"].iter().any(|word| has_word(value, word)) {
        true => walk(value, &mut Vec::new(), &mut |value, _| {
            let Some(inner) = value.get("$secret") else { return false };
            if SecretSource::read(inner).is_none() {
                leaves(inner, &mut found);
            }
            true
        }),
        false => leaves(value, &mut found),
    }
    found
}

fn has_word(value: &Json, word: &str) -> bool {
    match value {
        Json::Object(map) => map.contains_key(word) || map.values().any(|item| has_word(item, word)),
        Json::Array(items) => items.iter().any(|item| has_word(item, word)),
        _ => false,
    }
}

fn leaves(value: &Json, out: &mut Vec<String>) {
    match value {
        Json::String(text) => out.push(text.clone()),
        Json::Number(number) if number.to_string().len() >= 6 => out.push(number.to_string()),
        Json::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Json::Object(map) => map.values().for_each(|item| leaves(item, out)),
        _ => {}
    }
}

/// Whether a value holds a `$secret` anywhere.
pub fn has_secret(value: &Json) -> bool {
    has_word(value, "$secret")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn get(address: &Address, name: &str) -> Result<Option<(Json, bool)>, String> {
        match (address.as_str(), name) {
            ("net", "id") => Ok(Some((json!(7), false))),
            ("web", "ip") => Ok(None),
            _ => Err(format!("{address}.{name}")),
        }
    }

    /// What is outside, by its name.
    struct Outside;

    impl Sources<String> for Outside {
        fn env(&self, name: &str) -> Result<Json, String> {
            Ok(json!(format!("<{name}>")))
        }

        fn secret(&self, source: &SecretSource) -> Result<Json, String> {
            match source {
                SecretSource::Age { name, field } => Ok(json!({"name": name, "field": field})),
                other => Err(format!("{other:?}")),
            }
        }
    }

    #[test]
    fn joins_and_unknowns() {
        let value = json!({"a": [{"$ref": {"address": "net", "attribute": "id"}}],
            "b": {"$join": ["n", {"$ref": {"address": "net", "attribute": "id"}}, {"$env": "X"}]}});
        let out = resolve(&value, &get, &Outside).unwrap();
        assert_eq!(out.value, json!({"a": [7], "b": "n7<X>"}));
        assert!(!out.unknown);
        let later = json!({"$join": ["http://", {"$ref": {"address": "web", "attribute": "ip"}}]});
        assert!(resolve(&later, &get, &Outside).unwrap().unknown);
        assert_eq!(references(&value).len(), 2);
    }

    #[test]
    fn malformed_references_and_variables_are_found_where_they_stand() {
        let value =
            json!({"a": [{"$ref": "net"}, {"$env": "X"}], "b": {"$join": ["x", {"$env": "Y"}]}, "c": {"$join": "x"}});
        let paths: Vec<Vec<Step>> = malformed(&value).into_iter().map(|wrong| wrong.path).collect();
        assert_eq!(paths, [vec!["a".into(), 0.into()], vec![Step::from("c")]]);
        assert_eq!(
            variables(&value),
            [
                (vec!["a".into(), 1.into()], "X".to_owned()),
                (vec!["b".into(), "$join".into(), 1.into()], "Y".to_owned())
            ]
        );
    }

    #[test]
    fn a_secret_comes_from_where_it_is_said_to_be_or_is_what_is_written() {
        let value = json!({"a": {"$secret": {"age": "db", "field": "x.y"}}, "b": {"$secret": {"env": "X"}},
            "c": [{"$secret": {"file": "f"}}, {"$secret": {"command": ["pass", "show"]}}],
            "d": {"$secret": {"user": "u"}}, "e": {"$secret": {"$env": "Y"}}});
        assert!(malformed(&value).is_empty());
        let kinds: Vec<String> = secret_sources(&value).iter().map(|(path, _)| crate::display_path(path)).collect();
        assert_eq!(kinds, ["a.$secret.age", "b.$secret.env", "c.0.$secret.file", "c.1.$secret.command"]);
        let names: Vec<String> = variables(&value).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["Y", "X"]);
        let out = resolve(&value["a"], &get, &Outside).unwrap();
        assert!(out.sensitive && out.value == json!({"name": "db", "field": "x.y"}));
        let out = resolve(&value["d"], &get, &Outside).unwrap();
        assert!(out.sensitive && out.value == json!({"user": "u"}));
        assert_eq!(resolve(&value["c"][0], &get, &Outside).unwrap_err(), "File(\"f\")");
    }

    #[test]
    fn a_source_that_is_not_of_its_form_is_told() {
        for wrong in [
            json!({"age": 3}),
            json!({"age": ""}),
            json!({"age": "db", "fild": "x"}),
            json!({"age": "db", "field": "x..y"}),
            json!({"age": "db", "file": "x"}),
            json!({"file": "x", "field": "y"}),
            json!({"command": "pass show db"}),
            json!({"command": []}),
            json!({"command": ["pass", 3]}),
            json!({"env": {"$env": "X"}}),
            json!({"module": 3}),
            json!({"module": "vault", "name": ""}),
            json!({"module": "vault", "field": "x"}),
            json!({"agee": "db"}),
            json!({"fil": "x"}),
            json!({"field": "x"}),
            json!({}),
            json!(null),
        ] {
            let found = malformed(&json!({"a": {"$secret": wrong.clone()}}));
            assert_eq!(found.len(), 1, "{wrong}");
            assert_eq!(found[0].code, Code::SecretSource, "{wrong}");
            assert_eq!(found[0].path, [Step::from("a")], "{wrong}");
        }
    }
}
