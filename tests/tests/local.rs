//! Owns the provider `local`, end to end: files and directories on this disk, random values, keys and certificates; what goes
//! wrong with them, and that nothing shows their secrets.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::World;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

fn mode(world: &World, path: &str) -> u32 {
    fs::metadata(world.project().join(path)).unwrap().mode() & 0o7777
}

fn rows(world: &World) -> Value {
    world.json("provision plan | select address action reason | update address { into string }")
}

/// What a folder holds, hidden files too, but for the project's own.
fn held(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| ![".provision", "infra.ncl", ".gitignore"].contains(&name.as_str()));
    names.sort();
    names
}

/// No file of the state holds the text.
#[track_caller]
fn nowhere(world: &World, text: &str) {
    let mut open = vec![world.project().join(".provision")];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 1, "there is no state");
}

const ONE: &str = "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806";

#[test]
fn a_file_is_made_changed_in_place_and_healed() {
    let world = World::new();
    let file =
        |content: &str, path: &str| format!("conf = p.local.file & {{ path = \"{path}\", content = \"{content}\" }}");
    world.declare(&file("one\\n", "out/deep/app.conf"));
    world.settle();
    assert_eq!(world.read("out/deep/app.conf"), "one\n");
    assert_eq!(mode(&world, "out/deep/app.conf"), 0o644);
    assert_eq!(held(&world.project().join("out/deep")), ["app.conf"]);
    let shown = world.json("provision state show conf | get attributes | select id size sha256");
    assert_eq!(shown, json!({"id": "out/deep/app.conf", "size": 4, "sha256": ONE}));

    // Somebody edits it: the digest tells, and the plan brings it back.
    world.write("out/deep/app.conf", "two\n");
    let drift = world.json("provision drift | select path expected");
    assert_eq!(drift, json!([{"path": "sha256", "expected": ONE}]));
    assert_eq!(rows(&world), json!([{"address": "conf", "action": "update", "reason": "sha256 changed"}]));
    world.ok("provision heal | provision apply | ignore");
    assert_eq!(world.read("out/deep/app.conf"), "one\n");
    // Its mode drifts as well, and what only that concerns does not write the file anew.
    let file_of = |path: &str| world.project().join(path);
    let inode = fs::metadata(file_of("out/deep/app.conf")).unwrap().ino();
    fs::set_permissions(file_of("out/deep/app.conf"), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(
        world.json("provision drift | select path expected actual"),
        json!([{"path": "mode", "expected": "0644", "actual": "0666"}])
    );
    world.settle();
    assert_eq!(mode(&world, "out/deep/app.conf"), 0o644);
    assert_eq!(fs::metadata(file_of("out/deep/app.conf")).unwrap().ino(), inode);
    // It is taken away: it is made again.
    fs::remove_file(file_of("out/deep/app.conf")).unwrap();
    assert_eq!(rows(&world), json!([{"address": "conf", "action": "create", "reason": "gone from the cloud"}]));
    world.settle();

    world.declare(&file("two\\n", "out/deep/app.conf"));
    let row = world.json("provision plan | first | select action changes.path");
    assert_eq!(row, json!({"action": "update", "changes.path": ["content", "sha256"]}));
    world.settle();
    assert_eq!(world.read("out/deep/app.conf"), "two\n");
    world.declare(&file("two\\n", "out/other.conf"));
    assert_eq!(
        rows(&world),
        json!([{"address": "conf", "action": "replace", "reason": "path cannot be changed in place"}])
    );
    world.settle();
    assert_eq!(held(&world.project().join("out")), ["deep", "other.conf"]);
    assert_eq!(held(&world.project().join("out/deep")), Vec::<String>::new());
    world.ok("provision destroy --yes | ignore");
    // The folders on the way were not asked for and may be somebody's by now.
    assert_eq!(held(&world.project().join("out")), ["deep"]);
}

#[test]
fn what_a_file_holds_can_be_left_to_others() {
    let world = World::new();
    let infra = |content: &str| {
        format!("it = p.local.file & {{ path = \"it\", content = \"{content}\", lifecycle.ignore = [\"content\"] }},")
    };
    world.declare(&infra("first"));
    world.settle();
    world.write("it", "theirs");
    assert_eq!(world.json("provision drift"), json!([]));
    world.declare(&infra("second"));
    assert_eq!(rows(&world), json!([]));
    fs::set_permissions(world.project().join("it"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(rows(&world), json!([{"address": "it", "action": "update", "reason": "mode changed"}]));
    world.settle();
    assert_eq!((world.read("it").as_str(), mode(&world, "it")), ("theirs", 0o644));
}

#[test]
fn a_file_is_a_copy_of_another_or_what_base64_says_and_others_know_its_digest() {
    let world = World::new();
    world.write("src/data.bin", "one\n");
    let sha = "sums = p.local.file & { path = \"out/SUMS\", content = p.join [p.ref \"copy\" \"sha256\", \"  data\\n\"] },\n\
         size = p.local.data & { input = p.ref \"copy\" \"size\" },";
    world.declare(&format!(
        "copy = p.local.file & {{ path = \"out/data\", source = \"src/data.bin\", mode = \"0600\" }},\n\
             bytes = p.local.file & {{ path = \"out/bytes\", content_base64 = \"AP8K\" }},\n{sha}"
    ));
    world.settle();
    assert_eq!(world.read("out/data"), "one\n");
    assert_eq!(mode(&world, "out/data"), 0o600);
    assert_eq!(fs::read(world.project().join("out/bytes")).unwrap(), [0, 255, 10]);
    assert_eq!(world.read("out/SUMS"), format!("{ONE}  data\n"));
    // The source changes, and everything that hangs on it, in one plan.
    world.write("src/data.bin", "twice\n");
    let plan = world.json("provision plan | each {|row| [$row.address ($row.changes.path | str join ' ')] }");
    assert_eq!(plan, json!([["copy", "sha256"], ["size", "input"], ["sums", "content sha256"]]));
    world.settle();
    assert_eq!(world.read("out/data"), "twice\n");
    assert_eq!(world.json("provision state show size | get attributes.output"), json!(6));
    // What was planned is what is written: a source that changed meanwhile is refused.
    world.write("src/data.bin", "planned\n");
    world.ok("provision plan | to nuon | save plan.nuon");
    world.write("src/data.bin", "changed\n");
    let refused = world.fails("open plan.nuon | provision apply");
    assert!(refused.all().iter().any(|it| it.code.as_deref() == Some("provision::plan::value")), "{refused:#?}");
    assert_eq!(world.read("out/data"), "twice\n");
}

#[test]
fn what_is_there_already_is_somebody_elses_until_it_is_imported() {
    let world = World::new();
    world.write("motd", "theirs\n");
    fs::create_dir(world.project().join("data")).unwrap();
    world.declare("motd = p.local.file & { path = \"motd\", content = \"ours\\n\" },\n data = p.local.directory & { path = \"data\" },",
    );
    let refused = world.fails("provision apply --yes");
    let told: Vec<_> =
        refused.all().into_iter().filter(|it| it.code.as_deref() == Some("provision::plan::someone_elses")).collect();
    assert_eq!(told.len(), 2, "{refused:#?}");
    assert!(told.iter().any(|it| it.help.as_ref().unwrap().contains("provision import motd motd --type local.file")));
    assert_eq!(world.read("motd"), "theirs\n");
    assert_eq!(world.json("provision state list | length"), json!(0));

    world.ok("provision import motd motd --type local.file | ignore");
    world.ok("provision import data data --type local.directory | ignore");
    assert_eq!(rows(&world), json!([{"address": "motd", "action": "update", "reason": "content, sha256 changed"}]));
    world.settle();
    assert_eq!(world.read("motd"), "ours\n");
    world.fails("provision import other absent --type local.file").is("provision::import::not_found", "absent", "");
    // What an import writes down is a file that is watched: its plan is empty, and what it holds is not ours to make.
    world.write("watched", "theirs\n");
    let nickel = world.json("provision import watched watched --type local.file | get 0.nickel");
    let both = format!(
        "motd = p.local.file & {{ path = \"motd\", content = \"ours\\n\" }},\n data = p.local.directory & {{ path = \"data\" }},\n{}",
        nickel.as_str().unwrap()
    );
    world.declare(&both);
    assert_eq!(rows(&world), json!([]));
    world.write("watched", "else\n");
    let refused = world.fails("provision apply --yes");
    assert!(format!("{refused:?}").contains("nothing says what"), "{refused:#?}");
    assert_eq!(world.read("watched"), "else\n");
}

#[test]
fn a_link_is_never_followed_and_what_is_no_file_any_more_is_left() {
    let world = World::new();
    world.write("precious", "precious\n");
    let link = |path: &str| std::os::unix::fs::symlink(world.project().join("precious"), world.project().join(path));
    link("early").unwrap();
    world.declare("early = p.local.file & { path = \"early\", content = \"x\" },");
    let refused = world.fails("provision apply --yes");
    assert!(refused.all().iter().any(|it| it.code.as_deref() == Some("provision::plan::someone_elses")));

    world.declare("late = p.local.file & { path = \"late\", content = \"x\" },");
    world.settle();
    fs::remove_file(world.project().join("late")).unwrap();
    link("late").unwrap();
    assert_eq!(
        world.json("provision drift | select path actual"),
        json!([{"path": "sha256", "actual": "a symbolic link, no file"}])
    );
    world.settle();
    assert!(fs::symlink_metadata(world.project().join("late")).unwrap().is_file());
    assert_eq!(world.read("precious"), "precious\n");
    // A link or a directory in its place is not what was made: deleting is refused, until it is out of the way.
    for directory in [false, true] {
        fs::remove_file(world.project().join("late")).unwrap();
        match directory {
            true => fs::create_dir(world.project().join("late")).unwrap(),
            false => link("late").unwrap(),
        }
        let refused = world.fails("provision destroy --yes");
        assert!(format!("{refused:?}").contains("not the file that was made"), "{refused:#?}");
        if directory {
            let refused = world.fails("provision apply --yes");
            assert!(format!("{refused:?}").contains("late is a directory"), "{refused:#?}");
            fs::remove_dir(world.project().join("late")).unwrap();
        }
        world.settle();
    }
    assert_eq!(held(&world.project()), ["early", "late", "precious"]);
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.read("precious"), "precious\n");
}

#[test]
fn a_directory_that_holds_something_is_deleted_only_when_that_was_said() {
    let world = World::new();
    let both = |force: bool| {
        format!(
            "dir = p.local.directory & {{ path = \"a/site\", mode = \"0750\", force = {force} }},\n\
             page = p.local.file & {{ path = p.join [p.ref \"dir\" \"path\", \"/index.html\"], content = \"hi\" }},"
        )
    };
    world.declare(&both(false));
    world.settle();
    assert_eq!(mode(&world, "a/site"), 0o750);
    fs::set_permissions(world.project().join("a/site"), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(world.json("provision drift | get path"), json!(["mode"]));
    world.settle();
    assert_eq!(mode(&world, "a/site"), 0o750);
    world.write("a/site/visitors.log", "somebody\n");
    let refused = world.fails("provision destroy --yes");
    let told = refused.all().into_iter().find(|it| it.msg.contains("holds something")).unwrap().clone();
    told.is("provision::provider::rejected", "a/site", "force = true");
    assert_eq!(world.read("a/site/visitors.log"), "somebody\n");
    world.declare(&both(true));
    world.settle();
    world.ok("provision destroy --yes | ignore");
    assert_eq!(held(&world.project().join("a")), Vec::<String>::new());
}

#[test]
fn what_cannot_be_is_told_before_anything_is_done() {
    let mut world = World::new();
    world.write("a-folder/x", "");
    let here = &world;
    let refused = |resource: &str, message: &str, help: &str| {
        here.declare(&format!("it = {resource},"));
        here.fails("provision plan").is("provision::plan::value", message, help);
    };
    let file = |fields: &str| format!("p.local.file & {{ {fields} }}");
    refused(&file("path = \"../x\", content = \"\""), "`it.path` leaves its folder: `../x`", "absolute");
    refused(&file("path = \"/tmp/../etc/x\", content = \"\""), "leaves its folder", "absolute");
    refused(&file("path = \"./x\", content = \"\""), "has a shorter form: `./x`", "Write `x`.");
    refused(&file("path = \"a//x/\", content = \"\""), "has a shorter form", "Write `a/x`.");
    refused(&file("path = \"\", content = \"\""), "is no path", "");
    refused(&file("path = \"/\", content = \"\""), "names no file", "");
    refused(&file("path = \".provision/state.db\", content = \"\""), "where the state is kept", "outside");
    refused(&file("path = \"x\""), "nothing else says what the file holds", "content_base64");
    refused(
        &file("path = \"x\", content = \"\", source = \"y\""),
        "both say what the file holds",
        "Leave out `source`",
    );
    refused(&file("path = \"x\", source = \"absent\""), "`it.source` cannot be read", "Name a file");
    refused(&file("path = \"x\", source = \"a-folder\""), "is a directory", "Name a file");
    refused(&file("path = \"x\", content_base64 = \"AP*K\""), "is no base64", "RFC 4648");
    refused(&file("path = \"x\", content = \"\", sha256 = \"00\""), "`it.sha256` is not the digest", "leave it out");
    for wrong in ["644", "0888", "rw-r--r--", "01777 ", ""] {
        refused(&file(&format!("path = \"x\", content = \"\", mode = \"{wrong}\"")), "`it.mode` is no mode", "0644");
    }
    refused("p.local.random & { length = 3 }", "`it.length` is out of range: 3", "from 8 to 4096");
    refused("p.local.random & { charset = \"aaa\" }", "has 1 different characters", "2 to 256");
    refused("p.local.random & { charset = \"abc\", digits = true }", "both choose the characters", "Leave out");
    refused("p.local.random & { kind = \"hex\", symbols = false }", "means nothing for the kind `hex`", "Leave it out");
    refused(
        "p.local.random & { lower = false, upper = false, digits = false, symbols = false }",
        "no characters are left",
        "true",
    );
    let key = "private_key = p.secret \"no key\"";
    refused(&format!("p.local.tls_certificate & {{ {key} }}"), "`it.private_key` is no private key", "PKCS #8");
    let certificate = |fields: &str| {
        format!(
            "p.local.tls_certificate & {{ private_key = p.ref \"key\" \"private_key\", {fields} }}, key = p.local.tls_key"
        )
    };
    refused(&certificate("validity = \"1 year\""), "is no length of time: `1 year`", "365day");
    refused(&certificate("validity = \"0s\""), "is no length of time", "");
    refused(&certificate("validity = \"1day\", renew_before = \"24h\""), "always be made anew", "shorter");
    refused(&certificate("ip_addresses = [\"localhost\"]"), "no IP address: `localhost`", "dns_names");
    refused(&certificate("dns_names = [\"a b\"]"), "no name: `a b`", "ASCII");
    refused(&certificate("ca_certificate = \"x\""), "`it.ca_key` is absent", "both");
    // All at once, and of a secret only where it stands.
    world.declare(
        "a = p.local.file & { path = p.secret { env = \"A\" }, content = \"\", mode = p.secret { env = \"B\" } },\n\
         b = p.local.http & { url = p.secret { env = \"C\" } },",
    );
    for (name, value) in [("A", "../canary-path"), ("B", "canary-mode"), ("C", "canary-url")] {
        world.env(name, Some(value));
    }
    let caught = world.fails("provision plan");
    assert_eq!(caught.all().len(), 3, "{caught:#?}");
    assert!(!format!("{caught:?}").contains("canary"), "{caught:#?}");
    assert_eq!(held(&world.project()), ["a-folder"]);
}

#[test]
fn a_disk_that_refuses_leaves_nothing_half_done() {
    let world = World::new();
    world.write("plain", "a file\n");
    for (path, said) in [
        // No directory can be beneath a file.
        ("plain/x".to_owned(), "cannot make"),
        // A file system that takes no files of anybody's.
        ("/proc/nu-provision-test".to_owned(), "/proc/"),
        (format!("{}/x", "n".repeat(300)), "cannot look at"),
        ("n".repeat(300), "Choose a shorter name"),
    ] {
        world.declare(&format!("it = p.local.file & {{ path = \"{path}\", content = p.secret \"canary-disk\" }},"));
        let refused = world.fails("provision apply --yes");
        let told = format!("{refused:?}");
        assert!(told.contains("provision::provider::rejected") && told.contains(said), "{told}");
        assert!(!told.contains("canary-disk"), "{told}");
        assert_eq!(world.json("provision recover"), json!([]), "{path}");
        assert_eq!(world.json("provision state list | length"), json!(0), "{path}");
    }
    assert_eq!(held(&world.project()), ["plain"]);
}

#[test]
fn a_secret_in_a_file_is_in_the_file_and_nowhere_else() {
    let world = World::new();
    let canary = "canary-file-4711";
    let digest = world.ok(&format!("'{canary}' | hash sha256"));
    let infra = |value: &str| {
        format!(
            "plain = p.local.file & {{ path = \"out/plain\", content = p.secret \"{value}\" }},\n\
             joined = p.local.file & {{ path = \"out/joined\", content = p.join [\"key=\", p.ref \"plain\" \"content\"], mode = \"0640\" }},\n\
             pass = p.local.random & {{ length = 30 }},\n\
             env = p.local.file & {{ path = \"out/env\", content = p.join [\"P=\", p.ref \"pass\" \"value\"] }},"
        )
    };
    world.declare(&infra(canary));
    let mut said = world.ok("provision plan | to json");
    said += &world.ok("provision apply --yes | to json");
    assert_eq!(world.read("out/plain"), canary);
    assert_eq!(world.read("out/joined"), format!("key={canary}"));
    assert_eq!((mode(&world, "out/plain"), mode(&world, "out/joined"), mode(&world, "out/env")), (0o600, 0o640, 0o600));
    let password = world.read("out/env").trim_start_matches("P=").to_owned();
    assert_eq!(password.len(), 30);
    assert_eq!(rows(&world), json!([]));
    for name in ["plain", "joined", "env", "pass"] {
        said += &world.ok(&format!("provision state show {name} | to json"));
    }
    // Drift and its healing tell that it changed, not from what to what.
    world.write("out/plain", "other-canary-4711");
    let drift = world.ok("provision drift | to json");
    assert!(drift.contains("<sensitive>"), "{drift}");
    said += &drift;
    said += &world.ok("provision refresh | to json");
    said += &world.ok("provision heal | to json");
    said += &world.ok("provision plan | to json");
    said += &world.ok("provision apply --yes | to json");
    world.declare(&infra("canary-second-4711"));
    said += &world.ok("provision plan | to json");
    said += &world.ok("provision apply --yes | to json");
    said += &world.ok("provision history | to json");
    said += &world.ok("provision audit | to json");
    said += &world.ok("provision state export | to json");
    let hash = |text: &str| world.ok(&format!("'{text}' | hash sha256"));
    let (other, env) = (hash("other-canary-4711"), hash(&format!("P={password}")));
    for secret in [canary, "canary-second-4711", "other-canary-4711", &digest, &other, &env, &password] {
        assert!(!said.contains(secret), "{secret}");
        nowhere(&world, secret);
    }
}

#[test]
fn random_values_stay_until_what_they_are_made_of_changes() {
    let world = World::new();
    let infra = |version: u32| {
        format!(
            "pass = p.local.random & {{ length = 16, keepers = {{ version = {version} }} }},\n\
             token = p.local.random & {{ kind = \"hex\", length = 8 }},\n\
             uuid = p.local.random & {{ kind = \"uuid\" }},\n\
             name = p.local.random_id & {{ prefix = \"web-\", length = 3 }},\n\
             out = p.local.file & {{ path = \"out\", content = p.join [p.ref \"pass\" \"value\", \" \", p.ref \"token\" \"value\", \" \", p.ref \"uuid\" \"value\", \" \", p.ref \"name\" \"hex\"] }},"
        )
    };
    world.declare(&infra(1));
    world.settle();
    let first = world.read("out");
    let parts: Vec<usize> = first.split(' ').map(str::len).collect();
    assert_eq!(parts, [16, 16, 36, 10], "{first}");
    assert!(world.ok("provision state show name | get attributes.hex").starts_with("web-"));
    world.settle();
    assert_eq!(world.read("out"), first);
    world.declare(&infra(2));
    let plan = world.json("provision plan | select address action | sort-by address");
    assert_eq!(plan, json!([{"address": "out", "action": "update"}, {"address": "pass", "action": "replace"}]));
    world.settle();
    let second = world.read("out");
    assert_ne!(first[..16], second[..16]);
    assert_eq!(first[16..], second[16..]);
}

/// Runs a program of the machine and gives what it said.
#[track_caller]
fn run(world: &World, program: &str, args: &[&str]) -> (bool, String) {
    let said = Command::new(program).args(args).current_dir(world.project()).output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    (said.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn keys_are_those_of_age_and_of_ssh() {
    let world = World::new();
    let key = |name: &str, algorithm: &str| {
        format!(
            "{name} = p.local.tls_key & {{ algorithm = \"{algorithm}\" }},\n\
             {name}_pub = p.local.file & {{ path = \"{name}.pub\", content = p.ref \"{name}\" \"public_key_openssh\" }},\n\
             {name}_pem = p.local.file & {{ path = \"{name}.pem\", content = p.ref \"{name}\" \"private_key\" }},\n"
        )
    };
    let all = [("ed", "ed25519", "ED25519"), ("p256", "ecdsa_p256", "ECDSA"), ("p384", "ecdsa_p384", "ECDSA")];
    let keys: String = all.iter().map(|(name, algorithm, _)| key(name, algorithm)).collect();
    world.declare(&format!(
            "{keys} age = p.local.age_key,\n\
             recipients = p.local.file & {{ path = \"secrets/recipients.txt\", content = p.join [p.ref \"age\" \"recipient\", \"\\n\"] }},\n\
             identity = p.local.file & {{ path = \"identity\", content = p.ref \"age\" \"identity\" }},"
        ),
    );
    world.settle();
    for (name, _, shown) in all {
        let (good, said) = run(&world, "ssh-keygen", &["-l", "-f", &format!("{name}.pub")]);
        assert!(good && said.contains(shown), "{said}");
        assert_eq!(mode(&world, &format!("{name}.pem")), 0o600);
        let (good, said) = run(&world, "openssl", &["pkey", "-in", &format!("{name}.pem"), "-noout"]);
        assert!(good, "{said}");
    }
    assert!(world.read("secrets/recipients.txt").starts_with("age1"));
    let secret = "{ user: ada } | provision secret encrypt app | ignore";
    world.ok(secret);
    let read = "with-env { PROVISION_AGE_IDENTITY: (open identity) } { provision secret decrypt app | get user }";
    assert_eq!(world.ok(read), "ada");
    for name in ["ed.pem", "identity"] {
        let text = world.read(name);
        nowhere(&world, text.lines().nth(usize::from(name == "ed.pem")).unwrap());
    }
}
