//! Owns certificates and requests of the provider `local`, end to end: chains that OpenSSL verifies, renewal before the end, and
//! what servers on loopback may answer.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{World, workspace};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs OpenSSL and gives what it said.
fn openssl(world: &World, args: &[&str]) -> (bool, String) {
    let said = Command::new("openssl").args(args).current_dir(world.project()).output().unwrap();
    (said.status.success(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

/// An authority, a certificate that it signed, and both as files. The fields go into the certificate of the server.
fn chain(authority: &str, server: &str) -> String {
    format!(
        "ca_key = p.local.tls_key,\n\
         ca = p.local.tls_certificate & {{ private_key = p.ref \"ca_key\" \"private_key\", common_name = \"t\", is_ca = true, {authority} }},\n\
         key = p.local.tls_key & {{ algorithm = \"ed25519\" }},\n\
         cert = p.local.tls_certificate & {{\n\
           private_key = p.ref \"key\" \"private_key\", dns_names = [\"localhost\", \"*.example.org\"], ip_addresses = [\"127.0.0.1\", \"::1\"],\n\
           ca_key = p.ref \"ca_key\" \"private_key\", ca_certificate = p.ref \"ca\" \"certificate\", {server}\n\
         }},\n\
         ca_pem = p.local.file & {{ path = \"ca.pem\", content = p.ref \"ca\" \"certificate\" }},\n\
         key_pem = p.local.file & {{ path = \"key.pem\", content = p.ref \"key\" \"private_key\" }},\n\
         cert_pem = p.local.file & {{ path = \"cert.pem\", content = p.ref \"cert\" \"certificate\" }},\n"
    )
}

#[test]
fn a_chain_is_one_that_openssl_verifies() {
    let world = World::new();
    world.declare(&chain("", "common_name = \"web\", organization = \"Shop\""));
    world.settle();
    for name in ["localhost", "shop.example.org"] {
        let (good, said) =
            openssl(&world, &["verify", "-x509_strict", "-CAfile", "ca.pem", "-verify_hostname", name, "cert.pem"]);
        assert!(good, "{said}");
    }
    let (good, said) = openssl(&world, &["verify", "-CAfile", "ca.pem", "-verify_ip", "::1", "cert.pem"]);
    assert!(good, "{said}");
    let (good, _) = openssl(&world, &["verify", "-CAfile", "ca.pem", "-verify_hostname", "other.org", "cert.pem"]);
    assert!(!good);
    let (_, shown) = openssl(&world, &["x509", "-in", "cert.pem", "-noout", "-subject", "-ext", "extendedKeyUsage"]);
    assert!(shown.contains("CN = web") || shown.contains("CN=web"), "{shown}");
    assert!(shown.contains("TLS Web Server Authentication"), "{shown}");
    // The key is the certificate's.
    let (_, of_key) = openssl(&world, &["pkey", "-in", "key.pem", "-pubout"]);
    let (_, of_certificate) = openssl(&world, &["x509", "-in", "cert.pem", "-noout", "-pubkey"]);
    assert_eq!(of_key, of_certificate);
    let shown = world.json("provision state show cert | get attributes | select not_after sha256_fingerprint");
    let (_, print) = openssl(&world, &["x509", "-in", "cert.pem", "-noout", "-fingerprint", "-sha256"]);
    let print = print.split('=').nth(1).unwrap().trim().replace(':', "").to_lowercase();
    assert_eq!(shown["sha256_fingerprint"], json!(print));
}

#[test]
fn a_certificate_that_is_about_to_end_is_made_anew_with_what_hangs_on_it() {
    let world = World::new();
    world.declare(&chain("validity = \"20day\"", "validity = \"1wk\", renew_before = \"6day\""));
    world.settle();
    // It has ended for sure when this much time has passed.
    let short = chain("validity = \"20day\"", "validity = \"1s\"");
    world.declare(&short);
    world.ok("provision apply --yes | ignore");
    let before = world.read("cert.pem");
    std::thread::sleep(Duration::from_millis(1100));
    let plan = world.json("provision plan | select address action | sort-by address");
    assert_eq!(plan, json!([{"address": "cert", "action": "replace"}, {"address": "cert_pem", "action": "update"}]));
    let reason = world.json("provision plan | where address == cert | get 0.reason");
    assert!(reason.as_str().unwrap().starts_with("it expired 20"), "{reason}");
    world.declare(&short.replace("validity = \"1s\"", "validity = \"1day\", renew_before = \"1h\""));
    world.settle();
    assert_ne!(world.read("cert.pem"), before);
    // The key stays, and so does the authority.
    assert!(openssl(&world, &["verify", "-CAfile", "ca.pem", "cert.pem"]).0);
    // A longer time before the end is no change of the certificate, until it says that the end is near.
    world.declare(&short.replace("validity = \"1s\"", "validity = \"1day\", renew_before = \"2h\""));
    let row = world.json("provision plan | first | select action reason");
    assert_eq!(row, json!({"action": "update", "reason": "renew_before changed"}));
    world.settle();
}

#[test]
fn a_key_or_an_authority_that_does_not_fit_is_refused() {
    let world = World::new();
    let wrong = chain("", "").replace("ca_key = p.ref \"ca_key\"", "ca_key = p.ref \"key\"");
    world.declare(&wrong);
    let refused = world.fails("provision apply --yes");
    let told = refused.all().into_iter().find(|it| it.msg.contains("is not the key")).unwrap().clone();
    told.is("provision::plan::value", "`cert.ca_key` is not the key of `ca_certificate`", "Refer to the key");
    world.declare(&chain("", "").replace("is_ca = true", "is_ca = false"));
    let refused = format!("{:?}", world.fails("provision apply --yes"));
    assert!(refused.contains("is no certificate of an authority"), "{refused}");
    // An authority whose time is over signs nothing.
    let world = World::new();
    world.declare(&chain("validity = \"1s\"", ""));
    world.nu("provision apply --yes | ignore");
    std::thread::sleep(Duration::from_millis(1100));
    let old = world.read("ca.pem");
    let anew = chain("", "common_name = \"another\"");
    world.declare(&anew.replace("p.ref \"ca\" \"certificate\", ", &format!("{}, ", json!(old))));
    let refused = format!("{:?}", world.fails("provision apply --yes"));
    assert!(refused.contains("`ca_certificate` expired") && refused.contains("anew first"), "{refused}");
}

/// What a server on loopback was asked, the first line and the headers of each request.
type Asked = Arc<Mutex<Vec<String>>>;

/// A server that does what the path says; it ends with the process.
fn server() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = log.clone();
            std::thread::spawn(move || answer(stream, &log));
        }
    });
    (url, asked)
}

fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        request += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|it| it.split(' ').nth(1) == Some(&path)).count();
        log.push(request.clone());
        before
    };
    let mut say = |status: &str, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()
    };
    match path.as_str() {
        "/index.html" => say("200 OK", "", b"<h1>No cloud</h1>\n"),
        "/ok" => say("200 OK", "x-from: loopback\r\nset-cookie: a\r\nset-cookie: b\r\n", b"fine\n"),
        "/bytes" => say("200 OK", "", &[0xff, 0xfe, 0x00]),
        "/echo" => say("200 OK", "", &[request.as_bytes(), &body].concat()),
        "/broken" => say("500 Internal Server Error", "", b"no"),
        "/missing" => say("404 Not Found", "", b"no"),
        "/soon" if before < 2 => say("503 Service Unavailable", "", b""),
        "/soon" => say("200 OK", "", b"now"),
        "/huge" => say("200 OK", "", &vec![b'x'; (1 << 20) + 1]),
        "/large" => say("200 OK", "", &vec![b'x'; 1 << 20]),
        "/garbage" => stream.write_all(b"\x16\x03 this is no HTTP\r\n\r\n").ok(),
        "/half" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").ok(),
        "/moved" => say("302 Found", "location: /ok\r\n", b""),
        "/round" => say("302 Found", "location: /round\r\n", b""),
        "/elsewhere" => say("302 Found", "location: http://127.0.0.2:1/x\r\n", b""),
        // Until the other side has had enough.
        _ => {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
            let _ = stream.read(&mut [0]);
            None
        }
    }
}

fn count(asked: &Asked, path: &str) -> usize {
    asked.lock().unwrap().iter().filter(|it| it.split(' ').nth(1) == Some(path)).count()
}

