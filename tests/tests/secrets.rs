//! Owns secrets, end to end: files encrypted for people, where secrets come from, and that nothing shows them.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{PUBLIC_KEY, World};
use serde_json::{Value, json};
use std::process::Command;

/// No command about secrets reads more of it than that it is there.
const EMPTY: &str = "{ name = \"s\", resources = {} }";

/// A project whose one recipient has made an identity.
fn ready(world: World) -> World {
    world.write("infra.ncl", EMPTY);
    world.ok("provision secret init | ignore");
    world
}

/// An SSH key, with a passphrase of its own or none: the path of the secret half, and the public one.
fn ssh_key(world: &World, name: &str, passphrase: &str) -> (String, String) {
    let path = world.home().join(name);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "bob@example", "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (path.to_string_lossy().into_owned(), public)
}

/// No file of the state holds the text, whatever it is called.
#[track_caller]
fn nowhere(world: &World, text: &str) {
    let mut open = vec![world.project().join(".provision")];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 1, "there is no state");
}

#[test]
fn a_value_of_any_shape_comes_back_and_its_file_can_be_committed() {
    let world = World::new();
    world.write("infra.ncl", EMPTY);
    let ready = world.json("provision secret init");
    assert!(ready["recipient"].as_str().unwrap().starts_with("age1"), "{ready}");
    let identity = world.home().join(".config/nu-provision/identity.txt");
    assert_eq!(ready["identity"], json!(identity.to_string_lossy()));
    assert!(ready["recipients"].as_str().unwrap().ends_with("project/secrets/recipients.txt"), "{ready}");
    assert_eq!(world.json("provision secret init"), ready);

    let written = world.json(
        "{user: ada, password: canary-5001, port: 5432, since: 2026-01-02, size: 3kb} \
         | provision secret encrypt app/db | select name recipients",
    );
    assert_eq!(written, json!({"name": "app/db", "recipients": 1}));
    let types = world.json(
        "let value = provision secret decrypt app/db; \
         [($value.since | describe) ($value.size | describe) $value.port]",
    );
    assert_eq!(types, json!(["datetime", "filesize", 5432]));
    assert_eq!(world.json("provision secret decrypt app/db --field password"), json!("canary-5001"));
    let text = world.read("secrets/app/db.age");
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && !text.contains("canary"), "{text}");

    world.ok("'canary-5002' | provision secret encrypt db | ignore");
    let rows = world.json("provision secret list | select name recipients readable");
    let row = |name: &str| json!({"name": name, "recipients": 1, "readable": true});
    assert_eq!(rows, json!([row("app/db"), row("db")]));
    let types =
        world.json("let row = provision secret list | get 0; [($row.modified | describe) ($row.size | describe)]");
    assert_eq!(types, json!(["datetime", "filesize"]));

    // Without a name it is text, for wherever text can be kept.
    world.ok("[1 two {three: 3}] | provision secret encrypt | save note.age");
    assert_eq!(world.json("open --raw note.age | provision secret decrypt"), json!([1, "two", {"three": 3}]));
    let field = world.fails("provision secret decrypt app/db --field pasword");
    field.is("provision::secret::unknown", "`app/db` has no field `pasword`", "describe");
    assert!(!format!("{field:?}").contains("canary"));
}

#[test]
fn a_closure_changes_a_secret_and_makes_it_where_there_is_none() {
    let world = ready(World::new());
    let edit = "provision secret edit counter \
                {|old| if $old == null { {n: 1} } else { $old | update n {|row| $row.n + 1 } } }";
    let written = world.json(&format!("{edit} | select name recipients"));
    assert_eq!(written, json!({"name": "counter", "recipients": 1}));
    world.ok(&format!("{edit} | ignore"));
    assert_eq!(world.json("provision secret decrypt counter"), json!({"n": 2}));
    // What did not change is not encrypted again: there is nothing to commit.
    let before = world.read("secrets/counter.age");
    world.ok("provision secret edit counter {|old| $old } | ignore");
    assert_eq!(world.read("secrets/counter.age"), before);
    let nothing = world.fails("provision secret edit counter {|old| null }");
    nothing.is("provision::secret::edit", "the closure gave nothing", "upsert");
    // Nobody sits at a test: an editor would wait for ever.
    let editor = world.fails("$env.EDITOR = 'vi'; provision secret edit counter");
    editor.is("provision::secret::edit", "no terminal", "provision secret edit counter {|value|");
    assert_eq!(world.json("provision secret decrypt counter"), json!({"n": 2}));
}

