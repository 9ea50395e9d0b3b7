//! Owns what every database of a state must do alike: the same suite runs on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_model::{Action, Address, Identity, Json, Lifecycle, Map, Resource};
use provision_state::{
    Ambient, Counts, Edit, Entry, Lease, Location, Machine, NewChange, Phase, Record, ResourceChange, Store,
};
use provision_tests::postgres;
use serde_json::json;
use std::sync::Arc;

/// A state of one database, and what keeps it alive.
struct Kept {
    store: Arc<Store>,
    location: Location,
    project: tempfile::TempDir,
}

impl Kept {
    fn again(&self) -> Arc<Store> {
        Store::open_at(self.project.path(), &self.location).unwrap()
    }
}

/// A new state on each kind of database.
fn each(run: impl Fn(&Kept)) {
    let server =
        postgres::fresh(&format!("s{}", Machine.id())).map(|url| Location { url: Some(url), ..Location::default() });
    for location in std::iter::once(Location::default()).chain(server) {
        let project = tempfile::tempdir().unwrap();
        let store = Store::open_at(project.path(), &location).unwrap();
        run(&Kept { store, location, project });
    }
}

fn entry(address: &str, action: Action, serial: i64) -> Entry {
    let address = Address::new(address);
    let body = ResourceChange {
        identity: Identity::new("l", &address, 1),
        address,
        kind: "local.data".into(),
        account: "local".into(),
        region: None,
        action,
        inputs: Map::new(),
        declared: Map::new(),
        lifecycle: Lifecycle::default(),
        generation: 1,
        remote_id: None,
        there: Vec::new(),
        once: Map::new(),
        once_wanted: vec![],
        plan: "p".into(),
        prior_status: None,
        depends_on: vec![],
        deferred: vec![],
        makes_first: false,
        triggers: None,
        protect: false,
        retain: false,
    };
    Entry {
        id: 0,
        uid: String::new(),
        parent: None,
        serial,
        actor: "ada".into(),
        allowed_by: vec!["p".into()],
        phase: Phase::Begun,
        steps: vec![],
        begun_at: Machine.now(),
        ended_at: None,
        under_way_ms: None,
        silent: None,
        reason: None,
        body,
    }
}

fn resource(address: &str, input: Json) -> Resource {
    let mut inputs = Map::new();
    inputs.insert("input".into(), input);
    let (id, address) = (format!("id-{address}"), Address::new(address));
    Resource { inputs, ..Resource::new(address, "local.data", "local", &id, Machine.now()) }
}

/// Carries out one create as the engine does.
fn create(store: &Store, lease: &Lease, serial: i64, address: &str, input: Json) {
    let mut open = store.begin(lease, entry(address, Action::Create, serial)).unwrap();
    let record = Record::Created { remote_id: format!("id-{address}"), once: Map::new() };
    store.record(lease, &mut open, &record).unwrap();
    store.end_with(lease, &mut open, &resource(address, input)).unwrap();
}

#[test]
fn an_illegal_transition_is_an_error_and_changes_nothing() {
    each(|kept| {
        let store = &kept.store;
        let lease = Lease::acquire(store, "t").unwrap();
        let mut open = store.begin(&lease, entry("web", Action::Create, 1)).unwrap();
        let error = store.record(&lease, &mut open, &Record::Ended { at: Machine.now() }).unwrap_err();
        assert_eq!(error.code().as_str(), "provision::state::io");
        assert_eq!(store.open_entries().unwrap(), vec![open.clone()]);
        store.record(&lease, &mut open, &Record::Created { remote_id: "7".into(), once: Map::new() }).unwrap();
        assert_eq!(store.open_entries().unwrap()[0].body.remote_id.as_deref(), Some("7"));
        store.end_without(&lease, &mut open).unwrap();
        assert!(store.open_entries().unwrap().is_empty());
    });
}

#[test]
fn a_live_lease_is_not_stolen_and_its_holder_is_named() {
    each(|kept| {
        let lease = Lease::acquire(&kept.store, "ada").unwrap();
        let other = kept.again();
        let error = Lease::acquire(&other, "bob").err().unwrap();
        assert_eq!(error.code().as_str(), "provision::lease::held");
        assert!(error.first.message.contains("ada"), "{error}");
        let row = other.lease_row().unwrap().unwrap();
        assert_eq!((row.user.as_str(), row.status.as_str()), ("ada", "held"));
        assert_eq!(other.break_lease("bob", "impatient", false).unwrap_err().code().as_str(), "provision::lease::held");
        drop(lease);
        assert!(other.lease_row().unwrap().is_none());
        assert_eq!(other.break_lease("bob", "impatient", false).unwrap_err().code().as_str(), "provision::lease::free");
        Lease::acquire(&other, "bob").unwrap();
    });
}