#[test]
fn a_request_is_made_once_and_again_when_it_is_another_one() {
    let world = World::new();
    let (url, asked) = server();
    let infra = |path: &str, more: &str| {
        format!(
            "it = p.local.http & {{ url = \"{url}{path}\", {more} }},\n\
             seen = p.local.data & {{ input = [p.ref \"it\" \"status\", p.ref \"it\" \"response_body\"] }},"
        )
    };
    world.declare(&infra("/ok", "headers.accept = \"text/plain\""));
    world.settle();
    assert_eq!(world.json("provision state show seen | get attributes.output"), json!([200, "fine\n"]));
    let headers = world.json("provision state show it | get attributes.response_headers | select x-from set-cookie");
    assert_eq!(headers, json!({"x-from": "loopback", "set-cookie": "a, b"}));
    assert_eq!(count(&asked, "/ok"), 1);
    assert!(asked.lock().unwrap()[0].contains("accept: text/plain"));
    // How long it may take is no other request; what is asked is.
    world.declare(&infra("/ok", "headers.accept = \"text/plain\", timeout = \"3s\""));
    world.settle();
    assert_eq!(count(&asked, "/ok"), 1);
    world.declare(&infra("/missing", "expect_status = [200, 404]"));
    let plan = world.json("provision plan | select address action | sort-by address");
    assert_eq!(plan, json!([{"address": "it", "action": "replace"}, {"address": "seen", "action": "update"}]));
    world.settle();
    assert_eq!(world.json("provision state show seen | get attributes.output.0"), json!(404));
    world.declare(&infra("/moved", ""));
    world.settle();
    assert_eq!(world.json("provision state show seen | get attributes.output"), json!([200, "fine\n"]));
    world.declare(&infra("/soon", "retries = 3"));
    world.settle();
    assert_eq!(count(&asked, "/soon"), 3);
    world.declare(&format!("it = p.local.http & {{ url = \"{url}/bytes\" }},"));
    world.settle();
    assert_eq!(world.json("provision state show it | get attributes.response_body_base64"), json!("//4A"));
    world.declare(&format!("it = p.local.http & {{ url = \"{url}/large\" }},"));
    world.settle();
}

#[test]
fn an_answer_that_is_none_is_an_error_with_a_next_step() {
    let world = World::new();
    let (url, asked) = server();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rejected = "provision::provider::rejected";
    let unavailable = "provision::provider::unavailable";
    for (path, more, code, said, times) in [
        ("/broken", "retries = 1", rejected, "status 500, not 200 to 299", 2),
        ("/missing", "expect_status = [200, 204], retries = 0", rejected, "status 404, not 200, 204", 1),
        ("/broken", "method = \"POST\", retries = 5", rejected, "status 500", 1),
        ("/huge", "retries = 5", rejected, "larger than 1 MiB", 1),
        ("/garbage", "retries = 0", "", "", 1),
        ("/half", "retries = 0", "", "", 1),
        ("/hang", "timeout = \"200ms\", retries = 1", unavailable, "no answer came", 2),
        (
            "/hang",
            "timeout = \"200ms\", retries = 5, method = \"POST\", body = \"x\"",
            unavailable,
            "no answer came",
            1,
        ),
        ("/round", "retries = 0", rejected, "redirects more than", 6),
        ("/elsewhere", "headers.authorization = p.secret \"canary-header\"", rejected, "redirects to `127.0.0.2:1`", 1),
    ] {
        asked.lock().unwrap().clear();
        world.declare(&format!("it = p.local.http & {{ url = \"{url}{path}\", {more} }},"));
        let refused = world.fails("provision apply --yes");
        let told = format!("{refused:?}");
        assert!(told.contains(said) && told.contains(code), "{path}: {told}");
        assert!(refused.all().iter().all(|it| it.help.is_some()), "{told}");
        assert!(!told.contains("canary"), "{told}");
        assert_eq!(count(&asked, path), times, "{path} {more}");
        assert_eq!(world.json("provision state list | length"), json!(0), "{path}");
    }
    world.declare(&format!("it = p.local.http & {{ url = \"http://{free}/\", retries = 1 }},"));
    let told = format!("{:?}", world.fails("provision apply --yes"));
    assert!(told.contains(unavailable) && told.contains("refused"), "{told}");
    for (fields, code, said) in [
        ("url = \"ftp://127.0.0.1/\"", "value", "is no address of HTTP"),
        ("url = \"http://ada:canary@127.0.0.1/\"", "value", "holds a name or a password"),
        ("url = \"http://127.0.0.1/a b\"", "value", "holds a space"),
        ("url = \"http://127.0.0.1/\", method = \"GTE\"", "unknown_value", "cannot be `GTE`"),
        ("url = \"http://127.0.0.1/\", timeout = \"1hour\"", "value", "no time to wait"),
        ("url = \"http://127.0.0.1/\", retries = -1", "value", "out of range: -1"),
        ("url = \"http://127.0.0.1/\", expect_status = [20]", "value", "no status: 20"),
        ("url = \"http://127.0.0.1/\", body = \"x\"", "value", "not sent with this method"),
    ] {
        world.declare(&format!("it = p.local.http & {{ {fields} }},"));
        let refused = world.fails("provision plan");
        refused.is(&format!("provision::plan::{code}"), said, "");
        assert!(!refused.msg.contains("canary"), "{refused:?}");
    }
    world.declare("it = p.local.http & { url = \"http://127.0.0.1:1/\", headers.x = \"a\\nb: c\", retries = 0 },");
    let told = format!("{:?}", world.fails("provision apply --yes"));
    assert!(told.contains("cannot be asked"), "{told}");
}