#[test]
fn who_joins_reads_after_a_rotation_and_who_left_does_not() {
    let mut world = ready(World::new());
    world.ok("'canary-5003' | provision secret encrypt db | ignore");
    let (key, public) = ssh_key(&world, "bob", "");
    world.write("bob.pub", &public);
    world.env("PROVISION_AGE_IDENTITY", Some(&key));
    let refused = world.fails("provision secret decrypt db");
    refused.is("provision::secret::not_a_recipient", "none of your identities opens `db`", "provision secret rotate");
    assert_eq!(world.json("provision secret list | get readable"), json!([false]));
    let refused = world.fails("provision secret rotate");
    refused.is("provision::secret::recipient", "you are none of the recipients", "provision secret init");

    world.env("PROVISION_AGE_IDENTITY", None);
    world.ok("provision secret init --recipient (open bob.pub) | ignore");
    let rotated = world.json("provision secret rotate | select name recipients");
    assert_eq!(rotated, json!([{"name": "db", "recipients": 2}]));
    assert_eq!(world.json("provision secret decrypt db"), json!("canary-5003"));
    world.env("PROVISION_AGE_IDENTITY", Some(&key));
    assert_eq!(world.json("provision secret decrypt db"), json!("canary-5003"));
    let bob = world.json("provision secret init");
    assert!(public.starts_with(bob["recipient"].as_str().unwrap()), "{bob}");
    assert_eq!(bob["identity"], json!(key));
    // He is a reader like any other: what he writes Ada reads.
    world.ok("'canary-5004' | provision secret encrypt from-bob | ignore");

    world.env("PROVISION_AGE_IDENTITY", None);
    assert_eq!(world.json("provision secret decrypt from-bob"), json!("canary-5004"));
    let recipients = world.read("secrets/recipients.txt");
    assert!(recipients.contains("bob@example"), "{recipients}");
    let kept: Vec<&str> = recipients.lines().filter(|line| !line.starts_with("ssh-")).collect();
    world.write("secrets/recipients.txt", &kept.join("\n"));
    world.ok("provision secret rotate | ignore");
    world.env("PROVISION_AGE_IDENTITY", Some(&key));
    for name in ["db", "from-bob"] {
        let refused = world.fails(&format!("provision secret decrypt {name}"));
        refused.is("provision::secret::not_a_recipient", name, "recipients.txt");
    }
}

#[test]
fn a_new_identity_takes_over_and_the_old_one_opens_nothing_new() {
    let mut world = ready(World::new());
    world.ok("'canary-5005' | provision secret encrypt db | ignore");
    let identity = world.home().join(".config/nu-provision/identity.txt");
    let old = std::fs::read_to_string(&identity).unwrap();
    let recipient = world.json("provision secret init | get recipient");
    world.ok("provision secret rotate --new-identity | ignore");
    assert_ne!(world.json("provision secret init | get recipient"), recipient);
    assert!(!world.read("secrets/recipients.txt").contains(recipient.as_str().unwrap()));
    assert_eq!(world.json("provision secret decrypt db"), json!("canary-5005"));
    // An identity can be given as text, too.
    world.env("PROVISION_AGE_IDENTITY", Some(&old));
    world.fails("provision secret decrypt db").is("provision::secret::not_a_recipient", "`db`", "");
    assert_eq!(world.json("provision secret init | get identity"), Value::Null);
    std::fs::remove_file(world.project().join("secrets/db.age")).unwrap();
    let hidden = world.fails("provision secret rotate --new-identity");
    hidden.is("provision::secret::no_identity", "which PROVISION_AGE_IDENTITY hides", "unset PROVISION_AGE_IDENTITY");
    assert!(!format!("{hidden:?}").contains("AGE-SECRET-KEY"), "{hidden:?}");
}

