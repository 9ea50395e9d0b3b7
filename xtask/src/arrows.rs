//! Owns which crate of the workspace may depend on which, and the check that none does otherwise.

use serde_json::Value;
use std::collections::BTreeMap;

/// A leaf: every crate may say what is wrong in its shape.
const LEAF: &str = "provision-diagnostic";

/// Crate, and what it may depend on besides the leaf.
const ALLOWED: &[(&str, &[&str])] = &[
    ("nu_plugin_nickel", &["provision-nu-bridge", "provision-nickel", "provision-registry"]),
    // `nickel`: reading the manifests of a project needs an evaluator.
    ("nu_plugin_policy", &["provision-nu-bridge", "provision-policy", "provision-registry", "provision-nickel"]),
    (
        "nu_plugin_provision",
        &[
            "provision-nu-bridge",
            "provision-contract",
            "provision-engine",
            "provision-sandbox",
            "provision-registry",
            "provision-nickel",
            "provision-policy",
        ],
    ),
    (
        "provision-contract",
        &[
            "provision-engine",
            "provision-sandbox",
            "provision-state",
            "provision-providers",
            "provision-registry",
            "provision-nickel",
            "provision-model",
        ],
    ),
    (
        "provision-engine",
        &[
            "provision-state",
            "provision-providers",
            "provision-policy",
            "provision-registry",
            "provision-nickel",
            "provision-model",
        ],
    ),
    ("provision-providers", &["provision-registry", "provision-model"]),
    // What a provider of a user's own needs; it is written like one.
    (
        "provision-example-rust-provider",
        &[
            "nu_plugin_provision",
            "provision-providers",
            "provision-registry",
            "provision-model",
            "provision-contract",
            "provision-nickel",
        ],
    ),
    ("provision-registry", &["provision-nickel", "provision-model"]),
    ("provision-state", &["provision-model"]),
    ("provision-nu-bridge", &[]),
    ("provision-policy", &[]),
    ("provision-nickel", &[]),
    ("provision-model", &[]),
    ("provision-sandbox", &[]),
    (LEAF, &[]),
];

/// Tests and development commands look at everything.
const FREE: [&str; 2] = ["provision-tests", "xtask"];

/// What is wrong with the arrows of a workspace, one sentence each. Counts every kind of dependency.
pub fn check(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let members = members(metadata);
    let mut wrong = Vec::new();
    for (name, package) in &members {
        if FREE.contains(name) {
            continue;
        }
        let Some(may) = allowed.get(name) else {
            wrong.push(format!(
                "{name} is not in the list of rooms; add it to xtask/src/arrows.rs and docs/architecture.md"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if members.contains_key(to) && to != LEAF && !may.contains(&to) {
                wrong.push(format!("{name} → {to} is not an allowed arrow"));
            }
        }
    }
    wrong
}

/// The packages of the workspace by name.
pub fn members(metadata: &Value) -> BTreeMap<&str, &Value> {
    let ids: Vec<&Value> = metadata["workspace_members"].as_array().into_iter().flatten().collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| ids.contains(&&package["id"]))
        .filter_map(|package| Some((package["name"].as_str()?, package)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;
    use serde_json::json;

    #[test]
    fn arrows_point_one_way() {
        assert_eq!(check(&workspace::metadata().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_arrow_and_an_unknown_room_are_found() {
        let package = |name: &str, to: &[&str]| {
            let dependencies: Vec<Value> = to.iter().map(|name| json!({"name": name, "kind": "dev"})).collect();
            json!({"id": name, "name": name, "dependencies": dependencies})
        };
        let metadata = json!({
            "workspace_members": ["provision-model", "provision-state", "provision-policy", LEAF, "new"],
            "packages": [
                package("provision-model", &["provision-state", "serde"]),
                package("provision-state", &["provision-model", LEAF]),
                package("provision-policy", &[]),
                package(LEAF, &["provision-policy"]),
                package("new", &[]),
                package("serde", &[]),
            ],
        });
        assert_eq!(
            check(&metadata),
            [
                "new is not in the list of rooms; add it to xtask/src/arrows.rs and docs/architecture.md",
                "provision-diagnostic → provision-policy is not an allowed arrow",
                "provision-model → provision-state is not an allowed arrow",
            ]
        );
    }
}
