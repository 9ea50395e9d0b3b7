//! Owns the Nickel text of a resource that was not written by hand: its fields, and references where a value is the id of
//! another resource. Pure.

use provision_model::{Address, FieldSpec, Json, Map, Reference, references};
use provision_nickel::to_ncl;
use provision_registry::TypeSpec;
use std::collections::{HashMap, HashSet};

/// Lists and records that fit are written on one line.
const WIDTH: usize = 90;

/// How far the text is indented: it goes into `resources`.
const INDENT: usize = 4;

/// An id shorter than this, or without a digit, may as well be any other word.
const TELLING: usize = 7;

/// The ids of resources and how to refer to them.
#[derive(Default)]
pub struct Ids {
    by_id: HashMap<String, Vec<Owner>>,
    /// The types and attributes that examples refer to: of no others are the values kept.
    wanted: HashSet<(String, String)>,
    /// Who has a value, by type, attribute and value.
    by_value: HashMap<(String, String, String), Vec<Address>>,
}

/// A resource whose fields may refer to others: the examples in its manifest tell to what.
pub struct Referring<'a> {
    pub address: &'a Address,
    pub provider: &'a str,
    pub spec: &'a TypeSpec,
}

struct Owner {
    address: Address,
    provider: String,
    type_name: String,
    attribute: String,
}

impl Ids {
    /// What resources of these types may refer to, none of it known yet.
    pub fn of<'a>(specs: impl Iterator<Item = &'a TypeSpec>) -> Self {
        let wanted = specs.flat_map(|spec| {
            let examples = spec.fields.values().filter_map(example);
            examples.flat_map(references).filter_map(|it| Some((needed(spec, &it)?.to_owned(), it.attribute)))
        });
        Self { wanted: wanted.collect(), ..Self::default() }
    }

    /// Adds a resource: its id, where one of its attributes gives it, and all that it has (`attributes`: what the cloud
    /// shows of it, its fields too).
    pub fn add(&mut self, address: &Address, kind: &str, spec: &TypeSpec, id: &str, attributes: &Map) {
        for (_, name) in self.wanted.iter().filter(|(of, _)| of == kind) {
            if let Some(value) = attributes.get(name).and_then(text) {
                self.by_value.entry((kind.to_owned(), name.clone(), value)).or_default().push(address.clone());
            }
        }
        let gives = |name: &str| attributes.get(name).and_then(text).is_some_and(|text| text == id);
        let names = std::iter::once("id").chain(spec.attributes.keys().map(String::as_str));
        let Some(attribute) = names.filter(|name| spec.attributes.contains_key(*name)).find(|name| gives(name)) else {
            return;
        };
        let (provider, type_name) = kind.split_once('.').unwrap_or((kind, ""));
        self.by_id.entry(id.to_owned()).or_default().push(Owner {
            address: address.clone(),
            provider: provider.to_owned(),
            type_name: type_name.to_owned(),
            attribute: attribute.to_owned(),
        });
    }

    /// Puts references into a field; gives the addresses they refer to.
    pub fn refer(&self, from: &Referring<'_>, field: &str, value: &mut Json, found: &mut Vec<Address>) {
        let rule = from.spec.fields.get(field);
        // What is set after the creation can refer to the resource itself.
        let others = rule.is_none_or(|rule| !rule.late);
        self.refer_like(from, field, value, rule.and_then(example), others, found);
    }

    fn refer_like(
        &self,
        from: &Referring<'_>,
        field: &str,
        value: &mut Json,
        example: Option<&Json>,
        others: bool,
        found: &mut Vec<Address>,
    ) {
        match value {
            Json::Array(items) => {
                for item in items {
                    self.refer_like(from, field, item, example.and_then(|example| example.get(0)), others, found);
                }
            }
            Json::Object(map) => {
                for (name, item) in map {
                    self.refer_like(from, name, item, example.and_then(|example| example.get(name)), others, found);
                }
            }
            scalar => {
                let Some(text) = text(scalar) else { return };
                let meant = example.and_then(|example| self.meant(from, example, &text, others));
                let owner =
                    || self.owner(from, field, &text, others).map(|it| (it.address.clone(), it.attribute.clone()));
                let Some((address, attribute)) = meant.or_else(owner) else { return };
                *scalar = serde_json::json!({"$ref": {"address": address.as_str(), "attribute": attribute}});
                if address != *from.address && !found.contains(&address) {
                    found.push(address);
                }
            }
        }
    }

    /// The one resource of the type that the example refers to whose attribute has this value.
    fn meant(&self, from: &Referring<'_>, example: &Json, value: &str, others: bool) -> Option<(Address, String)> {
        let of = references(example).into_iter().find(|it| it.path.is_empty())?;
        let kind = needed(from.spec, &of)?;
        match self.by_value.get(&(kind.to_owned(), of.attribute.clone(), value.to_owned()))?.as_slice() {
            [one] if !others || one != from.address => Some((one.clone(), of.attribute)),
            _ => None,
        }
    }

    /// A number may be anything: it is an id where the field is called after the type. Other ids are told by their look.
    fn owner(&self, from: &Referring<'_>, field: &str, id: &str, others: bool) -> Option<&Owner> {
        let number = id.chars().all(|c| c.is_ascii_digit());
        let telling = !number && id.len() >= TELLING && id.contains(|c: char| c.is_ascii_digit());
        self.by_id.get(id)?.iter().find(|owner| {
            let named = owner.provider == from.provider && field.contains(&owner.type_name);
            (!others || owner.address != *from.address) && (telling || named)
        })
    }
}