#[test]
fn what_is_secret_in_a_request_is_secret_in_its_answer() {
    let world = World::new();
    let (url, _) = server();
    world.declare(&format!(
            "it = p.local.http & {{ url = \"{url}/echo\", method = \"POST\", headers.authorization = p.secret \"Bearer canary-bearer\", body = p.join [\"x=\", p.secret \"canary-body\"] }},\n\
             out = p.local.file & {{ path = \"out\", content = p.ref \"it\" \"response_body\" }},"
        ),
    );
    let mut said = world.ok("provision plan | to json");
    said += &world.ok("provision apply --yes | to json");
    said += &world.ok("provision state export | to json");
    said += &world.ok("provision state show it | to json");
    let held: Value = json!(world.read("out"));
    assert!(
        held.as_str().unwrap().contains("Bearer canary-bearer") && held.as_str().unwrap().contains("x=canary-body")
    );
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(world.json("provision state show it | get attributes.status"), json!(200));
}

#[test]
fn the_example_without_a_cloud_is_made_healed_and_taken_down() {
    let mut world = World::new();
    let (url, asked) = server();
    world.env("SITE_URL", Some(&url));
    let example = std::fs::read_to_string(workspace().join("examples/no-cloud/infra.ncl")).unwrap();
    world.write("infra.ncl", &example);
    world.settle();
    assert_eq!(count(&asked, "/index.html"), 1);
    assert_eq!(world.ok("provision output answer"), "<h1>No cloud</h1>");
    assert_eq!(world.read("site/app.env").len(), "DB_PASSWORD=".len() + 33);
    let served = ["verify", "-CAfile", "site/ca.pem", "-verify_hostname", "localhost", "site/certificate.pem"];
    assert!(openssl(&world, &served).0);

    world.write("site/index.html", "<h1>Hacked</h1>\n");
    world.write("site/app.env", "DB_PASSWORD=canary-hacked\n");
    let drift = world.json("provision drift | select address path | sort-by address");
    assert_eq!(drift, json!([{"address": "config", "path": "sha256"}, {"address": "page", "path": "sha256"}]));
    world.ok("provision heal | provision apply | ignore");
    assert_eq!(world.json("provision drift"), json!([]));
    assert_eq!(world.read("site/index.html"), "<h1>No cloud</h1>\n");
    assert!(!world.read("site/app.env").contains("canary-hacked"));
    assert_eq!(world.json("provision plan"), json!([]));
    // Nothing was asked again for it.
    assert_eq!(count(&asked, "/index.html"), 1);
    world.ok("provision destroy --yes | ignore");
    assert!(!world.project().join("site").exists());
    assert_eq!(world.json("provision state list"), json!([]));
}
