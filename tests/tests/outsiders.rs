//! Owns what somebody else does in the sandbox behind our back: it is found. What the vendors' clients do is in `vendor_clients`.

use provision_tests::World;
use serde_json::json;

#[test]
fn what_somebody_changes_in_the_sandbox_is_found() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.net = p.hetzner.network & { ip_range = \"10.0.0.0/16\", labels.team = \"shop\" } }",
    );
    world.ok("provision apply --yes | collect | ignore");
    let id = "(provision state show net | get attributes.id)";
    let changed =
        world.json(&format!("provision sandbox mutate {id} {{labels: {{team: ops}}}} | get resource.labels.team"));
    assert_eq!(changed, "ops");
    assert_eq!(world.json("provision plan | get address"), json!(["net"]));
    world.ok(&format!("provision sandbox mutate {id} --remove | ignore"));
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
    world.fails("provision sandbox mutate 17").is("provision::sandbox::failed", "the id `17`", "provision state list");
}
