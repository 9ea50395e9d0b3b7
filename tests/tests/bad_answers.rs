//! Owns bad answers of a cloud, over the real wire: each is an error with a code that names the provider, the resource
//! and the request, and never the credential.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_engine::{
    Actor, ApplyOptions, Clock, Host, Input, Outside, PlanOptions, Project, Session, Wire, WireAnswer, WireError,
    WireRequest,
};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

const TOKEN: &str = "canary-token-5a17";

/// A clock that does not wait: what is tried again is tried at once.
struct Impatient {
    begun: Instant,
    passed: AtomicU64,
    /// How far its time of day is off.
    off: Duration,
}

impl Impatient {
    fn new(off: Duration) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), passed: AtomicU64::new(0), off })
    }
}

impl Clock for Impatient {
    fn now(&self) -> Instant {
        self.begun + Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now() + self.off
    }

    fn wait(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_millis()).unwrap().max(1), Ordering::SeqCst);
    }
}

/// A cloud that says one thing, whatever it is asked, and closes; `None` says it for ever.
fn cloud(head: String, body: Vec<u8>, times: Option<usize>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut seen: Vec<u8> = Vec::new();
            let mut buffer = [0; 4096];
            // A handshake is answered at once, in plain text.
            while seen.first() != Some(&0x16) && !seen.windows(4).any(|four: &[u8]| four == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => seen.extend(&buffer[..length]),
                }
            }
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(head.as_bytes());
            let mut left = times.unwrap_or(usize::MAX);
            while left > 0 && stream.write_all(&body).is_ok() {
                left -= 1;
            }
        }
    });
    (url, asked)
}

fn session(url: &str, off: Duration, wire: Option<Arc<dyn Wire>>) -> Session {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    let registry =
        REGISTRY.get_or_init(|| Arc::new(Registry::load(None, None, &Evaluator::default()).unwrap())).clone();
    let url = url.to_owned();
    let env = move |name: &str| match name {
        "HCLOUD_ENDPOINT" => Some(format!("{url}/v1")),
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        "AWS_REGION" => Some("eu-north-1".to_owned()),
        "AWS_ACCESS_KEY_ID" => Some("sandbox".to_owned()),
        "HCLOUD_TOKEN" | "AWS_SECRET_ACCESS_KEY" => Some(TOKEN.to_owned()),
        _ => None,
    };
    let outside = Outside { clock: Impatient::new(off), wire, ..Outside::default() };
    let host = Host::over(Arc::new(env), outside);
    Session::in_memory(Project::none(registry, Evaluator::default()), host, Actor::vouched("ada", "cli")).unwrap()
}

fn infra(kind: &str, names: &[&str]) -> Input {
    let one = |name: &&str| {
        let fields = match kind {
            "aws.vpc" => json!({"$type": kind, "cidr_block": "10.0.0.0/16"}),
            _ => json!({"$type": kind, "ip_range": "10.0.0.0/16"}),
        };
        ((*name).to_owned(), fields)
    };
    let resources: serde_json::Map<String, Value> = names.iter().map(one).collect();
    Input::Data { value: json!({"name": "s", "resources": resources}), note: None }
}

/// What an apply of one resource ends with: codes and texts of all its errors.
fn applied(session: &Session, kind: &str) -> String {
    let options = ApplyOptions { parallel: 1, yes: true, input: infra(kind, &["net"]), ..ApplyOptions::default() };
    let events = Mutex::new(String::new());
    let done = session.apply(None, &options, &|event| {
        *events.lock().unwrap() += &serde_json::to_string(&event).unwrap();
    });
    let failure = done.unwrap_err();
    let all: Vec<String> = failure.diagnostics().map(|one| format!("{} {}", one.code, one.message)).collect();
    let told = format!("{}\n{}", all.join("\n"), events.into_inner().unwrap());
    assert!(!told.contains(TOKEN), "{told}");
    let kept = session.workspace.store.export().unwrap().to_string();
    assert!(!kept.contains(TOKEN), "{kept}");
    told
}