#[test]
fn a_lease_that_is_broken_by_force_is_lost_at_once_and_free_only_later() {
    each(|kept| {
        let lease = Lease::acquire(&kept.store, "ada").unwrap();
        let mut open = kept.store.begin(&lease, entry("web", Action::Create, 1)).unwrap();
        let other = kept.again();
        let broken = other.break_lease("bob", "it hangs", true).unwrap();
        assert_eq!((broken.user.as_str(), broken.status.as_str()), ("ada", "broken"));
        // Its owner writes nothing any more; what it sent may still arrive, so nobody else begins.
        let record = Record::Created { remote_id: "7".into(), once: Map::new() };
        assert_eq!(
            kept.store.record(&lease, &mut open, &record).unwrap_err().code().as_str(),
            "provision::lease::lost"
        );
        assert_eq!(Lease::acquire(&other, "bob").err().unwrap().code().as_str(), "provision::lease::held");
        let again = other.break_lease("bob", "impatient", true);
        assert!(again.is_ok() && other.lease_row().unwrap().unwrap().status == "broken");
        // Proved dead, it holds nobody back any more; what it sent is waited for by who settles it.
        drop(lease);
        let lease = Lease::acquire(&other, "bob").unwrap();
        assert!(other.unsettled(&lease).unwrap()[0].arrives_for.as_secs() > 60);
    });
}

#[test]
fn what_was_left_open_arrives_for_a_while_unless_it_was_answered() {
    each(|kept| {
        let store = &kept.store;
        let lease = Lease::acquire(store, "ada").unwrap();
        let begin = |address: &str, under_way_ms| {
            store.begin(&lease, Entry { under_way_ms, ..entry(address, Action::Create, 1) }).unwrap()
        };
        // One that nobody said anything about, one of an older version, one whose process ended it in order.
        begin("lost", Some(20_000));
        begin("old", None);
        let mut answered = begin("answered", Some(20_000));
        store.silence(&lease, &mut answered, true).unwrap();
        drop(lease);
        let other = kept.again();
        for _ in 0..2 {
            let lease = Lease::acquire(&other, "bob").unwrap();
            let left: Vec<u64> = other.unsettled(&lease).unwrap().iter().map(|it| it.arrives_for.as_secs()).collect();
            let [lost, old, answered] = left[..] else { panic!("{left:?}") };
            assert!((10..=20).contains(&lost) && (65..=75).contains(&old) && answered == 0, "{left:?}");
        }
        // Whoever comes later waits for what is left, not from the beginning.
        std::thread::sleep(std::time::Duration::from_millis(3100));
        let lease = Lease::acquire(&other, "bob").unwrap();
        assert!(other.unsettled(&lease).unwrap()[0].arrives_for.as_millis() <= 18_000);
    });
}

#[test]
fn writers_at_once_all_get_their_turn_and_the_chain_holds() {
    each(|kept| {
        let store = &kept.store;
        let lease = Lease::acquire(store, "ada").unwrap();
        let serial = store.open_change(&lease, &NewChange::new("apply", "cli"), &[]).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..16 {
                let lease = &lease;
                scope.spawn(move || {
                    for at in 0..5 {
                        create(store, lease, serial, &format!("r{worker}-{at}"), json!(at));
                    }
                });
            }
        });
        store.close_change(&lease, serial, Counts { done: 80, ..Counts::default() }).unwrap();
        store.checkpoint().unwrap();
        assert_eq!(store.resources().unwrap().len(), 80);
        assert!(store.open_entries().unwrap().is_empty());
        let verified = store.verify_audit(&[]).unwrap();
        assert!(verified.valid, "{verified:?}");
        // Three lines for each, the beginning and the end of the change.
        assert_eq!(verified.entries, 80 * 3 + 2);
        assert_eq!(store.history().unwrap()[0].done, 80);
    });
}

