//! Owns that what an older version wrote is opened, and goes on. Each folder of `fixtures` is the state of one version,
//! written by the plugin of that version: its database as SQL, and the key it sealed with, which seals nothing else.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_model::{Address, Time};
use provision_state::{Ambient, Approval, Lease, Machine, NewChange, Phase, SCHEMA_VERSION, Store};
use rusqlite::Connection;

fn version(path: &std::path::Path) -> i64 {
    Connection::open(path).unwrap().query_row("pragma user_version", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_state_of_every_earlier_version_is_opened_and_goes_on() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for known in 1..SCHEMA_VERSION {
        let fixture = fixtures.join(format!("v{known}"));
        let project = tempfile::tempdir().unwrap();
        let folder = project.path().join(".provision");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(fixture.join("identity.txt"), folder.join("identity.txt")).unwrap();
        if fixture.join("audit.head").exists() {
            std::fs::copy(fixture.join("audit.head"), folder.join("audit.head")).unwrap();
        }
        let database = folder.join("state.db");
        let sql = std::fs::read_to_string(fixture.join("state.sql")).unwrap();
        Connection::open(&database).unwrap().execute_batch(&sql).unwrap();
        assert_eq!(version(&database), known);

        let store = Store::open(project.path()).unwrap();
        assert_eq!(version(&database), SCHEMA_VERSION);
        let addresses: Vec<String> =
            store.resources().unwrap().iter().map(|resource| resource.address.to_string()).collect();
        assert_eq!(addresses, ["a", "b"]);
        assert!(store.policies().unwrap().unwrap().sources[0].1.contains("permit"));
        assert_eq!(store.outputs().unwrap().len(), 1);
        // The one of version 4 was killed while it made a server: its journal has an operation of the first format open.
        let open = store.open_entries().unwrap();
        let found: Vec<_> =
            open.iter().map(|it| (it.body.address.as_str(), it.body.remote_id.is_some(), it.phase)).collect();
        let killed = [("web", true, Phase::Created)];
        assert_eq!(found, if known == 4 { killed.as_slice() } else { &[] });
        // What vouches for the rest since version 4 does so for what an older one wrote, and the project is known from the
        // history, which is kept since version 3.
        let verified = store.verify_audit(&[]).unwrap();
        assert!(verified.valid, "{verified:?}");
        store.refuse_older().unwrap();
        assert_eq!(store.project().unwrap().as_deref(), (known >= 3).then_some("shop"));
        // What is new since works on it.
        let lease = Lease::acquire(&store, "ada").unwrap();
        let approval = Approval {
            id: Machine.id(),
            plan: "p".into(),
            address: Some(Address::new("a")),
            role: "lead".into(),
            by: "lea".into(),
            at: Time::parse("2026-01-01T00:00:00.000000Z").unwrap(),
            until: Time::parse("2026-01-02T00:00:00.000000Z").unwrap(),
            used: None,
            policies: "d".into(),
        };
        store.put_approval(&approval).unwrap();
        assert!(store.approvals().unwrap().contains(&approval));
        assert!(approval.holds("p", &Address::new("a"), Time::parse("2026-01-01T12:00:00.000000Z").unwrap()));
        for (plan, address, time) in
            [("q", "a", "2026-01-01T12:00:00Z"), ("p", "b", "2026-01-01T12:00:00Z"), ("p", "a", "2026-01-02T00:00:01Z")]
        {
            assert!(
                !approval.holds(plan, &Address::new(address), Time::parse(time).unwrap()),
                "{plan} {address} {time}"
            );
        }
        let change = NewChange::new("apply", "cli");
        let begin = || store.open_change(&lease, &change, std::slice::from_ref(&approval.id));
        begin().unwrap();
        // What was open is ended in the new format, and stays so.
        for mut entry in store.unsettled(&lease).unwrap().into_iter().map(|it| it.entry) {
            let id = entry.id;
            store.close_with(&lease, &mut entry, "settled", None).unwrap();
            let text: String = Connection::open(&database)
                .unwrap()
                .query_row("select data from journal where id = ?1", [id], |row| row.get(0))
                .unwrap();
            assert!(text.starts_with(r#"{"format":2,"#), "{text}");
        }
        assert!(store.open_entries().unwrap().is_empty());
        let begun = store.history().unwrap();
        // Used up, it lets no other change begin.
        assert_eq!(begin().unwrap_err().code().as_str(), "provision::apply::approval");
        assert_eq!(store.history().unwrap(), begun);
        assert!(store.revoke_approval(&approval.id, "lea").is_err());
    }
}