#[test]
fn a_passphrase_opens_what_it_closed_and_rotation_leaves_it() {
    let mut world = ready(World::new());
    world.env("PROVISION_AGE_PASSPHRASE", Some("canary horse"));
    let written = world.json("'canary-5006' | provision secret encrypt db --passphrase | get recipients");
    assert_eq!(written, json!(0));
    assert_eq!(world.json("provision secret decrypt db"), json!("canary-5006"));
    assert_eq!(world.json("provision secret rotate"), json!([]));
    let listed = world.json("provision secret list | select recipients readable");
    assert_eq!(listed, json!([{"recipients": 0, "readable": true}]));
    world.env("PROVISION_AGE_PASSPHRASE", Some("canary mare"));
    let wrong = world.fails("provision secret decrypt db");
    wrong.is("provision::secret::not_a_recipient", "the passphrase does not open `db`", "PROVISION_AGE_PASSPHRASE");
    assert!(!format!("{wrong:?}").contains("canary"));
    world.env("PROVISION_AGE_PASSPHRASE", None);
    let absent = "PROVISION_AGE_PASSPHRASE is not set";
    world.fails("provision secret decrypt db").is("provision::secret::no_identity", absent, "$env.PROVISION");
    world.fails("1 | provision secret encrypt --passphrase").is("provision::secret::no_identity", absent, "$env.");
}

/// It prints what it should not, and gives it only to who asks.
const VAULT: &str = "export def secret [request: record]: nothing -> any {
  print canary-6007
  match $request.name? { 'db/password' => 'canary-6006', 'number' => 6006, 'slow' => (sleep 60sec), _ => (error make --unspanned {msg: 'canary-7008 is not there'}) }
}
";

#[test]
fn a_module_that_gives_no_secret_is_told_and_what_it_says_is_not() {
    let world = ready(World::new());
    world
        .write("vault/mod.nu", VAULT)
        .write("none/mod.nu", "export def other [] { 1 }")
        .write("bad/mod.nu", "export def secret [ {");
    let one = |source: &str| {
        format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources.a = p.local.data & {{ input = p.secret {{ {source} }} }} }} | p.Infrastructure"
        )
    };
    for (source, message) in [
        ("module = \"vault\", name = \"nothing\"", "the module `vault` raised an error"),
        ("module = \"vault\", name = \"number\"", "the module `vault` gave no text"),
        ("module = \"away\"", "there is no `away/mod.nu`"),
        ("module = \"none\"", "does not export `secret`"),
        ("module = \"bad\"", "the module `bad`"),
    ] {
        world.write("infra.ncl", &one(source));
        let told = world.fails("provision plan");
        told.is("provision::secret::source", message, "");
        assert!(!format!("{told:?}").contains("canary"), "{told:?}");
    }
}