#[test]
fn the_history_knows_what_was_when() {
    each(|kept| {
        let store = &kept.store;
        let lease = Lease::acquire(store, "ada").unwrap();
        let change = |kind: &str| store.open_change(&lease, &NewChange::new(kind, "cli"), &[]).unwrap();
        let first = change("apply");
        create(store, &lease, first, "a", json!(1));
        create(store, &lease, first, "b", json!(1));
        store.close_change(&lease, first, Counts::default()).unwrap();
        let second = change("apply");
        let mut open = store.begin(&lease, entry("a", Action::Update, second)).unwrap();
        store.end_with(&lease, &mut open, &resource("a", json!(2))).unwrap();
        let mut open = store.begin(&lease, entry("b", Action::Delete, second)).unwrap();
        store.end_without(&lease, &mut open).unwrap();
        store.close_change(&lease, second, Counts::default()).unwrap();
        let inputs = |serial: i64| -> Vec<(String, Json)> {
            let found = store.versions_at(serial).unwrap();
            found.iter().map(|it| (it.resource.address.to_string(), it.declared["input"].clone())).collect()
        };
        assert_eq!(inputs(first), [("a".into(), json!(1)), ("b".into(), json!(1))]);
        assert_eq!(inputs(second), [("a".into(), json!(2))]);
        let changed = store.changed(second).unwrap();
        assert!(changed[0].before.is_some() && changed[1].after.is_none());
        // A renamed one is there under its new name, and was under its old one.
        let moved = Edit {
            puts: vec![resource("c", json!(2))],
            gone: vec![Address::new("a")],
            moved: vec![(Address::new("a"), Address::new("c"))],
        };
        store.edit(&lease, &NewChange::new("move", "cli"), &moved).unwrap();
        assert_eq!(inputs(second + 1), [("c".into(), json!(2))]);
        assert_eq!(inputs(second), [("a".into(), json!(2))]);
        assert_eq!(store.history().unwrap().iter().map(|row| row.serial).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(store.change(9).unwrap_err().code().as_str(), "provision::state::unknown_serial");
    });
}

#[test]
fn a_change_of_the_state_alone_goes_on_from_the_last_one_and_a_new_resource_does_not() {
    each(|kept| {
        let store = &kept.store;
        let lease = Lease::acquire(store, "ada").unwrap();
        let mut outputs = Map::new();
        outputs.insert("url".into(), json!("x"));
        store.put_outputs(&lease, &outputs).unwrap();
        let applied = NewChange {
            project: Some("shop".into()),
            policies: Some("rules".into()),
            outputs: outputs.clone(),
            ..NewChange::new("apply", "cli")
        };
        let first = store.open_change(&lease, &applied, &[]).unwrap();
        let mut open = store.begin(&lease, entry("a", Action::Create, first)).unwrap();
        open.body.lifecycle.replace_when = vec![json!(1)];
        open.body.declared.insert("input".into(), json!("written"));
        store.record(&lease, &mut open, &Record::Created { remote_id: "1".into(), once: Map::new() }).unwrap();
        store.end_with(&lease, &mut open, &resource("a", json!(1))).unwrap();
        store.close_change(&lease, first, Counts::default()).unwrap();
        let put = |resource: Resource| Edit { puts: vec![resource], ..Edit::default() };
        let marked = store.edit(&lease, &NewChange::new("replace", "cli"), &put(resource("a", json!(1)))).unwrap();
        let change = store.change(marked).unwrap();
        assert_eq!((change.project.as_deref(), change.policies.as_deref()), (Some("shop"), Some("rules")));
        assert_eq!(store.outputs_at(marked).unwrap(), outputs);
        assert_eq!(store.versions_at(marked).unwrap()[0].declared["input"], "written");
        let gone = Edit { gone: vec![Address::new("a")], ..Edit::default() };
        store.edit(&lease, &NewChange::new("forget", "cli"), &gone).unwrap();
        assert_eq!(store.places_of_gone().unwrap().len(), 1);
        let again = store.edit(&lease, &NewChange::new("import", "cli"), &put(resource("a", json!(2)))).unwrap();
        let version = &store.versions_at(again).unwrap()[0];
        assert_eq!((&version.declared["input"], version.lifecycle.replace_when.len()), (&json!(2), 0));
        assert_eq!(store.changed(again).unwrap()[0].before, None);
        assert!(store.places_of_gone().unwrap().is_empty());
    });
}

#[test]
fn the_plan_of_an_open_operation_is_kept_however_many_come_after() {
    each(|kept| {
        let store = &kept.store;
        let lease = Lease::acquire(store, "ada").unwrap();
        store.put_plan("p", json!({"accounts": {}}).to_string()).unwrap();
        let mut open = store.begin(&lease, entry("a", Action::Create, 1)).unwrap();
        let many = |from: u32| {
            (from..from + 60).for_each(|at| store.put_plan(&format!("n{at}"), json!({}).to_string()).unwrap())
        };
        many(0);
        assert!(store.plan::<Json>("p").unwrap().is_some() && store.plan::<Json>("n0").unwrap().is_none());
        store.record(&lease, &mut open, &Record::Closed { reason: "x".into(), at: Machine.now() }).unwrap();
        many(60);
        assert!(store.plan::<Json>("p").unwrap().is_none());
    });
}

#[test]
fn a_state_that_was_only_looked_at_is_taken_away_and_one_that_is_in_use_stays() {
    let project = tempfile::tempdir().unwrap();
    let (here, folder) = (project.path(), project.path().join(".provision"));
    drop(Store::open(here).unwrap());
    assert!(!folder.exists());
    let location = Location { environment: Some("prod".into()), ..Location::default() };
    drop(Store::open_at(here, &location).unwrap());
    assert!(!folder.exists());
    // Somebody else has it open: it is not pulled away.
    let made = Store::open(here).unwrap();
    let other = Store::open(here).unwrap();
    drop(made);
    other.put_plan("p", json!({}).to_string()).unwrap();
    let lineage = other.lineage().to_owned();
    drop(other);
    assert_eq!(Store::open(here).unwrap().lineage(), lineage);
    // A key that was there before, and what else is in the folder, stays.
    let second = tempfile::tempdir().unwrap();
    std::fs::create_dir(second.path().join(".provision")).unwrap();
    std::fs::write(second.path().join(".provision/identity.txt"), provision_state::Sealer::fresh_key()).unwrap();
    drop(Store::open(second.path()).unwrap());
    let left: Vec<_> =
        std::fs::read_dir(second.path().join(".provision")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().any(|name| name == "identity.txt") && !left.iter().any(|name| name == "state.db"), "{left:?}");
}

/// The sealed values in some data.
fn sealed_in(data: &Json, found: &mut Vec<Json>) {
    match data {
        Json::Object(map) if map.contains_key("$sealed") => found.push(data.clone()),
        Json::Object(map) => map.values().for_each(|item| sealed_in(item, found)),
        Json::Array(items) => items.iter().for_each(|item| sealed_in(item, found)),
        // What a column holds is JSON again.
        Json::String(text) if text.contains("$sealed") => sealed_in(&serde_json::from_str(text).unwrap(), found),
        _ => {}
    }
}

#[test]
fn another_key_leaves_the_old_one_nothing_to_open() {
    each(|kept| {
        let store = &kept.store;
        let file = kept.project.path().join(".provision/identity.txt");
        let key = || {
            let text = std::fs::read_to_string(&file).unwrap();
            text.lines().find(|line| line.starts_with("AGE")).unwrap().to_owned()
        };
        let (old_text, old_key) = (std::fs::read_to_string(&file).unwrap(), key());
        let lease = Lease::acquire(store, "ada").unwrap();
        let secret = |text: &str| store.sealer().seal(&json!(text)).unwrap();
        let serial = store.open_change(&lease, &NewChange::new("apply", "cli"), &[]).unwrap();
        create(store, &lease, serial, "a", json!({"deep": [secret("one")]}));
        let mut triggered = resource("a", secret("two"));
        triggered.triggers = Some("digest".into());
        let edit = Edit { puts: vec![triggered], ..Edit::default() };
        let mut outputs = Map::new();
        outputs.insert("o".into(), secret("three"));
        store.put_outputs(&lease, &outputs).unwrap();
        store.edit(&lease, &NewChange::new("import", "cli"), &edit).unwrap();
        store.put_plan("d", json!({"accounts": {"h": {"token": secret("four")}}}).to_string()).unwrap();
        store.put_accounts(&lease, &json!({"h": {"provider": "h", "settings": {"token": secret("five")}}})).unwrap();
        let mut sealed = entry("b", Action::Create, serial);
        sealed.body.inputs = outputs.clone();
        store.begin(&lease, sealed).unwrap();
        store.close_change(&lease, serial, Counts::default()).unwrap();
        store.checkpoint().unwrap();
        store.backup().unwrap();
        let rekeyed = store.rekey(&lease, None).unwrap();
        assert!(rekeyed.values >= 8, "{rekeyed:?}");
        assert_ne!(key(), old_key);
        drop(lease);
        // A crash before the new key was in its place is made up for.
        std::fs::rename(&file, file.with_file_name("identity.next.txt")).unwrap();
        std::fs::write(&file, &old_text).unwrap();
        let again = kept.again();
        assert_ne!(key(), old_key);
        let old = provision_state::Sealer::from_key(&old_key).unwrap();
        let mut found = Vec::new();
        sealed_in(&again.export().unwrap(), &mut found);
        assert_eq!(found.len() as u64, rekeyed.values);
        for value in &found {
            assert!(old.open_value(value).is_err() && again.sealer().open_value(value).is_ok());
        }
        assert_eq!(again.sealer().open_value(&again.outputs().unwrap()["o"]).unwrap(), json!("three"));
        // Its digest was keyed: it is noted again, and replaces nothing.
        assert_eq!(again.resource("a").unwrap().unwrap().triggers, None);
        let verified = again.verify_audit(&[]).unwrap();
        assert!(verified.valid && verified.checkpoints >= 2, "{verified:?}");
        assert_eq!(again.audit_page(verified.entries).unwrap()[0].entry.event, "state.rekey");
        // Nor is it left in a free page, a log or a backup.
        let before = outputs["o"]["$sealed"].as_str().unwrap().to_owned();
        let folder = kept.project.path().join(".provision");
        let files = [folder.clone(), folder.join("backups")]
            .into_iter()
            .flat_map(|it| std::fs::read_dir(it).into_iter().flatten());
        for path in files.map(|it| it.unwrap().path()).filter(|it| it.is_file()) {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(before.len()).any(|part| part == before.as_bytes()), "{}", path.display());
        }
        // Under the old key it is not opened at all.
        let location = Location { key: Some(old_key.clone()), ..kept.location.clone() };
        let error = Store::open_at(kept.project.path(), &location).err().unwrap();
        assert!(error.first.message.contains("another one"), "{error}");
    });
}

