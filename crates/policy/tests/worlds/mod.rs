//! Owns random small worlds: a schema, entities, policies and questions that exercise what Cedar has.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// The schema of every world.
pub const SCHEMA: &str = r#"
entity Group in [Group];
entity User in [Group] { level: Long, name: String, home?: String, manager?: User, roles: Set<String> } tags String;
entity Folder in [Folder] { owner: User, public: Bool };
entity Doc in [Folder] {
  owner: User, size: Long, labels: Set<String>, public: Bool, meta: { kind: String, score?: Long }, editors: Set<User>
};
action write;
action view appliesTo { principal: User, resource: [Doc, Folder], context: Asked };
action edit, delete in [write] appliesTo { principal: User, resource: [Doc, Folder], context: Asked };
type Asked = { mfa: Bool, hour: Long, ip: ipaddr, at: datetime, cost: decimal, "for": duration, note?: String };
"#;

/// Names that entities and conditions share, so that conditions hold now and then.
const WORDS: [&str; 4] = ["red", "green", "blue", "a \"quoted\" one"];

/// Entities and policies, from a seed.
pub struct World {
    rng: StdRng,
    /// Cedar text.
    pub policies: String,
    /// Cedar JSON rows.
    pub entities: Value,
}

impl World {
    /// Where `careless`, conditions may read attributes that are not there.
    pub fn new(seed: u64, count: usize, careless: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let entities = entities(&mut rng);
        let mut write = Writer { rng: &mut rng, careless };
        let policies = (0..count).map(|at| write.policy(at)).collect();
        World { rng, policies, entities }
    }

    /// The uids of one type.
    pub fn uids(&self, kind: &str) -> Vec<String> {
        let rows = self.entities.as_array().unwrap().iter();
        rows.filter(|row| row["uid"]["type"] == kind).map(|row| format!("{kind}::{}", row["uid"]["id"])).collect()
    }

    /// A question in the form of a row.
    pub fn question(&mut self) -> Value {
        let kind = if self.rng.random_bool(0.7) { "Doc" } else { "Folder" };
        // Now and then about somebody or something unknown.
        let strange = self.rng.random_bool(0.03);
        let (users, things) = (self.uids("User"), self.uids(kind));
        let resource = if strange { format!("{kind}::\"nowhere\"") } else { pick(&mut self.rng, &things) };
        json!({
            "principal": pick(&mut self.rng, &users),
            "action": pick(&mut self.rng, &["view", "edit", "delete"].map(|name| format!("Action::\"{name}\""))),
            "resource": resource,
            "context": context(&mut self.rng),
        })
    }
}

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from.choose(rng).unwrap().clone()
}

fn uid(kind: &str, at: usize) -> Value {
    json!({"type": kind, "id": format!("{}{at}", kind.to_lowercase())})
}

fn entity_of(kind: &str, at: usize) -> Value {
    json!({"__entity": uid(kind, at)})
}

fn call(function: &str, arg: &str) -> Value {
    json!({"__extn": {"fn": function, "arg": arg}})
}

fn words(rng: &mut StdRng) -> Vec<&'static str> {
    WORDS.into_iter().filter(|_| rng.random_bool(0.4)).collect()
}

fn context(rng: &mut StdRng) -> Value {
    let mut context = json!({
        "mfa": rng.random_bool(0.5),
        "hour": rng.random_range(0..24),
        "ip": call("ip", pick(rng, &["10.0.0.7", "10.1.2.3", "192.168.1.1", "127.0.0.1", "::1"])),
        "at": call("datetime", pick(rng, &["2026-01-01", "2026-06-15T12:00:00Z", "2025-12-31T23:59:59.999Z"])),
        "cost": call("decimal", pick(rng, &["1.5", "0.0001", "-2.25", "10.0"])),
        "for": call("duration", pick(rng, &["1h", "90m", "2d", "-5s"])),
    });
    if rng.random_bool(0.5) {
        context["note"] = json!(pick(rng, &WORDS));
    }
    context
}

fn entities(rng: &mut StdRng) -> Value {
    let mut rows = Vec::new();
    let some = |rng: &mut StdRng, kind: &str, below: usize| -> Vec<Value> {
        (0..below).filter(|_| rng.random_bool(0.4)).map(|at| uid(kind, at)).collect()
    };
    for at in 0..3 {
        rows.push(json!({"uid": uid("Group", at), "attrs": {}, "parents": some(rng, "Group", at)}));
    }
    for at in 0..4 {
        let mut attrs = json!({
            "level": rng.random_range(0..4), "name": pick(rng, &WORDS), "roles": words(rng),
        });
        if rng.random_bool(0.5) {
            attrs["home"] = json!(pick(rng, &WORDS));
        }
        if rng.random_bool(0.5) {
            attrs["manager"] = entity_of("User", rng.random_range(0..4));
        }
        let tags: serde_json::Map<String, Value> =
            words(rng).into_iter().map(|name| (name.to_owned(), json!(pick(rng, &WORDS)))).collect();
        rows.push(json!({"uid": uid("User", at), "attrs": attrs, "parents": some(rng, "Group", 3), "tags": tags}));
    }
    for at in 0..3 {
        let attrs = json!({"owner": entity_of("User", rng.random_range(0..4)), "public": rng.random_bool(0.5)});
        rows.push(json!({"uid": uid("Folder", at), "attrs": attrs, "parents": some(rng, "Folder", at)}));
    }
    for at in 0..4 {
        let mut meta = json!({"kind": pick(rng, &WORDS)});
        if rng.random_bool(0.5) {
            meta["score"] = json!(rng.random_range(0..4));
        }
        let editors: Vec<Value> = (0..4).filter(|_| rng.random_bool(0.3)).map(|at| entity_of("User", at)).collect();
        let attrs = json!({
            "owner": entity_of("User", rng.random_range(0..4)), "size": rng.random_range(0..4), "labels": words(rng),
            "public": rng.random_bool(0.5), "meta": meta, "editors": editors,
        });
        rows.push(json!({"uid": uid("Doc", at), "attrs": attrs, "parents": some(rng, "Folder", 3)}));
    }
    Value::Array(rows)
}

