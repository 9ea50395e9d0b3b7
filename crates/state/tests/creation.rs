//! Owns the beginning of a state: those who begin at once find one and the same, whole, and whoever only looked takes nothing
//! away from the others.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use provision_state::{Lease, Location, Store};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const AT_ONCE: usize = 6;

/// Writes one line into the audit log, waiting for the lease as long as it takes.
fn write(store: &std::sync::Arc<Store>, written: &AtomicUsize) {
    loop {
        match Lease::acquire(store, "ada") {
            Ok(lease) => {
                store.audit(&lease, "test", None, provision_model::Map::new()).unwrap();
                written.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Err(failure) => assert_eq!(failure.code().as_str(), "provision::lease::held"),
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn begun_at_once(project: &Path, location: &Location, looks: usize) {
    let (written, all) = (AtomicUsize::new(0), Barrier::new(AT_ONCE));
    std::thread::scope(|scope| {
        for at in 0..AT_ONCE {
            let (written, all) = (&written, &all);
            scope.spawn(move || {
                all.wait();
                let store = Store::open_at(project, location).unwrap_or_else(|failure| panic!("{failure}"));
                if at >= looks {
                    write(&store, written);
                }
            });
        }
    });
    let store = Store::open_at(project, location).unwrap();
    let verified = store.verify_audit(&[]).unwrap();
    assert!(verified.valid, "{verified:?}");
    assert_eq!(verified.entries, written.load(Ordering::SeqCst) as i64);
    drop(store);
    // Where all only looked, the last one may not be the one that made it.
    assert!(looks == AT_ONCE || location.folder(project).join("state.db").exists());
}

#[test]
fn those_who_begin_at_once_find_one_state_and_lose_nothing() {
    for round in 0..30 {
        let project = tempfile::tempdir().unwrap();
        let environment = (round % 2 == 1).then(|| "prod".to_owned());
        let location = Location { environment, ..Location::default() };
        begun_at_once(project.path(), &location, [0, 3, 5, AT_ONCE][round % 4]);
    }
}

#[test]
fn what_is_lost_is_told_without_a_hint_to_destroy_more() {
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir(project.path().join(".provision")).unwrap();
    std::fs::write(project.path().join(".provision/state.db"), "").unwrap();
    let failure = Store::open(project.path()).err().unwrap();
    let help = failure.first.help.unwrap();
    assert!(help.contains("state restore") && !help.contains("remove"), "{help}");
}