/// A field and what is said about it in the line above; what is said alone where the name is empty.
pub struct Line {
    pub name: String,
    pub value: Json,
    pub note: Option<String>,
}

/// `web = p.hetzner.server & { … },`, to be put into `resources`. A member of a group is written as a group of one.
pub fn nickel(address: &Address, kind: &str, lines: &[Line]) -> String {
    let (group, key) = match address.as_str().split_once('.') {
        Some((group, key)) => (group, Some(key)),
        None => (address.as_str(), None),
    };
    let indent = INDENT + if key.is_some() { 2 } else { 0 };
    let mut body = String::new();
    if let Some(key) = key {
        body += &format!("{:indent$}  {} = {},\n", "", name("$key"), string(key, indent));
    }
    for line in lines {
        if let Some(note) = &line.note {
            body += &format!("{:indent$}  # {note}\n", "");
        }
        if line.name.is_empty() {
            continue;
        }
        body += &format!("{:indent$}  {} = {},\n", "", path(&line.name), value(&line.value, indent + 2));
    }
    let made = format!("p.{kind} & {{\n{body}{:indent$}}}", "");
    match key {
        None => format!("{:INDENT$}{} = {made},\n", "", name(group)),
        Some(_) => format!("{:INDENT$}{} = [\n{:indent$}{made},\n{:INDENT$}],\n", "", name(group), "", ""),
    }
}

/// What a field is tried with: it tells to what the field refers.
fn example(field: &FieldSpec) -> Option<&Json> {
    field.example.as_ref().or(field.other.as_ref())
}

/// The type of what an example refers to.
fn needed<'a>(spec: &'a TypeSpec, reference: &Reference) -> Option<&'a str> {
    spec.needs.get(reference.address.as_str())?["$type"].as_str()
}

fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `lifecycle.ignore` stays a path; what begins with `$` is one name whatever it holds.
fn path(text: &str) -> String {
    match text.split_once('.') {
        Some((first, rest)) if !text.starts_with('$') => format!("{}.{}", name(first), name(rest)),
        _ => name(text),
    }
}

/// A name as Nickel writes it, quoted where it must be.
fn name(name: &str) -> String {
    let mut one = Map::new();
    one.insert(name.to_owned(), Json::Null);
    let written = to_ncl(&Json::Object(one));
    written.strip_prefix("{\n  ").and_then(|rest| rest.strip_suffix(" = null,\n}\n")).unwrap_or(name).to_owned()
}

/// A text as Nickel writes it; the lines of a text of several are indented with it.
fn string(text: &str, indent: usize) -> String {
    let written = to_ncl(&Json::from(text));
    let mut lines = written.trim_end().lines();
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out += &format!("{:indent$}{line}", "");
        }
    }
    out
}