#[test]
fn secrets_from_everywhere_are_used_and_never_shown() {
    let mut world = ready(World::new().with_sandbox());
    world.env("DB_PASSWORD", Some("canary-6005"));
    world.ok("'canary-6001' | provision secret encrypt db | ignore");
    world.ok("{ user: ada, db: { password: canary-6002 } } | provision secret encrypt app | ignore");
    world.write("token.txt", "canary-6003\n").write("hidden/value", "canary-6004\n");
    world.write("vault/mod.nu", VAULT);
    world.write(
        "infra.ncl",
        r##"let p = import "provision.ncl" in { name = "s", resources = {
  age = p.local.data & { input = p.secret { age = "db" } },
  field = p.local.data & { input = { user = "ada", password = p.secret { age = "app", field = "db.password" } } },
  file = p.local.data & { input = p.secret { file = "token.txt" } },
  program = p.local.data & { input = p.secret { command = ["cat", "hidden/value"] } },
  variable = p.local.data & { input = p.secret { env = "DB_PASSWORD" } },
  module = p.local.data & { input = p.secret { module = "vault", name = "db/password" } },
  copy = p.local.data & { input = p.join ["pre-", p.ref "age" "output"] },
  web = p.hetzner.server & {
    server_type = "cx23", image = "debian-12",
    user_data = p.join ["#cloud-config\npassword: ", p.secret { age = "app", field = "db.password" }],
  },
}, outputs = {
  age = p.ref "age" "output", direct = p.secret { file = "token.txt" }, program = p.ref "program" "output",
  module = p.ref "module" "output",
} }"##,
    );
    let said = world.ok("provision plan | to json")
        + &world.ok("provision plan | provision apply | to json")
        + &world.ok("provision state list | get address | each {|it| provision state show $it } | to json")
        + &world.ok("provision output | to json; provision plan --all | to json");
    assert!(said.contains("<sensitive>") && !said.contains("canary"), "{said}");
    assert_eq!(world.json("provision plan"), json!([]));
    nowhere(&world, "canary-600");

    // Asked for by its name, it is given.
    assert_eq!(world.json("provision output age"), json!("canary-6001"));
    assert_eq!(world.json("provision output direct"), json!("canary-6003"));
    assert_eq!(world.json("provision output program"), json!("canary-6004"));
    assert_eq!(world.json("provision output module"), json!("canary-6006"));

    // A secret that changed is a change, without its values.
    world.ok("'canary-6011' | provision secret encrypt db | ignore");
    world.write("token.txt", "canary-6013\r\n");
    let changes = world.json(
        "provision plan | where address in [age file] | get changes | flatten | select path before after sensitive",
    );
    let masked = json!({"path": "input", "before": "<sensitive>", "after": "<sensitive>", "sensitive": true});
    assert_eq!(changes, json!([masked, masked]));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision output direct"), json!("canary-6013"));
    nowhere(&world, "canary-601");

    // Taking it down needs none of them.
    world.env("PROVISION_AGE_IDENTITY", Some("no-such-file"));
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn data_says_where_its_secrets_are_as_a_file_does() {
    let world = ready(World::new());
    world.ok("'canary-6021' | provision secret encrypt db | ignore");
    let plan = |secret: &str| {
        format!(
            "{{name: s, resources: {{a: {{\"$type\": local.data, input: {{\"$secret\": {secret}}}}}}}, \
             outputs: {{a: {{\"$ref\": {{address: a, attribute: output}}}}}}}} \
             | provision plan | provision apply | to json"
        )
    };
    assert!(!world.ok(&plan("{age: db}")).contains("canary"));
    nowhere(&world, "canary-602");
    assert_eq!(world.json("provision output a"), json!("canary-6021"));
    // Any other record is itself the secret, as it always was.
    assert!(!world.ok(&plan("{user: ada, pin: canary-6022}")).contains("canary"));
    nowhere(&world, "canary-602");
    assert_eq!(world.json("provision output a"), json!({"user": "ada", "pin": "canary-6022"}));
}

#[test]
fn an_account_has_its_credential_from_a_secret() {
    let world = ready(World::new().with_sandbox());
    world.ok("$'($env.HCLOUD_TOKEN)-canary-6031' | provision secret encrypt hcloud | ignore");
    world.write(
        "infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\",\n\
             providers.hetzner_eu = p.hetzner.account & {{ token = p.secret {{ age = \"hcloud\" }} }},\n\
             resources.a = p.hetzner.ssh_key & {{ \"$provider\" = \"hetzner_eu\", public_key = \"{PUBLIC_KEY}\" }} }}"
        ),
    );
    let said = world.ok("provision plan | to json") + &world.ok("provision apply --yes | to json");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(world.json("provision state list | get account"), json!(["hetzner_eu"]));
    nowhere(&world, "canary-603");
}

/// A configuration of one resource, which stands on line 3.
fn one(input: &str) -> String {
    format!(
        "let p = import \"provision.ncl\" in {{ name = \"s\",\n  resources = {{\n    \
         a = p.local.data & {{ input = {input} }},\n  }} }} | p.Infrastructure\n"
    )
}

