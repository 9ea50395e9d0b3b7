//! Owns a build of the plugin with a provider of one's own, in the real `nu`: the example works, and a build without it says so.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{World, workspace};
use serde_json::{Value, json};

/// A project of the example, worked on with one build of the plugin.
fn world(plugin: &str) -> World {
    let world = World::with_plugins(&[plugin]);
    let example = workspace().join("examples/rust-provider/project");
    for file in ["infra.ncl", "extensions/providers/notes/manifest.ncl"] {
        world.write(file, &std::fs::read_to_string(example.join(file)).unwrap());
    }
    world
}

#[test]
fn notes_are_made_kept_right_and_taken_down() {
    let world = world("nu_plugin_provision_notes");
    world.ok("provision apply --yes | ignore");
    let id = world.ok("provision output file");
    let note: Value = serde_json::from_str(&world.read(&format!("notes/{id}.json"))).unwrap();
    assert_eq!((&note["text"], &note["author"]), (&json!("milk"), &json!("ada")));
    assert!(note["labels"]["nu-provision-op"].is_string(), "{note}");
    assert_eq!(world.json("provision plan"), json!([]));
    // Somebody else's writing is drift, and so is a note of ours that the state does not know.
    world.write(&format!("notes/{id}.json"), &note.to_string().replace("milk", "beer"));
    let stray = note.to_string().replace(&id, "feedfeedfeedfeedfeedfeedfeedfeed");
    world.write("notes/stray.json", &stray);
    let drift = world.json("provision drift | select address path actual | sort-by actual");
    assert_eq!(
        drift,
        json!([{"address": "shopping", "path": "text", "actual": "beer"}, {"address": null, "path": null, "actual": "stray"}])
    );
    world.ok("provision heal | provision apply | ignore");
    assert!(world.read(&format!("notes/{id}.json")).contains("milk"));
    world.write("infra.ncl", &world.read("infra.ncl").replace("\"milk\"", "\"\""));
    world.fails("provision plan").is("provision::plan::value", "`shopping.text` is empty", "Write something.");
    world.ok("provision destroy --yes | ignore");
    let left: Vec<_> = std::fs::read_dir(world.project().join("notes")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_build_without_the_rust_half_names_it() {
    let world = world("nu_plugin_provision");
    let refused = world.fails("provision plan");
    assert!(refused.all().iter().any(|it| it.msg.contains("the provider `notes` says `rust`")), "{refused:#?}");
    assert!(!world.project().join("notes").exists());
}
