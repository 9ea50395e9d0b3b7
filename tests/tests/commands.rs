//! Owns that the list of commands is what the plugin has: the same names and effects, and inputs and outputs that are as their
//! schemas say, whoever asks.

use provision_engine::{Actor, Effect, Host, Outside, Project, Session, commands};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use provision_tests::World;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a prompt has besides: commands about files of this machine, which no session is about.
const OF_THE_MACHINE: &[&str] = &[
    "provision",
    "provision init",
    "provision state",
    "provision state backups",
    "provision state restore",
    "provision provider",
    "provision provider add",
    "provision provider check",
    "provision provider list",
    "provision provider remove",
    "provision provider schema",
    "provision provider test",
    "provision provider upgrade",
    "provision lock",
    "provision policy",
    "provision sandbox",
    "provision sandbox faults",
    "provision sandbox mutate",
    "provision sandbox requests",
    "provision sandbox reset",
    "provision sandbox start",
    "provision sandbox status",
    "provision sandbox stop",
    "provision secret",
    "provision secret decrypt",
    "provision secret edit",
    "provision secret encrypt",
    "provision secret init",
    "provision secret list",
    "provision secret rotate",
    "provision trust",
    "provision trust add",
    "provision trust list",
    "provision trust remove",
];

#[test]
fn the_plugin_has_every_command_of_the_list_with_its_effect_and_no_other() {
    let world = World::new();
    let found = world.json(
        "scope commands | where type == plugin and name =~ '^provision' | each {|it| { name: $it.name, terms: $it.search_terms } }",
    );
    let said = |term: &str| match term {
        "reads only" => Some(Effect::Reads),
        "asks the policies" => Some(Effect::Asks),
        "changes its own" => Some(Effect::Own),
        _ => None,
    };
    let effect = |row: &Value| row["terms"].as_str().unwrap().split(", ").find_map(said);
    let plugin: BTreeMap<String, Option<Effect>> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap().to_owned(), effect(row)))
        .filter(|(name, _)| !OF_THE_MACHINE.contains(&name.as_str()))
        .collect();
    let list: BTreeMap<String, Option<Effect>> =
        commands().into_iter().map(|it| (it.name.to_owned(), Some(it.effect))).collect();
    assert_eq!(list, plugin);
}

/// Inputs that show each command at work, in this order, on one project; `PLAN` stands for the digest of the plan before.
fn script() -> Vec<(&'static str, Value)> {
    let two = json!({"name": "s", "resources": {
        "net": {"$type": "hetzner.network", "ip_range": "10.0.0.0/16"},
        "note": {"$type": "local.data", "input": "a"},
    }, "outputs": {"id": {"$ref": {"address": "net", "attribute": "id"}}}});
    vec![
        ("provision plan", json!({"data": two})),
        ("provision approvals", json!({})),
        ("provision apply", json!({"rows": "ROWS", "reason": "first"})),
        ("provision output", json!({})),
        ("provision output", json!({"name": "id"})),
        ("provision state list", json!({})),
        ("provision state show", json!({"address": "net"})),
        ("provision state move", json!({"from": "note", "to": "text"})),
        ("provision state replace", json!({"address": "text"})),
        ("provision state unprotect", json!({"address": "text"})),
        ("provision state forget", json!({"address": "text"})),
        ("provision drift", json!({"deep": true})),
        ("provision refresh", json!({})),
        ("provision heal", json!({})),
        ("provision recover", json!({})),
        ("provision rollback", json!({"serial": 1})),
        ("provision graph", json!({"format": "dot"})),
        ("provision history", json!({})),
        ("provision history show", json!({"serial": 1})),
        ("provision audit", json!({})),
        ("provision audit head", json!({})),
        ("provision audit verify", json!({})),
        ("provision lock show", json!({})),
        ("provision state export", json!({})),
        ("provision state backup", json!({})),
        ("provision provider catalog", json!({"provider": "hetzner", "catalog": "locations"})),
        ("provision destroy", json!({"yes": true})),
        (
            "provision import",
            json!({"what": {"label": {"key": "team", "value": "shop"}}, "types": ["hetzner.network"]}),
        ),
        // Last: a session has the key that it was opened with.
        ("provision state rekey", json!({})),
    ]
}

/// What needs more than one session to show: a second person, a lease that somebody left, another state, another name.
const NOT_SHOWN: &[&str] = &[
    "provision approve",
    "provision policy accept",
    "provision state adopt-project",
    "provision state import",
    "provision lock break",
];

#[test]
fn what_a_command_takes_and_gives_is_as_its_schemas_say() {
    let server = provision_sandbox::Background::start(Default::default()).unwrap();
    let variables = provision_sandbox::control::environment(&server.url, "secret");
    let env = move |name: &str| variables.get(name).cloned();
    let folder = tempfile::tempdir().unwrap();
    let infra = "let p = import \"provision.ncl\" in\n{ name = \"s\", resources.net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" } } | p.Infrastructure\n";
    std::fs::write(folder.path().join("infra.ncl"), infra).unwrap();
    let registry = Arc::new(Registry::load(None, None, &Evaluator::default()).unwrap());
    let project = Project::new(folder.path().to_path_buf(), registry, Evaluator::default());
    let host = Host::over(Arc::new(env), Outside::default());
    let session = Session::open(project, host, Actor::vouched("ada", "test")).unwrap();
    let list = commands();
    let mut shown = BTreeSet::new();
    let mut rows = Value::Null;
    for (name, mut input) in script() {
        let command = list.iter().find(|it| it.name == name).unwrap_or_else(|| panic!("there is no {name}"));
        if input["rows"] == "ROWS" {
            input["rows"] = rows.take();
        }
        let fits = |schema: &schemars::Schema, value: &Value, what: &str| {
            let validator = jsonschema::validator_for(schema.as_value()).unwrap();
            let wrong: Vec<String> =
                validator.iter_errors(value).map(|it| format!("{} at {}", it, it.instance_path)).collect();
            assert!(wrong.is_empty(), "{what} of {name}: {wrong:#?}\n{value:#}");
        };
        fits(&command.input, &input, "the input");
        let output = command.run(&session, input, &|_| {}).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        fits(&command.output, &output, "the output");
        if name == "provision plan" {
            assert_eq!(output.as_array().map(Vec::len), Some(2), "{output}");
            rows = output;
        }
        shown.insert(name);
    }
    let hidden: BTreeSet<&str> = NOT_SHOWN.iter().copied().collect();
    let all: BTreeSet<&str> = list.iter().map(|it| it.name).collect();
    assert_eq!(all, shown.union(&hidden).copied().collect());
    // Nothing is guessed: what no schema has is refused before anything is done.
    for command in &list {
        let failure = command.run(&session, json!({"no_such_input": 1}), &|_| {}).unwrap_err();
        assert_eq!(failure.code().as_str(), "provision::command::input", "{}", command.name);
        assert!(failure.first.help.is_some() && failure.first.message.contains(command.name));
    }
}