#[test]
fn a_source_that_gives_nothing_is_told_where_it_stands() {
    let world = ready(World::new());
    world.ok("'canary-7001' | provision secret encrypt database | ignore");
    let refused = |input: &str, code: &str, in_message: &str, in_help: &str| {
        world.write("infra.ncl", &one(input));
        let caught = world.fails("provision plan");
        caught.is(code, in_message, in_help);
        assert!(!format!("{caught:?}").contains("canary"), "{caught:?}");
    };
    let unknown = "provision::secret::unknown";
    let at = "there is no secret `databas` in this project (infra.ncl:3:";
    refused("p.secret { age = \"databas\" }", unknown, at, "Did you mean `database`?");
    let at = "`Database` is no name for a secret (infra.ncl:3:";
    refused("p.join [\"x\", p.secret { age = \"Database\" }]", unknown, at, "lower-case letters");
    let source = "provision::secret::source";
    for wrong in ["age = 3", "age = \"a\", fild = \"x\"", "age = \"a\", field = \"b..c\"", "command = \"ls\""] {
        let at = "`resources.a.input` is no source of a secret (infra.ncl:3:";
        refused(&format!("p.secret {{ {wrong} }}"), source, at, "p.secret { age = \"NAME\" }");
    }
    let at = "NO_SUCH is not set (infra.ncl:3:";
    refused("p.secret { env = \"NO_SUCH\" }", "provision::provider::credential", at, "$env.NO_SUCH");
    let field = "p.secret { age = \"database\", field = \"a.b\" }";
    refused(field, unknown, "`database` has no field `a.b`", "describe");
    refused("p.secret { file = \"no-such\" }", source, "`no-such` cannot be read", "relative to the project");
    world.write("empty", "\n");
    refused("p.secret { file = \"empty\" }", source, "`empty` gave nothing", "mistake");
    let failing = "p.secret { command = [\"ls\", \"/canary-7002\"] }";
    refused(failing, source, "`ls`, which gives a secret, ended with exit code 2", "Run it by itself");
    let missing = "p.secret { command = [\"no-such-program\", \"canary-7003\"] }";
    refused(missing, source, "`no-such-program`, which gives a secret, cannot be started", "PATH");

    // A list, and no shell: nothing of it is read as anything else.
    world.write("infra.ncl", &one("p.secret { command = [\"echo\", \"$(id); x\"] }"));
    world.ok("provision apply --yes | ignore");
    // Outputs are looked at like resources.
    world.write("out.ncl", "{ name = \"s\", resources = {}, outputs.a = { \"$secret\" = { age = \"databas\" } } }");
    world.fails("provision plan out.ncl").is(unknown, "(out.ncl:1:", "`database`");
}

#[test]
fn every_mistake_has_its_code_and_its_next_step() {
    let world = World::new();
    world.fails("provision secret list").is("provision::config::no_project", "infra.ncl", "--project");
    world.write("infra.ncl", EMPTY);
    assert_eq!(world.json("provision secret list"), json!([]));
    let init = "provision secret init";
    world.fails("1 | provision secret encrypt db").is("provision::secret::recipient", "nobody is named", init);
    world.fails("provision secret rotate").is("provision::secret::no_identity", "you have no identity", init);
    world.ok("provision secret init | ignore; 1 | provision secret encrypt database | ignore");
    world.fails("provision secret decrypt databse").is("provision::secret::unknown", "`databse`", "`database`");
    world.fails("provision secret decrypt zzz").is("provision::secret::unknown", "`zzz`", "provision secret list");
    for name in ["../up", "Up", "a//b", "''"] {
        let refused = world.fails(&format!("1 | provision secret encrypt {name}"));
        refused.is("provision::secret::name", "is no name for a secret", "lower-case letters");
    }
    let malformed = "provision::secret::malformed";
    world.fails("provision secret encrypt db").is(malformed, "there is nothing to encrypt", "on the pipeline");
    world.fails("'no' | provision secret decrypt").is(malformed, "is no age ciphertext", "whole and unchanged");
    world.fails("5 | provision secret decrypt").is(malformed, "there is no ciphertext, but int", "Name a secret");
    let large = world.fails("'' | fill --width 1048577 | provision secret encrypt");
    large.is(malformed, "larger than 1 MiB", "keep larger things elsewhere");
    let damaged = world.read("secrets/database.age").replace("-----END", "AAAA\n-----END");
    world.write("secrets/damaged.age", &damaged);
    for command in ["provision secret decrypt damaged", "provision secret rotate"] {
        world.fails(command).is(malformed, "`damaged` is damaged", "backup");
    }
    std::fs::remove_file(world.project().join("secrets/damaged.age")).unwrap();
    std::fs::remove_dir_all(world.project().join("secrets")).unwrap();
    world.write("secrets", "no folder");
    world.fails("provision secret list").is("provision::secret::io", "project/secrets", "permissions");
    world.fails("1 | provision secret encrypt db").is("provision::secret::io", "recipients.txt", "permissions");
}

