//! Owns providers that are closures of a session, `--provider`, as people use them.

use provision_tests::World;
use serde_json::json;

fn declare(world: &World, resources: &str) {
    world.write(
        "infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }} | p.Infrastructure\n"
        ),
    );
}

const NOTES: &str = r#"
def notes [] {
  {notes: {
    schema: {|| {types: {note: {
      doc: "A note."
      identity: keyed
      fields: {
        name: {type: string, doc: "Name.", required: true, on_change: replace}
        text: {type: string, doc: "Text."}
      }
      attributes: {size: {type: int, doc: "Length."}}
    }}} }
    create: {|request|
      let it = $request.fields
      if $it.text? == "bad" { error make {msg: "no such text", code: invalid} }
      $it.text | save $"($it.name).note"
      {id: $it.name}
    }
    read: {|request| list-notes | where id == $request.id | get 0? }
    list: {|request| list-notes }
    update: {|request| $request.fields.text | save --force $"($request.id).note" }
    delete: {|request| rm $"($request.id).note" }
  }}
}
def list-notes [] {
  glob "*.note" | each {|file|
    let name = $file | path parse | get stem
    let text = open --raw $file
    {id: $name, name: $name, text: $text, size: ($text | str length)}
  }
}
"#;

/// A provider of closures: given to each command, it plans, applies and drifts as any other, from a script too.
#[test]
fn closures_are_a_provider_for_the_commands_they_are_given_to() {
    let world = World::new();
    declare(
        &world,
        r#"a = p.notes.note & { name = "a", text = "one" }, b = p.notes.note & { name = "b", text = p.join ["like ", p.ref "a" "size"] },"#,
    );
    let rows = world.json(&format!("{NOTES}\nprovision plan --provider (notes) | select address provider action"));
    assert_eq!(rows[0], json!({"address": "a", "provider": "notes", "action": "create"}));
    let script = format!(
        "{NOTES}\nprovision plan --provider (notes) | provision apply --provider (notes) | where status == done | get address | to json --raw"
    );
    world.write("apply.nu", &script);
    let said = world.command().arg("apply.nu").output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "[\"a\",\"b\"]");
    assert_eq!((world.read("a.note"), world.read("b.note")), ("one".to_owned(), "like 3".to_owned()));
    assert_eq!(world.json(&format!("{NOTES}\nprovision plan --provider (notes)")), json!([]));
    world.write("a.note", "two");
    let drift = world.json(&format!("{NOTES}\nprovision drift --provider (notes) | select address path actual"));
    assert!(drift.as_array().unwrap().contains(&json!({"address": "a", "path": "text", "actual": "two"})), "{drift}");
    world.ok(&format!("{NOTES}\nprovision heal --provider (notes) | provision apply --provider (notes) | ignore"));
    assert_eq!(world.read("a.note"), "one");

    // Without it each command says what is missing.
    world.fails("provision plan").is("nickel::eval::missing_field", "missing field `notes`", "");
    world.fails(&format!("{NOTES}\nprovision plan --destroy --provider (notes) | provision apply")).is(
        "provision::provider::unknown",
        "there is no provider `notes`",
        "`--provider {notes: …}`",
    );
    world.fails("provision drift").is("provision::provider::unknown", "notes", "--provider");
}

/// What is wrong with what is given is told before anything is asked.
#[test]
fn closures_that_are_no_provider_are_refused() {
    let world = World::new();
    declare(&world, r#"a = p.notes.note & { name = "a", text = "bad" },"#);
    let code = "provision::provider::module";
    let given = |change: &str| format!("{NOTES}\nprovision plan --provider ((notes) | {change})");
    world.fails(&given("reject notes.list")).is(code, "the provider `notes` lacks list", "create: {|r| …}");
    world.fails(&given("insert notes.lists {|it| []}")).is(code, "unknown part `lists`", "`list`");
    world.fails(&given("update notes.read 3")).is(
        code,
        "`read` of the provider `notes` is no closure",
        "{|request| …}",
    );
    world.fails(&given("update notes.schema {types: {}}")).is("provision::provider::lint", "no types", "");
    let caught = world.fails(&format!("{NOTES}\nprovision apply --yes --provider (notes)"));
    assert!(caught.all().iter().any(|one| one.msg.contains("no such text")), "{caught:?}");
}
