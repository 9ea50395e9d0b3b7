//! Owns that what was written to outlive a process is read again: state, journal, plan, history and audit log as an
//! exported state, and a plan as a file. Each folder of the corpus holds the formats of one time.

use provision_tests::{World, workspace};
use serde_json::json;

#[test]
fn a_fixture_of_each_format_opens() {
    for entry in std::fs::read_dir(workspace().join("tests/corpus/formats")).unwrap() {
        let fixture = entry.unwrap().path();
        let world = World::new();
        let read = |name: &str| std::fs::read_to_string(fixture.join(name)).unwrap();
        for name in ["infra.ncl", "plan.json", "state.json", "policies/all.cedar"] {
            world.write(name, &read(name));
        }
        world.write(".provision/identity.txt", &read("identity.txt"));
        let brought = world.json("open --raw state.json | provision state import");
        assert_eq!((&brought["resources"], &brought["history"]), (&json!(2), &json!(3)));
        // The state and its journal: everything is as it should be, and what the plan did is done.
        assert_eq!(world.json("provision plan"), json!([]));
        assert_eq!(world.json("provision apply plan.json | get status | uniq"), json!(["skipped"]));
        assert_eq!(world.json("provision recover"), json!([]));
        // The history, and the way back.
        assert_eq!(world.json("provision history | get kind"), json!(["apply", "replace", "apply"]));
        assert_eq!(world.json("provision rollback 1"), json!([]));
        // The audit log and its signatures.
        let verified = world.json("provision audit verify");
        assert_eq!(verified["valid"], json!(true), "{verified}");
        assert_eq!(world.json("provision output a"), world.json("provision state show a | get attributes.id"));
    }
}