#[test]
fn whatever_a_cloud_says_is_an_error_with_a_code_and_never_the_credential() {
    let json = "content-type: application/json\r\nx-correlation-id: req-4711\r\n";
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\n{json}content-length: {length}\r\nconnection: close\r\n\r\n");
    let html = "<!doctype html><title>Maintenance</title>";
    let error = |status: &str, body: &str| {
        (
            format!("HTTP/1.1 {status}\r\n{json}content-length: {}\r\nconnection: close\r\n\r\n", body.len()),
            body.to_owned(),
        )
    };
    let coded = |code: &str| format!("{{\"error\": {{\"code\": \"{code}\", \"message\": \"no\"}}}}");
    let (elsewhere, asked_elsewhere) = cloud(ok(2), b"{}".to_vec(), Some(1));
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: {elsewhere}/v1/networks\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let repeated = format!("{{\"error\": {{\"code\": \"unauthorized\", \"message\": \"bad token {TOKEN}\"}}}}");
    let misfit = "{\"networks\": [{\"id\": 7, \"name\": \"n\", \"ip_range\": {\"x\": 1}}]}";
    let cases = [
        ("the credential", error("401 X", &repeated).0, repeated, "unauthorized", "bad token <sensitive>"),
        ("a record for a text", ok(misfit.len()), misfit.into(), "malformed", "`ip_range` of 7 is not a string"),
        ("HTML", ok(html.len()), html.to_owned(), "malformed", "request req-4711"),
        ("nothing", ok(0), String::new(), "malformed", "hetzner"),
        ("cut off", ok(1000), "{\"networks\": [".into(), "unavailable", "hetzner"),
        ("half, closed", ok(14), "{\"networks\": [".into(), "malformed", "request req-4711"),
        ("another type", ok(12), "[1, 2, 3, 4]".into(), "malformed", "hetzner"),
        ("another type inside", ok(20), "{\"networks\": \"none\"}".into(), "malformed", "`networks`"),
        ("no id", ok(22), "{\"networks\": [{\"a\":1}]}"[..22].to_owned(), "malformed", "hetzner"),
        ("a redirect", redirect, String::new(), "malformed", "redirects to `127.0.0.1:"),
        ("500", error("500 X", &coded("service_error")).0, coded("service_error"), "unavailable", "request req-4711"),
        ("401", error("401 X", &coded("unauthorized")).0, coded("unauthorized"), "unauthorized", "request req-4711"),
        ("423", error("423 X", &coded("locked")).0, coded("locked"), "busy", "locked"),
        ("418", error("418 X", &coded("teapot")).0, coded("teapot"), "rejected", "teapot"),
        ("no HTTP", "SSH-2.0-OpenSSH_9.9\r\n".into(), String::new(), "unavailable", "hetzner"),
    ];
    for (what, head, body, code, part) in cases {
        let (url, asked) = cloud(head, body.into_bytes(), Some(1));
        let told = applied(&session(&url, Duration::ZERO, None), "hetzner.network");
        let code = format!("provision::provider::{code}");
        assert!(told.contains(&code) && told.contains(part), "{what}: no {code} with `{part}` in {told}");
        assert!(told.contains("net") && told.contains("hetzner"), "{what}: {told}");
        assert!(asked.load(Ordering::SeqCst) > 0, "{what}");
    }
    assert_eq!(asked_elsewhere.load(Ordering::SeqCst), 0, "the credential went to another host");
}

#[test]
fn an_answer_without_end_is_bounded_and_tls_that_is_none_is_told() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n".to_owned();
    let (url, _) = cloud(head, vec![b' '; 1 << 20], None);
    let told = applied(&session(&url, Duration::ZERO, None), "hetzner.network");
    assert!(told.contains("provision::provider::malformed") && told.contains("larger than 64 MiB"), "{told}");
    let (url, _) = cloud("HTTP/1.1 200 OK\r\n\r\n".into(), Vec::new(), Some(0));
    let told = applied(&session(&url.replace("http://", "https://"), Duration::ZERO, None), "hetzner.network");
    assert!(told.contains("provision::provider::unavailable") && told.to_lowercase().contains("tls"), "{told}");
}

#[test]
fn a_clock_that_is_off_and_a_token_that_expires_in_between_are_told_as_such() {
    let options = provision_sandbox::Options { aws_secret: TOKEN.to_owned(), ..Default::default() };
    let server = provision_sandbox::Background::start(options).unwrap();
    let skewed = session(&server.url, Duration::from_secs(3600), None);
    let told = applied(&skewed, "aws.vpc");
    assert!(told.contains("provision::provider::unauthorized") && told.contains("RequestExpired"), "{told}");
    assert!(told.contains("(request "), "{told}");

    /// Takes one change and no more.
    struct Expiring(Arc<dyn Wire>, AtomicUsize);
    impl Wire for Expiring {
        fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
            if request.method != "GET" && self.1.fetch_add(1, Ordering::SeqCst) > 0 {
                let body = br#"{"error": {"code": "unauthorized", "message": "the token has expired"}}"#.to_vec();
                return Ok(WireAnswer { status: 401, headers: Vec::new(), body });
            }
            self.0.exchange(request)
        }
    }
    let wire = Arc::new(Expiring(provision_engine::network(), AtomicUsize::new(0)));
    let expiring = session(&server.url, Duration::ZERO, Some(wire));
    let input = infra("hetzner.network", &["a", "b", "c"]);
    let options = ApplyOptions { parallel: 1, yes: true, input: input.clone(), ..ApplyOptions::default() };
    let failure = expiring.apply(None, &options, &|_| {}).unwrap_err();
    assert_eq!(failure.code().as_str(), "provision::apply::incomplete");
    let told: Vec<&str> = failure.diagnostics().map(|one| one.code.as_str()).collect();
    assert!(told.contains(&"provision::provider::unauthorized"), "{failure:?}");
    // What was done stays done, and the rest goes on with a token that holds.
    assert_eq!(expiring.list().unwrap().len(), 1);
    let mut again = session(&server.url, Duration::ZERO, None);
    again.workspace.store = expiring.workspace.store.clone();
    again.apply(None, &options, &|_| {}).unwrap();
    assert_eq!(again.plan(&input, &PlanOptions::default()).unwrap().rows().count(), 0);
    assert_eq!(again.list().unwrap().len(), 3);
}
