//! Owns resources that are parts of another and have no list of their own: the id is made of the whole's and the answer's,
//! and a lost answer is settled among those of the same whole.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_engine::{
    Actor, ApplyOptions, Clock, Host, Input, Outside, PlanOptions, Project, Session, Wire, WireAnswer, WireError,
    WireRequest,
};
use provision_nickel::Evaluator;
use provision_registry::{Consent, Lock, Registry};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

const MANIFEST: &str = r#"{
  name = "dns",
  version = "1.0.0",
  api = "1",
  protocol = "rest-json",
  endpoint.default = "https://dns.example",
  auth = [{ kind = "bearer", token = { setting = "token", env = ["DNS_TOKEN"] } }],
  types.record = {
    doc = "A record.",
    identity = "anonymous",
    id = "zone,id",
    window = "5s",
    fields = {
      zone = { type = "string", doc = "Zone.", required = true, on_change = "replace", wire = "", read = "zone" },
      name = { type = "string", doc = "Name.", required = true, on_change = "replace" },
      data = { type = "string", doc = "Data.", required = true },
    },
    attributes.id = { type = "string", doc = "Id." },
    create = { method = "POST", path = "/zones/{field.zone}/records", result = "record", with = { zone = "{field.zone}" } },
    read = { path = "/zones/{id.0}/records/{id.1}", result = "record", with = { zone = "{id.0}" } },
    among = { path = "/zones/{field.zone}/records", items = "records", with = { zone = "{field.zone}" } },
    update = [{ name = "change", fields = ["data"], call = { method = "PUT", path = "/zones/{id.0}/records/{id.1}" } }],
    delete = [{ name = "delete", call = { method = "DELETE", path = "/zones/{id.0}/records/{id.1}" } }],
  },
}"#;

/// The cloud: records by path, and how many answers to a POST are lost. It has the time, too.
struct Zones {
    records: Mutex<BTreeMap<String, Value>>,
    next: AtomicUsize,
    lost: AtomicUsize,
    /// How many lists do not show the newest yet, and come when more than the window is over.
    late: AtomicUsize,
    begun: Instant,
    passed: AtomicU64,
}

impl Zones {
    fn new() -> Arc<Self> {
        let zero = AtomicUsize::default;
        Arc::new(Self {
            records: Mutex::default(),
            next: zero(),
            lost: zero(),
            late: zero(),
            begun: Instant::now(),
            passed: AtomicU64::default(),
        })
    }

    /// Takes one of a number of orders.
    fn takes(orders: &AtomicUsize) -> bool {
        orders.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl Clock for Zones {
    fn now(&self) -> Instant {
        self.begun + Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wait(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_millis()).unwrap().max(1), Ordering::SeqCst);
    }
}

impl Wire for Zones {
    fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
        let path = request.url.strip_prefix("https://dns.example").unwrap().to_owned();
        let body: Value = request.body.map_or(Value::Null, |body| serde_json::from_slice(&body).unwrap());
        let mut records = self.records.lock().unwrap();
        let answer = match request.method.as_str() {
            "POST" => {
                let id = self.next.fetch_add(1, Ordering::SeqCst);
                let mut record = body;
                record["id"] = json!(id);
                records.insert(format!("{path}/{id}"), record.clone());
                if Self::takes(&self.lost) {
                    self.late.store(1, Ordering::SeqCst);
                    return Err(WireError::Lost("the line went dead".into()));
                }
                Some(json!({ "record": record }))
            }
            "GET" if path.ends_with("/records") => {
                let late = Self::takes(&self.late);
                if late {
                    self.wait(Duration::from_secs(10));
                }
                let newest = format!("{path}/{}", self.next.load(Ordering::SeqCst).saturating_sub(1));
                let inside = records
                    .iter()
                    .filter(|(key, _)| key.starts_with(&format!("{path}/")) && !(late && **key == newest));
                Some(json!({"records": inside.map(|(_, record)| record).collect::<Vec<_>>()}))
            }
            "GET" => records.get(&path).map(|record| json!({ "record": record })),
            "PUT" => records.get_mut(&path).map(|record| {
                record["data"] = body["data"].clone();
                json!({ "record": record })
            }),
            _ => records.remove(&path).map(|_| json!({})),
        };
        let status = if answer.is_some() { 200 } else { 404 };
        let body = answer.unwrap_or_else(|| json!({"error": "not found"})).to_string().into_bytes();
        Ok(WireAnswer { status, headers: Vec::new(), body })
    }
}

#[test]
fn a_part_without_a_list_of_its_own_is_made_once_whatever_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("extensions/providers/dns");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("manifest.ncl"), MANIFEST).unwrap();
    let evaluator = Evaluator::default();
    // An extension's own host gets a credential only with consent.
    let mut lock = Lock::default();
    lock.trust.add(&Consent::Host { provider: "dns".into(), host: "https://dns.example".into() });
    lock.write(folder.path()).unwrap();
    let registry = Arc::new(Registry::load(Some(folder.path()), None, &evaluator).unwrap());
    let env = |name: &str| (name == "DNS_TOKEN").then(|| "a-token".to_owned());
    let project = Project::new(folder.path().to_path_buf(), registry, evaluator);
    let zones = Zones::new();
    // Somebody's own, equal to one of ours, and one of another zone.
    let own = json!({"id": 900, "name": "www", "data": "192.0.2.1"});
    zones.records.lock().unwrap().insert("/zones/a.example/records/900".into(), own.clone());
    zones.records.lock().unwrap().insert("/zones/b.example/records/901".into(), own);
    let outside = Outside { clock: zones.clone(), wire: Some(zones.clone()), ..Outside::default() };
    let host = Host::over(Arc::new(env), outside);
    let session = Session::in_memory(project, host, Actor::vouched("ada", "cli")).unwrap();
    let record =
        |name: &str, data: &str| json!({"$type": "dns.record", "zone": "a.example", "name": name, "data": data});
    let all = |resources: Value| Input::Data { value: json!({"name": "s", "resources": resources}), note: None };
    let apply = |input: &Input| {
        let options = ApplyOptions { parallel: 1, yes: true, input: input.clone(), ..ApplyOptions::default() };
        session.apply(None, &options, &|_| {}).unwrap();
        assert_eq!(session.plan(input, &PlanOptions::default()).unwrap().rows().count(), 0);
    };
    let held = || zones.records.lock().unwrap().len();

    // What made it is told by no answer, and the first look at the list is from before and comes too late.
    zones.lost.store(1, Ordering::SeqCst);
    apply(&all(json!({"www": record("www", "192.0.2.1")})));
    assert_eq!(held(), 3, "one is ours, made once");
    assert_eq!(session.list().unwrap()[0].remote_id, "a.example,0");
    apply(&all(json!({"www": record("www", "192.0.2.2"), "mail": record("mail", "192.0.2.3")})));
    assert_eq!(held(), 4);
    apply(&all(json!({})));
    assert_eq!(held(), 2, "what is somebody else's stays");
}