/// Writes policies as text.
struct Writer<'a> {
    rng: &'a mut StdRng,
    careless: bool,
}

impl Writer<'_> {
    fn pick(&mut self, from: &[&str]) -> String {
        pick(self.rng, from).to_owned()
    }

    fn word(&mut self) -> String {
        json!(pick(self.rng, &WORDS)).to_string()
    }

    fn policy(&mut self, at: usize) -> String {
        let effect = if self.rng.random_bool(0.7) { "permit" } else { "forbid" };
        let principal = match self.rng.random_range(0..6) {
            0 | 1 => "principal".to_owned(),
            2 => format!("principal == User::\"user{}\"", self.rng.random_range(0..4)),
            3 => format!("principal in Group::\"group{}\"", self.rng.random_range(0..3)),
            4 => "principal is User".to_owned(),
            _ => format!("principal is User in Group::\"group{}\"", self.rng.random_range(0..3)),
        };
        let action = self.pick(&[
            "action",
            "action == Action::\"view\"",
            "action in Action::\"write\"",
            "action in [Action::\"view\", Action::\"delete\"]",
        ]);
        let (resource, doc) = match self.rng.random_range(0..6) {
            0 => ("resource".to_owned(), false),
            1 => ("resource is Folder".to_owned(), false),
            2 => (format!("resource in Folder::\"folder{}\"", self.rng.random_range(0..3)), false),
            3 => (format!("resource == Doc::\"doc{}\"", self.rng.random_range(0..4)), true),
            4 => (format!("resource is Doc in Folder::\"folder{}\"", self.rng.random_range(0..3)), true),
            _ => ("resource is Doc".to_owned(), true),
        };
        let mut text = String::new();
        if self.rng.random_bool(0.3) {
            text += &format!("@id(\"named {at}\")\n");
        }
        text += &format!("{effect}({principal}, {action}, {resource})");
        for _ in 0..self.rng.random_range(0..3) {
            let kind = self.pick(&["when", "unless"]);
            text += &format!("\n{kind} {{ {} }}", self.condition(doc, 2));
        }
        text + ";\n"
    }

    fn condition(&mut self, doc: bool, depth: usize) -> String {
        if depth > 0 && self.rng.random_bool(0.6) {
            let (one, two) = (self.condition(doc, depth - 1), self.condition(doc, depth - 1));
            return match self.rng.random_range(0..4) {
                0 => format!("({one} && {two})"),
                1 => format!("({one} || {two})"),
                2 => format!("!({one})"),
                _ => format!("(if {one} then {two} else {})", self.condition(doc, depth - 1)),
            };
        }
        let number = self.rng.random_range(0..4);
        let word = self.word();
        let other = self.word();
        if self.careless && self.rng.random_bool(0.2) {
            return self.pick(&[
                "principal.home == \"red\"",
                "context.note like \"*e*\"",
                "principal.manager.level > 1",
                "resource.size + 9223372036854775807 > 0",
                "principal.getTag(\"red\") == \"blue\"",
                "context.ip.lessThan(decimal(\"1.0\"))",
                "principal.level",
            ]);
        }
        let general = [
            "context.mfa".to_owned(),
            "resource.public".to_owned(),
            "resource.owner == principal".to_owned(),
            format!("principal.level >= {number}"),
            format!("principal.level * 2 - 1 < {number}"),
            format!("context.hour < {}", number * 8),
            format!("principal.name == {word}"),
            format!("principal.roles.contains({word})"),
            format!("principal.roles.containsAny([{word}, {other}])"),
            format!("principal.roles.containsAll([{word}])"),
            "principal.roles.isEmpty()".to_owned(),
            format!("(principal has home && principal.home == {word})"),
            format!("(principal has manager && principal.manager.level > {number})"),
            format!("(principal.hasTag({word}) && principal.getTag({word}) == {other})"),
            "principal.name like \"*e*\"".to_owned(),
            "context.ip.isInRange(ip(\"10.0.0.0/8\"))".to_owned(),
            "context.ip.isLoopback()".to_owned(),
            "context.at < datetime(\"2026-01-01T00:00:01Z\")".to_owned(),
            "context.at.offset(context[\"for\"]).toTime() > duration(\"6h\")".to_owned(),
            "context.cost.lessThan(decimal(\"2.0\"))".to_owned(),
            "(context has note && context.note like \"*d*\")".to_owned(),
            format!("resource in Folder::\"folder{number}\""),
            format!("principal in [Group::\"group0\", Group::\"group{number}\"]"),
            format!("resource.owner in Group::\"group{number}\""),
            "resource is Doc".to_owned(),
            "action == Action::\"view\"".to_owned(),
        ];
        let about_docs = [
            format!("resource.size > {number}"),
            format!("resource.labels.contains({word})"),
            format!("resource.meta.kind == {word}"),
            format!("(resource.meta has score && resource.meta.score == {number})"),
            "resource.editors.contains(principal)".to_owned(),
            format!("resource.editors.contains(User::\"user{number}\")"),
        ];
        if doc && self.rng.random_bool(0.4) { pick(self.rng, &about_docs) } else { pick(self.rng, &general) }
    }
}
