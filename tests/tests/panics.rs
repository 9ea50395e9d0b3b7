//! Owns panics in the middle of an apply: the unit is in doubt, the others end, the lease is given back, nothing is made twice.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should stop; a panic is what is tried")]

use provision_engine::{
    Actor, ApplyOptions, Host, Input, Outside, PlanOptions, Project, Session, Wire, WireAnswer, WireError, WireRequest,
    network,
};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Panics at the n-th changing request, before or after it is sent.
struct Panicking {
    wire: Arc<dyn Wire>,
    changes: AtomicUsize,
    at: usize,
    sends: bool,
}

impl Wire for Panicking {
    fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
        if request.method == "GET" || self.changes.fetch_add(1, Ordering::SeqCst) != self.at {
            return self.wire.exchange(request);
        }
        let sent = self.sends.then(|| self.wire.exchange(request).is_ok());
        panic!("sent: {sent:?}");
    }
}

fn session(url: &str, wire: Option<Arc<dyn Wire>>) -> Session {
    let registry = Arc::new(Registry::load(None, None, &Evaluator::default()).unwrap());
    let variables = provision_sandbox::control::environment(url, "secret");
    let env = move |name: &str| variables.get(name).cloned();
    // A sandbox answers at once: what was sent by who panicked has arrived soon.
    let outside = Outside { wire, answer_timeout: Duration::from_secs(1), ..Outside::default() };
    let host = Host::over(Arc::new(env), outside);
    let project = Project::none(registry, Evaluator::default());
    Session::in_memory(project, host, Actor::vouched("ada", "cli")).unwrap()
}

#[test]
fn a_panic_in_one_operation_leaves_it_in_doubt_and_the_rest_goes_on() {
    let names = ["a", "b", "c", "d"];
    let declared: serde_json::Map<String, serde_json::Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"$type": "hetzner.network", "ip_range": "10.0.0.0/16"})))
        .collect();
    let input = Input::Data { value: json!({"name": "s", "resources": declared}), note: None };
    let options = ApplyOptions { parallel: 2, yes: true, input: input.clone(), ..ApplyOptions::default() };
    for sends in [false, true] {
        let server = provision_sandbox::Background::start(Default::default()).unwrap();
        let wire = Panicking { wire: network(), changes: AtomicUsize::new(0), at: 1, sends };
        let first = session(&server.url, Some(Arc::new(wire)));
        let ends = Mutex::new(Vec::new());
        let failure = first
            .apply(None, &options, &|event| {
                if ["done", "in_doubt", "failed"].contains(&json!(event.status).as_str().unwrap()) {
                    ends.lock().unwrap().push(json!(event.status));
                }
            })
            .unwrap_err();
        assert_eq!(failure.code().as_str(), "provision::apply::incomplete");
        assert!(failure.to_string().contains("3 done, 0 failed, 1 in doubt, 0 not started"), "{failure}");
        assert_eq!(failure.others[0].code.as_str(), "provision::internal::panic");
        let ends = ends.into_inner().unwrap();
        assert_eq!(ends.iter().filter(|status| **status == json!("in_doubt")).count(), 1, "{ends:?}");
        assert!(first.workspace.store.lease_row().unwrap().is_none(), "the lease was kept");
        let mut second = session(&server.url, None);
        second.workspace.store = first.workspace.store.clone();
        second.apply(None, &options, &|_| {}).unwrap();
        assert_eq!(second.plan(&input, &PlanOptions::default()).unwrap().rows().count(), 0);
        let all = second.list().unwrap();
        assert_eq!((all.len(), second.recover(&|_| {}).unwrap().rows.len()), (4, 0), "something was made twice");
    }
}
