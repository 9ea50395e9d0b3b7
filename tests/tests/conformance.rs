//! Owns that the manifests name nothing that the vendors do not know: AWS by the service model in botocore, shape by
//! shape; Hetzner and UpCloud by the words of the vendors' own Python clients.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should stop")]

use provision_model::{FieldSpec, FieldType, Json, Visible};
use provision_nickel::Evaluator;
use provision_registry::{Call, Manifest, Registry, TypeSpec, pascal};
use provision_tests::workspace;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// Where `cargo xtask test` keeps the Python clients.
fn packages() -> PathBuf {
    let lib = workspace().join("target/clients/lib");
    let found = std::fs::read_dir(&lib).ok().and_then(|mut all| all.find_map(Result::ok));
    let found = found.unwrap_or_else(|| panic!("{} is missing; `cargo xtask test` makes it", lib.display()));
    found.path().join("site-packages")
}

fn manifest(name: &str) -> Arc<Manifest> {
    let registry = Registry::load(None, None, &Evaluator::default()).unwrap();
    registry.manifest(name).unwrap().clone()
}

/// The segments of a path, all alternatives, without marks of lists and choices.
fn segments(path: &str) -> Vec<Vec<String>> {
    let mut depth = 0;
    let mut outside = path.to_owned();
    outside.retain(|c| {
        depth += i32::from(c == '[');
        let keep = depth == 0;
        depth -= i32::from(c == ']');
        keep
    });
    let segments = |one: &str| {
        let words = one.split('.').map(|word| word.trim_end_matches('!'));
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    // A value of our own is no word of theirs.
    outside.split('|').filter(|path| !path.starts_with('=')).map(segments).collect()
}

/// The service model of EC2.
struct Model(Json);

impl Model {
    fn open() -> Self {
        let file = packages().join("botocore/data/ec2/2016-11-15/service-2.json.gz");
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn side(&self, action: &str, side: &str) -> Result<String, String> {
        let operation = &self.0["operations"][action];
        if operation.is_null() {
            return Err(format!("there is no action {action}"));
        }
        Ok(operation[side]["shape"].as_str().unwrap_or_default().to_owned())
    }

    /// The shape at the end of a path; a number or nothing steps into a list.
    fn at(&self, shape: &str, path: &[String], request: bool) -> Result<String, String> {
        let Some((first, rest)) = path.split_first() else { return Ok(shape.to_owned()) };
        let known = &self.0["shapes"][shape];
        match known["type"].as_str() {
            Some("list") => {
                let member = known["member"]["shape"].as_str().unwrap_or_default();
                let rest = if first.parse::<usize>().is_ok() { rest } else { path };
                self.at(member, rest, request)
            }
            Some("structure") => {
                let members = known["members"].as_object().unwrap();
                let named = |(key, member): (&String, &Json)| {
                    let location = member["locationName"].as_str().unwrap_or(key);
                    let name = match (request, member["queryName"].as_str()) {
                        (true, Some(query)) => query.to_owned(),
                        (true, None) => location[..1].to_ascii_uppercase() + &location[1..],
                        (false, _) => location.to_owned(),
                    };
                    (name == *first).then(|| member["shape"].as_str().unwrap_or_default().to_owned())
                };
                let next = members.iter().find_map(named).ok_or_else(|| format!("{shape} has no `{first}`"))?;
                self.at(&next, rest, request)
            }
            other => Err(format!("{shape} is {}, and has no `{first}`", other.unwrap_or("unknown"))),
        }
    }

    /// Every key of a body.
    fn body(&self, shape: &str, body: &Json, wrong: &mut Vec<String>) {
        match body {
            Json::Object(map) => {
                for (key, value) in map {
                    match self.at(shape, std::slice::from_ref(key), true) {
                        Ok(next) => self.body(&next, value, wrong),
                        Err(error) => wrong.push(error),
                    }
                }
            }
            Json::Array(items) => {
                if let Ok(member) = self.at(shape, &["1".to_owned()], true) {
                    items.iter().for_each(|item| self.body(&member, item, wrong));
                }
            }
            _ => {}
        }
    }

    /// The fields of a request or of an item in an answer.
    fn fields<'a>(
        &self,
        shape: &str,
        fields: impl Iterator<Item = (&'a String, &'a FieldSpec)>,
        request: bool,
        wrong: &mut Vec<String>,
    ) {
        for (name, spec) in fields {
            let own = pascal(name);
            let wire = spec.wire.clone();
            let path = match request {
                true => wire.unwrap_or(own),
                false => spec
                    .read
                    .clone()
                    .or(wire.filter(|wire| !wire.is_empty()))
                    .unwrap_or_else(|| own[..1].to_ascii_lowercase() + &own[1..]),
            };
            if path.is_empty() || !request && (spec.visible == Visible::Never || spec.returned_once) {
                continue;
            }
            let found: Vec<Result<String, String>> =
                segments(&path).iter().map(|path| self.at(shape, path, request)).collect();
            match found.iter().find_map(|it| it.as_ref().ok()) {
                Some(inner) => {
                    let mut kind = &spec.kind;
                    let mut shape = inner.clone();
                    while let FieldType::List(of) = kind {
                        shape = self.at(&shape, &["1".to_owned()], request).unwrap_or(shape);
                        kind = of;
                    }
                    if let FieldType::Record(inside) = kind {
                        self.fields(&shape, inside.iter(), request, wrong);
                    }
                }
                None => wrong.extend(found.into_iter().filter_map(Result::err).map(|error| format!("{name}: {error}"))),
            }
        }
    }

    fn call(&self, call: &Call, spec: &TypeSpec, fields: &[&String], wrong: &mut Vec<String>) {
        for action in named(call.action.as_deref().unwrap_or_default(), spec) {
            match self.side(&action, "input") {
                Ok(shape) => self.request(&shape, call, spec, fields, wrong),
                Err(error) => wrong.push(error),
            }
        }
    }

    fn request(&self, shape: &str, call: &Call, spec: &TypeSpec, fields: &[&String], wrong: &mut Vec<String>) {
        for key in call.query.keys() {
            wrong.extend(segments(key).iter().filter_map(|path| self.at(shape, path, true).err()));
        }
        if let Some(body) = &call.body {
            self.body(shape, body, wrong);
        }
        let sent = spec.fields.iter().filter(|(name, _)| fields.contains(name));
        self.fields(shape, sent, true, wrong);
    }

    fn check(&self, spec: &TypeSpec, wrong: &mut Vec<String>) {
        let every: Vec<&String> = spec.fields.keys().collect();
        if let Some(create) = &spec.create {
            let fields: Vec<&String> = create.fields.as_ref().map_or(every, |names| names.iter().collect());
            self.call(create, spec, &fields, wrong);
        }
        for step in spec.update.iter().chain(&spec.delete) {
            if let Some(call) = &step.call {
                let fields: Vec<&String> = call.fields.as_ref().unwrap_or(&step.fields).iter().collect();
                self.call(call, spec, &fields, wrong);
            }
            for call in step.collection.iter().flat_map(|collection| [&collection.add, &collection.remove]) {
                self.call(call, spec, &[], wrong);
            }
        }
        for (call, path) in [(&spec.read, false), (&spec.list, true)] {
            let Some(call) = call else { continue };
            self.call(call, spec, &[], wrong);
            let path = if path { &call.items } else { &call.result };
            let output = self.side(call.action.as_deref().unwrap_or_default(), "output").unwrap_or_default();
            let item = self.at(&output, &segments(path.as_deref().unwrap_or_default())[0], false);
            let item = item.and_then(|shape| {
                let list = self.0["shapes"][&shape]["type"] == "list";
                if list { self.at(&shape, &["0".to_owned()], false) } else { Ok(shape) }
            });
            match item {
                Ok(item) => {
                    // What comes from around the item is not in its shape, and an id of several parts in no answer.
                    let composed = |name: &String| name == "id" && spec.id.contains(',');
                    let from_around =
                        |field: &FieldSpec| field.read.as_ref().is_some_and(|it| call.inherit.contains(it));
                    let shown = spec.fields.iter().chain(&spec.attributes);
                    let shown = shown.filter(|(name, field)| !composed(name) && !from_around(field));
                    self.fields(&item, shown, false, wrong);
                    for path in spec.id.split(',').chain(spec.status.iter().map(|status| status.path.as_str())) {
                        let known: Vec<_> = segments(path).iter().map(|path| self.at(&item, path, false)).collect();
                        if !known.iter().any(Result::is_ok) && !call.inherit.iter().any(|name| name == path) {
                            wrong.extend(known.into_iter().filter_map(Result::err));
                        }
                    }
                }
                Err(error) => wrong.push(error),
            }
        }
    }
}

/// The actions of a name in which the value of a field may stand.
fn named(action: &str, spec: &TypeSpec) -> Vec<String> {
    let Some((before, rest)) = action.split_once("{field.") else { return vec![action.to_owned()] };
    let (field, after) = rest.split_once('}').unwrap();
    spec.fields[field].one_of.iter().map(|value| format!("{before}{}{after}", pascal(value))).collect()
}

#[test]
fn the_aws_manifest_names_nothing_that_the_service_model_does_not_have() {
    let model = Model::open();
    let mut wrong = Vec::new();
    for (name, spec) in &manifest("aws").types {
        let mut found = Vec::new();
        model.check(spec, &mut found);
        wrong.extend(found.into_iter().map(|error| format!("{name}: {error}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The check sees what is wrong.
    let mut broken = manifest("aws").types["vpc"].clone();
    broken.fields["cidr_block"].wire = Some("CidrBlok".into());
    broken.attributes["state"].read = Some("stat".into());
    let mut found = Vec::new();
    model.check(&broken, &mut found);
    assert_eq!(found.len(), 3, "{found:#?}");
}

/// All the text of a Python package.
fn sources(folder: PathBuf) -> String {
    let mut text = String::new();
    let mut open = vec![folder];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).unwrap_or_else(|_| panic!("{} is missing", at.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "py") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// The words that a manifest says to its vendor, with where it says them.
fn said(manifest: &Manifest) -> BTreeSet<(String, String)> {
    fn keys(body: &Json, place: &str, out: &mut BTreeSet<(String, String)>) {
        match body {
            Json::Object(map) => map.iter().for_each(|(key, value)| {
                out.insert((key.clone(), place.to_owned()));
                keys(value, place, out);
            }),
            Json::Array(items) => items.iter().for_each(|item| keys(item, place, out)),
            _ => {}
        }
    }
    fn of<'a>(
        fields: impl Iterator<Item = (&'a String, &'a FieldSpec)>,
        place: &str,
        out: &mut BTreeSet<(String, String)>,
    ) {
        for (name, spec) in fields {
            let own = [spec.wire.as_deref(), spec.read.as_deref()].into_iter().flatten().collect::<Vec<_>>();
            let own = if own.is_empty() { vec![name.as_str()] } else { own };
            for word in own.into_iter().flat_map(segments).flatten().filter(|word| word.parse::<usize>().is_err()) {
                out.insert((word, format!("{place}.{name}")));
            }
            let mut kind = &spec.kind;
            while let FieldType::List(inner) | FieldType::Map(inner) = kind {
                kind = inner;
            }
            if let FieldType::Record(inner) = kind {
                of(inner.iter(), &format!("{place}.{name}"), out);
            }
        }
    }
    let mut out = BTreeSet::new();
    for (name, spec) in &manifest.types {
        of(spec.fields.iter().chain(&spec.attributes), name, &mut out);
        let steps = spec.update.iter().chain(&spec.delete);
        let collections = steps.clone().filter_map(|step| step.collection.as_ref());
        let calls =
            spec.create.iter().chain(&spec.read).chain(&spec.list).chain(steps.filter_map(|step| step.call.as_ref()));
        for call in calls.chain(collections.flat_map(|collection| [&collection.add, &collection.remove])) {
            call.body.iter().for_each(|body| keys(body, name, &mut out));
            for path in [&call.wrap, &call.result, &call.items].into_iter().flatten() {
                out.extend(segments(path).into_iter().flatten().map(|word| (word, name.clone())));
            }
            let parts = call.path.split('/').filter(|part| !part.is_empty() && !part.contains('{'));
            out.extend(parts.map(|word| (word.to_owned(), name.clone())));
        }
    }
    out
}

/// What the vendor documents and its client has no word for.
const NOT_IN_CLIENT: [(&str, &str, &str); 5] = [
    ("upcloud", "dhcp", "https://developers.upcloud.com/1.3/13-networks/"),
    ("upcloud", "static_routes", "upcloud-go-api, network.go"),
    ("upcloud", "route", "upcloud-go-api, network.go"),
    ("upcloud", "nexthop", "upcloud-go-api, network.go"),
    ("upcloud", "server_groups", "upcloud-go-api, server_group.go"),
];

#[test]
fn hetzner_and_upcloud_are_spoken_to_in_words_that_their_own_clients_know() {
    for (provider, package) in [("hetzner", "hcloud"), ("upcloud", "upcloud_api")] {
        let text = sources(packages().join(package));
        let words: BTreeSet<&str> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .flat_map(|word| [word, word.trim_matches('-')])
            .collect();
        let known = |word: &str| {
            words.contains(word) || NOT_IN_CLIENT.iter().any(|(of, known, _)| *of == provider && *known == word)
        };
        let wrong: Vec<(String, String)> =
            said(&manifest(provider)).into_iter().filter(|(word, _)| !known(word)).collect();
        assert!(wrong.is_empty(), "{provider}: {wrong:#?}");
        assert!(!known("server_typ") && !known("ip_rnage"));
    }
}

/// Hetzner's own description of its API, as the crate `hetzner` carries it.
struct OpenApi(Json);

impl OpenApi {
    fn open() -> Self {
        let file = workspace().join("target/clients/hetzner-cloud-openapi.json");
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|_| panic!("{} is missing; `cargo xtask test` makes it", file.display()));
        Self(serde_json::from_str(&text).unwrap())
    }

    /// The operations with a method whose paths a template may mean.
    fn operations(&self, method: &str, template: &str) -> Vec<&Json> {
        let fits = |path: &str| {
            let (own, theirs): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
            own.len() == theirs.len()
                && own.iter().zip(&theirs).all(|(own, theirs)| match own.contains('{') {
                    // A whole segment is an id; a part of one leaves the kind open.
                    true => theirs.starts_with('{') || !(own.starts_with("{id}") || own.ends_with("}")),
                    false => own == theirs,
                })
        };
        let paths = self.0["paths"].as_object().unwrap();
        let found = paths.iter().filter(|(path, _)| fits(path)).map(|(_, all)| &all[method.to_ascii_lowercase()]);
        found.filter(|operation| !operation.is_null()).collect()
    }

    fn schemas<'a>(&'a self, schema: &'a Json) -> Vec<&'a Json> {
        if let Some(at) = schema["$ref"].as_str() {
            return self.0.pointer(at.trim_start_matches('#')).map(|it| self.schemas(it)).unwrap_or_default();
        }
        let several = ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
        std::iter::once(schema).chain(several.flat_map(|it| self.schemas(it))).collect()
    }

    /// The schemas at the end of a path; a list is stepped into.
    fn at<'a>(&'a self, schema: &'a Json, path: &[String]) -> Result<&'a Json, String> {
        let all = self.schemas(schema);
        if let Some(items) = all.iter().map(|it| &it["items"]).find(|items| !items.is_null()) {
            let rest = if path.first().is_some_and(|it| it.parse::<usize>().is_ok()) { &path[1..] } else { path };
            return self.at(items, rest);
        }
        let Some((first, rest)) = path.split_first() else { return Ok(schema) };
        match all.iter().map(|it| &it["properties"][first]).find(|it| !it.is_null()) {
            Some(next) => self.at(next, rest),
            None if all.iter().any(|it| it["additionalProperties"].is_object()) => Ok(schema),
            None => Err(format!("no `{first}`")),
        }
    }

    fn any(&self, schema: &Json, path: &str) -> Result<(), String> {
        let found: Vec<_> = segments(path).iter().map(|path| self.at(schema, path).map(|_| ())).collect();
        found.iter().find(|it| it.is_ok()).cloned().unwrap_or_else(|| found[0].clone())
    }

    fn body(&self, schema: &Json, body: &Json, wrong: &mut Vec<String>) {
        let Json::Object(map) = body else { return };
        for (key, value) in map {
            match self.at(schema, std::slice::from_ref(key)) {
                Ok(next) => self.body(next, value, wrong),
                Err(error) => wrong.push(error),
            }
        }
    }

    fn fields<'a>(
        &self,
        schema: &Json,
        fields: impl Iterator<Item = (&'a String, &'a FieldSpec)>,
        request: bool,
        wrong: &mut Vec<String>,
    ) {
        for (name, spec) in fields {
            let (wire, read) = (spec.wire.clone(), spec.read.clone());
            let path = if request { wire } else { read.or(wire.filter(|it| !it.is_empty())) };
            let path = path.unwrap_or_else(|| name.clone());
            if path.is_empty() || !request && (spec.visible == Visible::Never || spec.returned_once) {
                continue;
            }
            match segments(&path).iter().find_map(|path| self.at(schema, path).ok()) {
                None => wrong.push(format!("{name}: no `{path}`")),
                Some(inner) => {
                    let mut kind = &spec.kind;
                    while let FieldType::List(of) = kind {
                        kind = of;
                    }
                    if let FieldType::Record(inside) = kind {
                        self.fields(inner, inside.iter(), request, wrong);
                    }
                }
            }
        }
    }

    /// What is wrong with a request, in the operation that knows most of it.
    fn call(&self, call: &Call, method: &str, spec: Option<&TypeSpec>, fields: &[&String]) -> Vec<String> {
        let method = call.method.as_deref().unwrap_or(method);
        let wrongs = self.operations(method, &call.path).into_iter().map(|operation| {
            let mut wrong = Vec::new();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            self.body(schema, call.body.as_ref().unwrap_or(&Json::Null), &mut wrong);
            let sent = spec.iter().flat_map(|spec| &spec.fields).filter(|(name, _)| fields.contains(name));
            self.fields(schema, sent, true, &mut wrong);
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for name in call.query.keys() {
                if !parameters.iter().any(|it| self.schemas(it).iter().any(|it| it["name"] == **name)) {
                    wrong.push(format!("no query `{name}`"));
                }
            }
            let answers = ["200", "201", "202"].map(|status| &operation["responses"][status]["content"]);
            let answer = answers.into_iter().map(|it| &it["application/json"]["schema"]).find(|it| !it.is_null());
            let answer = answer.unwrap_or(&Json::Null);
            for path in call.result.iter().chain(&call.items) {
                wrong.extend(self.any(answer, path).err());
            }
            if let (Some(path), Some(spec)) = (call.result.as_ref().or(call.items.as_ref()), spec) {
                let item = segments(path).iter().find_map(|path| self.at(answer, path).ok());
                let given =
                    |(name, _): &(&String, &FieldSpec)| !call.with.contains_key(*name) && !spec.id.contains(',');
                let shown = spec.fields.iter().chain(&spec.attributes).filter(given);
                let item = item.map(|it| self.at(it, &["0".to_owned()]).unwrap_or(it));
                item.iter().for_each(|item| self.fields(item, shown.clone(), false, &mut wrong));
            }
            wrong
        });
        let best = wrongs.min_by_key(Vec::len);
        best.unwrap_or_else(|| vec!["there is no such operation".to_owned()])
            .into_iter()
            .map(|wrong| format!("{method} {}: {wrong}", call.path))
            .collect()
    }

    fn check(&self, spec: &TypeSpec) -> Vec<String> {
        let every: Vec<&String> = spec.fields.keys().collect();
        let named = |names: &'_ Option<Vec<String>>| names.clone();
        let mut wrong = Vec::new();
        if let Some(create) = &spec.create {
            let own = named(&create.fields);
            let fields: Vec<&String> = own.as_ref().map_or(every, |names| names.iter().collect());
            wrong.extend(self.call(create, "POST", Some(spec), &fields));
        }
        for call in spec.read.iter().chain(&spec.list) {
            wrong.extend(self.call(call, "GET", Some(spec), &[]));
        }
        for step in spec.update.iter().chain(&spec.delete) {
            if let Some(call) = &step.call {
                let fields: Vec<&String> = call.fields.as_ref().unwrap_or(&step.fields).iter().collect();
                wrong.extend(self.call(call, "POST", Some(spec), &fields));
            }
            for call in step.collection.iter().flat_map(|collection| [&collection.add, &collection.remove]) {
                wrong.extend(self.call(call, "POST", Some(spec), &[]));
            }
        }
        wrong
    }
}

#[test]
fn the_hetzner_manifest_says_nothing_that_its_own_description_does_not_have() {
    let api = OpenApi::open();
    let manifest = manifest("hetzner");
    let types = manifest
        .types
        .iter()
        .flat_map(|(name, spec)| api.check(spec).into_iter().map(move |wrong| format!("{name}: {wrong}")));
    let calls = manifest.listings.iter().map(|(name, it)| (name, &it.call));
    let calls = calls.chain(manifest.lookups.iter().map(|(name, it)| (name, &it.call)));
    let offers = calls.flat_map(|(name, call)| {
        api.call(call, "GET", None, &[]).into_iter().map(move |wrong| format!("{name}: {wrong}"))
    });
    let wrong: Vec<String> = types.chain(offers).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The check sees what is wrong.
    let mut broken = manifest.types["volume"].clone();
    broken.fields["size"].wire = Some("siz".into());
    broken.attributes["linux_device"].read = Some("linux_devic".into());
    let found = api.check(&broken);
    assert!(
        found.iter().any(|it| it.contains("siz")) && found.iter().any(|it| it.contains("linux_devic")),
        "{found:?}"
    );
}
