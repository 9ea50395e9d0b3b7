//! Owns the lint of manifests: the built-in ones are clean, and a bad one gets every mistake told at its place.
#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_nickel::{Evaluator, Source, to_ncl};
use provision_registry::{Linted, built_in, lint};
use serde_json::Value;

fn looked_at(text: &str) -> Linted {
    let source = Source::Text { name: "manifest.ncl".into(), folder: "/".into(), text: text.into() };
    lint(source, &Evaluator::default(), None).unwrap()
}

/// `LINE CODE MESSAGE`, the line that of the place.
fn told(linted: &Linted) -> Vec<String> {
    let row = |one: &provision_diagnostic::Diagnostic| {
        let line = one.position.as_ref().map_or(0, |at| at.line);
        format!("{line} {} {}", one.code.as_str().trim_start_matches("provision::provider::"), one.message)
    };
    linted.diagnostics.iter().map(row).collect()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, item)| !item.is_null());
            Value::Object(kept.map(|(key, item)| (key, without_nulls(item))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn the_built_in_manifests_are_clean_and_the_contract_knows_all_that_the_engine_reads() {
    for name in ["hetzner", "upcloud", "aws", "local"] {
        let linted = lint(built_in(name).unwrap(), &Evaluator::default(), None).unwrap();
        assert_eq!(told(&linted), Vec::<String>::new(), "{name}");
        // Written out it has every key that the engine reads.
        let mut written = without_nulls(serde_json::to_value(linted.manifest.unwrap()).unwrap());
        for spec in written["types"].as_object_mut().unwrap().values_mut() {
            for fields in ["fields", "attributes"] {
                for field in spec[fields].as_object_mut().unwrap().values_mut() {
                    // A field that is written out says both where nothing was said.
                    if field["required"] == true {
                        field.as_object_mut().unwrap().shift_remove("default_name");
                    }
                }
            }
        }
        assert_eq!(told(&looked_at(&to_ncl(&written))), Vec::<String>::new(), "{name} written out");
    }
}

const GOOD: &str = r#"{
  name = "acme",
  version = "1.0.0",
  api = "1",
  protocol = "rest-json",
  endpoint.default = "https://api.acme.example",
  auth = [{ kind = "bearer", token = { setting = "token", env = ["ACME_TOKEN"] } }],
  errors = { code = ["code"], message = ["message"], conflict = ["taken"], quota = [] },
  pagination = { kind = "page", page = "page", size = "per_page", max = 50, next = "meta.next" },
  types.disk = {
    doc = "A disk.",
    identity = "tagged",
    labels = "tags",
    status = { path = "state", ready = ["ready"] },
    fields = {
      title = { type = "string", doc = "Title.", required = true },
      size = { type = "int", doc = "Size.", on_change = "restart" },
      tags = { type = { map = "string" }, doc = "Tags." },
    },
    create = { method = "POST", path = "/disks", result = "disk" },
    read = { path = "/disks/{id}", result = "disk" },
    list = { path = "/disks", items = "disks" },
    update = [
      { name = "change", fields = ["title", "tags"], call = { method = "PUT", path = "/disks/{id}" } },
      { name = "resize", fields = ["size"], call = { path = "/disks/{id}/resize", body = { gb = "{field.size}" } }, until = ["ready"] },
    ],
    delete = [{ name = "delete", call = { method = "DELETE", path = "/disks/{id}" } }],
  },
}"#;

#[test]
fn each_mistake_is_told_at_its_place_with_its_code() {
    assert_eq!(told(&looked_at(GOOD)), Vec::<String>::new());
    let cases = [
        ("version = ", "versoin = ", "3 unknown_key unknown field `versoin`"),
        ("protocol = \"rest-json\"", "protocol = \"rest\"", "5 manifest `protocol` cannot be `rest`"),
        ("api = \"1\"", "api = \">=2, <3\"", "4 api the manifest needs engine API >=2, <3, this engine has 1"),
        ("identity = ", "identiy = ", "12 unknown_key unknown field `types.disk.identiy`"),
        ("kind = \"bearer\"", "kind = \"beerer\"", "7 manifest there is no way to authenticate of the kind `beerer`"),
        ("https://api", "http://api", "6 lint the endpoint `http://api.acme.example` is not HTTPS"),
        ("code = [\"code\"], ", "", "8 errors `errors` does not say where an error's code stands"),
        (", quota = []", "", "8 errors `errors` does not say which codes mean `quota`"),
        ("max = 50", "max = 0", "9 endless the lists never end: a page holds nothing"),
        ("\"meta.next\"", "\"meta.page\"", "9 endless the lists never end: `next` is the number of the same page"),
        ("labels = \"tags\"", "labels = \"tag\"", "13 unknown_field `labels` names the unknown field `tag`"),
        ("type = \"int\"", "type = \"integer\"", "17 manifest there is no type `integer`"),
        ("method = \"POST\"", "method = \"PSOT\"", "20 manifest `types.disk.create.method` cannot be `PSOT`"),
        (
            "    create = { method = \"POST\", path = \"/disks\", result = \"disk\" },\n",
            "",
            "10 never_created a `disk` can never be created: it has no `create`",
        ),
        (
            "result = \"disk\" },\n    read",
            "result = \"disk\", fields = [\"size\", \"tags\"] },\n    read",
            "16 never_created the required `title` of a `disk` is never sent when it is created",
        ),
        ("path = \"/disks\", result", "path = \"/disks/{id}\", result", "20 placeholder `{id}` has no value here"),
        (
            "[\"title\", \"tags\"]",
            "[\"titel\", \"tags\"]",
            "24 unknown_field the step `change` names the unknown field `titel`",
        ),
        ("[\"title\", \"tags\"]", "[\"tags\"]", "16 never_changed `title` is changed in place, but no step"),
        ("{field.size}", "{field.sise}", "25 unknown_field a template names the unknown field `sise`"),
        ("until = [\"ready\"]", "until = [\"redy\"]", "25 unknown_status the status `redy` is named nowhere"),
        (
            "on_change = \"restart\" }",
            "on_change = \"restart\", split = [\"a\"] }",
            "17 lint `size` is split by `a`, which is no list of its items",
        ),
        (
            "doc = \"Title.\"",
            "doc = \"Title.\", read = \"a[k=v.title\"",
            "16 lint `a[k=v.title` is no path into an answer",
        ),
        (
            "doc = \"Title.\"",
            "doc = \"Title.\", example = { \"$ref\" = { address = \"net\", attribute = \"id\" } }",
            "16 unknown_field an example refers to `net`, which the type does not need",
        ),
        (
            "    list = { path = \"/disks\", items = \"disks\" },\n",
            "",
            "10 lint whether a `disk` was made cannot be told once the answer is lost: it has no `list`",
        ),
        ("\"1.0.0\"", "\"one\"", "3 manifest `one` is no version"),
        ("api = \"1\"", "api = \"banana\"", "4 api `banana` is no version; write it like `1` or `1.2`"),
        (
            "{ kind = \"bearer\", token =",
            "{ kind = \"header\", name = \"X-Token\\nHost\", value =",
            "7 lint \"X-Token\\nHost\" is no name of a header",
        ),
        ("\"https://api.acme.example\"", "\"ftp://api.acme.example\"", "6 lint the endpoint `ftp://api.acme.example`"),
        (
            "path = \"/disks\", result",
            "path = \"//disks\", result",
            "20 lint the path `//disks` does not begin with one",
        ),
        ("labels = \"tags\",", "labels = \"tags\", id = \"disk..id\",", "13 lint `disk..id` is no path of an id"),
        (
            "identity = \"tagged\"",
            "identity = \"keyed\"",
            "12 lint the type `disk` is recognised by its key, but nothing says",
        ),
        (
            "labels = \"tags\",",
            "labels = \"tags\", unique = [\"title, zone\"],",
            "13 unknown_field `unique` names the unknown field `zone`",
        ),
        (
            "labels = \"tags\",",
            "labels = \"tags\", attributes.size = { type = \"int\" },",
            "13 lint `size` is both a field and an attribute",
        ),
        ("doc = \"Size.\"", "doc = \"Size.\", wire = \"title\"", "16 lint `size` and `title` are both sent as `title`"),
        (
            "labels = \"tags\",",
            "labels = \"tags\", needs.one = { \"$type\" = \"acme.disc\" },",
            "13 unknown_field `needs` names the unknown type `disc`",
        ),
    ];
    for (from, to, expected) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let told = told(&looked_at(&text));
        assert!(told.iter().any(|one| one.starts_with(expected)), "{from} → {to}: {told:#?}");
    }
    // All at once: each is still told.
    let many = [0, 3, 8, 13, 15, 18, 19].iter().fold(GOOD.to_owned(), |text, at| {
        let (from, to, _) = cases[*at];
        text.replacen(from, to, 1)
    });
    let found = told(&looked_at(&many));
    for code in ["unknown_key", "endless", "never_created", "unknown_field", "unknown_status"] {
        assert!(found.iter().any(|one| one.contains(code)), "{code}: {found:#?}");
    }
}