#[test]
fn a_state_moves_to_another_database_whole() {
    each(|from| {
        let lease = Lease::acquire(&from.store, "ada").unwrap();
        let serial = from.store.open_change(&lease, &NewChange::new("apply", "cli"), &[]).unwrap();
        create(&from.store, &lease, serial, "a", json!("x"));
        from.store.close_change(&lease, serial, Counts::default()).unwrap();
        let exported = from.store.export().unwrap();
        each(|to| {
            let own = Lease::acquire(&to.store, "bob").unwrap();
            // Another key could not open what this one sealed.
            let error = to.store.import(&own, &exported).unwrap_err();
            assert!(error.first.message.contains("another key"), "{error}");
            drop(own);
            let project = tempfile::tempdir().unwrap();
            std::fs::create_dir(project.path().join(".provision")).unwrap();
            let key = std::fs::read_to_string(from.project.path().join(".provision/identity.txt")).unwrap();
            let key = key.lines().find(|line| line.starts_with("AGE")).unwrap().to_owned();
            let url = to.location.url.as_ref().map(|url| url.replace("schema=s", "schema=m"));
            let location = Location { url, key: Some(key), ..Location::default() };
            let target = Store::open_at(project.path(), &location).unwrap();
            let own = Lease::acquire(&target, "bob").unwrap();
            for (table, column, wrong, said) in [
                ("resources", 2, json!("{}"), "row 1 of the table `resources`: `data` cannot be read: missing field"),
                ("history", 0, json!("x"), "row 1 of the table `history`: `serial` is no whole number"),
                ("audit", 2, json!(null), "row 1 of the table `audit`: `hash` is no text"),
            ] {
                let mut broken = exported.clone();
                broken["tables"][table]["rows"][0][column] = wrong;
                let error = target.import(&own, &broken).unwrap_err();
                assert_eq!(error.code().as_str(), "provision::state::malformed");
                assert!(error.first.message.contains(said), "{error}");
            }
            let imported = target.import(&own, &exported).unwrap();
            assert_eq!((imported.resources, imported.history), (1, 1));
            assert_eq!(target.import(&own, &exported).unwrap_err().code().as_str(), "provision::state::not_empty");
            drop(own);
            let again = Store::open_at(project.path(), &location).unwrap();
            assert_eq!(again.lineage(), from.store.lineage());
            assert_eq!(again.resources().unwrap(), from.store.resources().unwrap());
            assert!(again.verify_audit(&[]).unwrap().valid);
            // Numbers go on where they ended.
            let own = Lease::acquire(&again, "bob").unwrap();
            let next = again.begin(&own, entry("b", Action::Create, 2)).unwrap();
            assert!(next.id > 1, "{}", next.id);
            if let Some(url) = &location.url {
                postgres::drop_schema(url);
            }
        });
    });
}

#[test]
fn drift_is_remembered_until_it_is_over() {
    each(|kept| {
        let seen = |actual: &str| vec![("a".to_owned(), "labels".to_owned(), actual.to_owned())];
        let first = kept.store.first_seen(&seen("1")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(kept.store.first_seen(&seen("1")).unwrap(), first);
        assert_ne!(kept.store.first_seen(&seen("2")).unwrap(), first);
        assert!(kept.store.first_seen(&[]).unwrap().is_empty());
        assert_ne!(kept.store.first_seen(&seen("1")).unwrap(), first);
    });
}