#[test]
fn a_wrong_recipient_is_told_and_a_secret_key_not_repeated() {
    let world = ready(World::new());
    let recipient = "provision::secret::recipient";
    let key = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    for (given, message) in [
        (key, "this is a secret key"),
        ("age1nobody", "no age or SSH public key"),
        ("nobody", "no age or SSH public key"),
    ] {
        for command in ["1 | provision secret encrypt --recipient", "provision secret init --recipient"] {
            for form in [format!("'{given}'"), format!("['{given}']")] {
                let refused = world.fails(&format!("{command} {form}"));
                refused.is(recipient, message, "public key");
                assert!(!format!("{refused:?}").contains("GQ9778VQ"), "{refused:?}");
            }
        }
    }
    let both = format!("1 | provision secret encrypt --passphrase --recipient '{PUBLIC_KEY}'");
    world.fails(&both).is(recipient, "exclude each other", "--passphrase");
    // Encrypted for somebody else alone, it is theirs.
    let theirs = format!("1 | provision secret encrypt --recipient '{PUBLIC_KEY}' | provision secret decrypt");
    world.fails(&theirs).is("provision::secret::not_a_recipient", "none of your identities", "provision secret rotate");
    let listed = world.read("secrets/recipients.txt");
    world.write("secrets/recipients.txt", &format!("{listed}nobody\n"));
    world.fails("1 | provision secret encrypt db").is(recipient, "(line 4 of", "public key");
}

#[test]
fn an_identity_that_cannot_be_used_is_told_and_not_repeated() {
    let mut world = ready(World::new());
    world.ok("1 | provision secret encrypt db | ignore");
    let (locked, _) = ssh_key(&world, "locked", "CANARY-passphrase");
    world.write("broken.txt", "AGE-SECRET-KEY-CANARY\n");
    for (given, message) in [
        (locked.as_str(), "passphrase of its own"),
        // Relative to the folder of the shell.
        ("broken.txt", "a line that is no age identity"),
        ("AGE-SECRET-KEY-CANARY", "a line that is no age identity"),
        ("no-such-CANARY", "cannot be read"),
    ] {
        world.env("PROVISION_AGE_IDENTITY", Some(given));
        for command in ["provision secret decrypt db", "provision secret init", "provision secret list"] {
            let refused = world.fails(command);
            refused.is("provision::secret::no_identity", message, "PROVISION_AGE_IDENTITY");
            assert!(!format!("{refused:?}").contains("CANARY"), "{refused:?}");
        }
    }
}

#[test]
fn a_secret_that_cannot_be_a_fields_value_is_refused_and_not_told() {
    let mut world = World::new().with_sandbox();
    world.env("WORD", Some("canary-7")).env("ELEVEN", Some("11"));
    let refused = |resource: &str, code: &str, message: &str, help: &str| {
        world.declare(&format!("it = {resource},"));
        let told = world.fails("provision plan");
        told.is(code, message, help);
        let text = format!("{told:?}");
        assert!(!text.contains("canary-7"), "{text}");
    };
    // An id is told and kept in clear.
    for resource in [
        "p.local.file & { path = p.secret { env = \"WORD\" }, content = \"x\" }",
        "p.local.directory & { path = p.join [\"d-\", p.secret { env = \"WORD\" }] }",
        "p.upcloud.tag & { name = p.secret { env = \"WORD\" } }",
    ] {
        refused(resource, "provision::plan::secret_key", "the resource is known by it", "no secret");
    }
    refused(
        "p.local.tls_key & { algorithm = p.secret { env = \"WORD\" } }",
        "provision::plan::unknown_value",
        "`it.algorithm` is a secret, and it is none of the values",
        "Use one of ",
    );
    refused(
        "p.local.random & { length = p.secret { env = \"WORD\" } }",
        "provision::plan::type",
        "`it.length` is a secret, and it is not",
        "Give `length`",
    );
    world.declare("it = p.local.random & { length = p.secret { env = \"ELEVEN\" } },");
    world.settle();
    assert_eq!(world.json("provision plan"), json!([]));
}