fn value(data: &Json, indent: usize) -> String {
    if let Some(short) = inline(data).filter(|short| indent + short.len() <= WIDTH) {
        return short;
    }
    match data {
        Json::Array(items) => {
            let lines: String =
                items.iter().map(|item| format!("{:indent$}  {},\n", "", value(item, indent + 2))).collect();
            format!("[\n{lines}{:indent$}]", "")
        }
        Json::Object(map) if data.get("$ref").is_none() => {
            let lines: String = map
                .iter()
                .map(|(key, item)| format!("{:indent$}  {} = {},\n", "", name(key), value(item, indent + 2)))
                .collect();
            format!("{{\n{lines}{:indent$}}}", "")
        }
        Json::String(text) => string(text, indent),
        other => inline(other).unwrap_or_default(),
    }
}

/// On one line; `None` for what holds a text of several.
fn inline(data: &Json) -> Option<String> {
    Some(match data {
        Json::String(text) => Some(string(text, 0)).filter(|text| !text.contains('\n'))?,
        Json::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Option<Vec<_>>>()?.join(", ")),
        Json::Object(map) if map.is_empty() => "{}".to_owned(),
        Json::Object(map) => match data.get("$ref") {
            Some(reference) => {
                let part = |name: &str| string(reference.get(name).and_then(Json::as_str).unwrap_or_default(), 0);
                format!("p.ref {} {}", part("address"), part("attribute"))
            }
            None => {
                let parts = map.iter().map(|(key, item)| Some(format!("{} = {}", name(key), inline(item)?)));
                format!("{{ {} }}", parts.collect::<Option<Vec<_>>>()?.join(", "))
            }
        },
        scalar => scalar.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_nickel::{Evaluator, Request, Source};
    use provision_registry::Registry;
    use serde_json::json;

    fn line(name: &str, value: Json) -> Line {
        Line { name: name.to_owned(), value, note: None }
    }

    fn evaluated(resources: &str) -> Json {
        let evaluator = Evaluator::default();
        let registry = Registry::load(None, None, &evaluator).unwrap();
        let text = format!(
            "let p = import \"provision.ncl\" in\n{{\n  name = \"s\",\n  resources = {{\n{resources}  }},\n}} | p.Infrastructure\n"
        );
        let source = Source::Text { name: "t.ncl".into(), folder: "/".into(), text: text.clone() };
        let request = Request { sources: vec![source], library: Some(registry.library()), ..Request::default() };
        let evaluated = evaluator.eval(&request).unwrap_or_else(|failure| panic!("{failure}\n{text}"));
        evaluated.value["resources"].clone()
    }

    #[test]
    fn what_is_written_evaluates_to_what_was_meant() {
        let reference = json!({"$ref": {"address": "net", "attribute": "id"}});
        let labels = json!({"team": "a \"b\" \\ %{c}", "hetzner.cloud/x": "1", "let": "2"});
        let lines = [
            line("name", json!("old-web")),
            line("server_type", json!("cx23")),
            line("image", json!("debian-12")),
            line("networks", json!([reference])),
            line("labels", labels.clone()),
            line("user_data", json!("#cloud-config\n\npackages: [a]")),
            Line { note: Some("Not shown.".into()), ..line("lifecycle.ignore", json!(["image"])) },
        ];
        let text = nickel(&Address::new("old-web"), "hetzner.server", &lines);
        assert!(text.starts_with("    old-web = p.hetzner.server & {\n      name = \"old-web\",\n"), "{text}");
        assert!(text.contains("      networks = [p.ref \"net\" \"id\"],\n"), "{text}");
        assert!(text.contains("= m%\"\n        #cloud-config\n\n        packages: [a]\n      \"%,\n"), "{text}");
        assert!(text.contains("      # Not shown.\n      lifecycle.ignore = [\"image\"],\n    },\n"), "{text}");
        let found = evaluated(&text);
        assert_eq!(found["old-web"]["$type"], "hetzner.server");
        assert_eq!(found["old-web"]["labels"], labels);
        assert_eq!(found["old-web"]["networks"], json!([reference]));
        assert_eq!(found["old-web"]["user_data"], "#cloud-config\n\npackages: [a]");
        assert_eq!(found["old-web"]["lifecycle"], json!({"ignore": ["image"]}));
    }

    #[test]
    fn a_member_of_a_group_has_its_key_and_long_lists_their_lines() {
        let rule = json!({"direction": "in", "protocol": "tcp", "port": "443", "source_ips": ["0.0.0.0/0", "::/0"]});
        let text = nickel(
            &Address::new("pool.blue"),
            "hetzner.firewall",
            &[line("rules", json!([rule.clone(), rule.clone()]))],
        );
        assert!(
            text.starts_with("    pool = [\n      p.hetzner.firewall & {\n        \"$key\" = \"blue\",\n"),
            "{text}"
        );
        let found = evaluated(&text);
        assert_eq!(found["pool"][0]["$key"], "blue");
        assert_eq!(found["pool"][0]["rules"], json!([rule.clone(), rule]));
    }

    #[test]
    fn ids_become_references_and_other_values_stay() {
        let evaluator = Evaluator::default();
        let registry = Registry::load(None, None, &evaluator).unwrap();
        let mut ids = Ids::default();
        let mut add = |address: &str, kind: &str, id: Json| {
            let (_, spec) = registry.type_of(kind).unwrap();
            let attributes: Map = [("id".to_owned(), id.clone())].into_iter().collect();
            ids.add(&Address::new(address), kind, spec, &text(&id).unwrap(), &attributes);
        };
        add("net", "hetzner.network", json!(20));
        add("vpc", "aws.vpc", json!("vpc-0123456789"));
        let (_, spec) = registry.type_of("hetzner.server").unwrap();
        let own = Address::new("web");
        let from = Referring { address: &own, provider: "hetzner", spec };
        let mut fields = json!({"networks": [20, 21], "size": 20, "vpc_id": "vpc-0123456789", "labels": {"a": "20"}});
        let mut found = Vec::new();
        for (field, value) in fields.as_object_mut().unwrap() {
            ids.refer(&from, field, value, &mut found);
        }
        let reference = |address: &str| json!({"$ref": {"address": address, "attribute": "id"}});
        assert_eq!(
            fields,
            json!({"networks": [reference("net"), 21], "size": 20, "vpc_id": reference("vpc"), "labels": {"a": "20"}})
        );
        assert_eq!(found, [Address::new("net"), Address::new("vpc")]);
        let mut own_id = json!("vpc-0123456789");
        let vpc = Address::new("vpc");
        ids.refer(&Referring { address: &vpc, provider: "aws", spec }, "vpc_id", &mut own_id, &mut found);
        assert_eq!(own_id, "vpc-0123456789");
    }

    #[test]
    fn what_the_example_of_a_field_refers_to_its_value_does_too() {
        let evaluator = Evaluator::default();
        let registry = Registry::load(None, None, &evaluator).unwrap();
        let (_, spec) = registry.type_of("aws.instance").unwrap();
        let mut ids = Ids::of(std::iter::once(spec));
        let mut add = |address: &str, kind: &str, shown: Json| {
            let (_, spec) = registry.type_of(kind).unwrap();
            ids.add(&Address::new(address), kind, spec, "", shown.as_object().unwrap());
        };
        add("me", "aws.key_pair", json!({"key_name": "me"}));
        add("twice", "aws.key_pair", json!({"key_name": "twice"}));
        add("again", "aws.key_pair", json!({"key_name": "twice"}));
        add("me2", "aws.vpc", json!({"key_name": "me"}));
        let own = Address::new("web");
        let refer = |field: &str, mut value: Json| {
            ids.refer(&Referring { address: &own, provider: "aws", spec }, field, &mut value, &mut Vec::new());
            value
        };
        assert_eq!(refer("key_name", json!("me")), json!({"$ref": {"address": "me", "attribute": "key_name"}}));
        assert_eq!(refer("key_name", json!("twice")), json!("twice"));
        assert_eq!(refer("image_id", json!("me")), json!("me"));
    }
}
