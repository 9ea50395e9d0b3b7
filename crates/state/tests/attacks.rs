//! Owns the promise about who changes the files of a state behind its back: with the file and without the key, nothing of
//! it goes unseen but putting all of an older state back; an anchored head shows that too.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_model::{Address, Map, Time};
use provision_state::{
    Ambient, Approval, Checkpoint, Counts, Lease, Machine, NewChange, PolicyInForce, SCHEMA_VERSION, Store, Verified,
};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn approval(id: &str, by: &str) -> Approval {
    Approval {
        id: id.to_owned(),
        plan: "p".into(),
        address: Some(Address::new("a")),
        role: "lead".into(),
        by: by.to_owned(),
        at: Time::parse("2026-01-01T00:00:00.000000Z").unwrap(),
        until: Time::parse("2036-01-02T00:00:00.000000Z").unwrap(),
        used: None,
        policies: "d".into(),
    }
}

fn policies(text: &str) -> PolicyInForce {
    let sources = vec![("p.cedar".to_owned(), text.to_owned())];
    PolicyInForce { digest: provision_model::digest(&serde_json::json!(sources)), sources }
}

fn change(store: &Arc<Store>, lease: &Lease, reason: &str, ids: &[String]) {
    let change = NewChange { reason: Some(reason.into()), ..NewChange::new("apply", "cli") };
    let serial = store.open_change(lease, &change, ids).unwrap();
    store.close_change(lease, serial, Counts { done: 1, ..Counts::default() }).unwrap();
}

/// A state with two changes, a copy of its files after the first one, and the head that was anchored at its end.
struct Scene {
    project: tempfile::TempDir,
    earlier: PathBuf,
    anchored: Checkpoint,
}

impl Scene {
    fn new() -> Self {
        let project = tempfile::tempdir().unwrap();
        let earlier = project.path().join("earlier");
        let store = Store::open(project.path()).unwrap();
        let lease = Lease::acquire(&store, "ada").unwrap();
        store.put_policies(&lease, &policies("forbid(principal, action, resource);")).unwrap();
        store.put_approval(&approval("first", "lea")).unwrap();
        change(&store, &lease, "first", &["first".to_owned()]);
        store.checkpoint().unwrap();
        drop((lease, store));
        let folder = project.path().join(".provision");
        std::fs::create_dir(&earlier).unwrap();
        for name in ["state.db", "audit.head"] {
            std::fs::copy(folder.join(name), earlier.join(name)).unwrap();
        }
        let store = Store::open(project.path()).unwrap();
        let lease = Lease::acquire(&store, "ada").unwrap();
        store.audit(&lease, "operation.begin", Some("a"), Map::new()).unwrap();
        store.put_approval(&approval("open", "lea")).unwrap();
        change(&store, &lease, "second", &[]);
        store.checkpoint().unwrap();
        // A tail that no checkpoint signs.
        store.audit(&lease, "operation.begin", Some("b"), Map::new()).unwrap();
        store.audit(&lease, "operation.end", Some("b"), Map::new()).unwrap();
        let anchored = store.head().unwrap();
        let scene = Self { project, earlier, anchored };
        // Something was made once.
        scene.sql("insert into generations (address, generation) values ('a', 1)");
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.project.path().join(".provision").join(name)
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.file("state.db")).unwrap().execute_batch(sql).unwrap();
    }

    fn put_back(&self, name: &str) {
        std::fs::copy(self.earlier.join(name), self.file(name)).unwrap();
    }

    fn verified(&self, anchored: &[Checkpoint]) -> Result<Verified, provision_diagnostic::Failure> {
        Store::open(self.project.path())?.verify_audit(anchored)
    }
}

/// Chains the log anew from an entry on, as everybody can: the hashes need no key.
fn rechain(folder: &Path, from: i64) {
    let database = Connection::open(folder.join("state.db")).unwrap();
    let mut before: String =
        database.query_row("select hash from audit where seq = ?1", [from - 1], |row| row.get(0)).unwrap();
    let rows: Vec<(i64, String)> = database
        .prepare("select seq, data from audit where seq >= ?1 order by seq")
        .unwrap()
        .query_map([from], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (seq, data) in rows {
        before = data_encoding::HEXLOWER.encode(&Sha256::digest(format!("{before}\n{data}").as_bytes()));
        database.execute("update audit set hash = ?2 where seq = ?1", (seq, &before)).unwrap();
        database.execute("update audit_head set seq = ?1, hash = ?2", (seq, &before)).unwrap();
    }
}

const NEWEST: &str = "(select max(seq) from audit)";

/// Cuts the log back to what the first change left, as cleanly as SQL can.
const CUT: &str = "
  delete from audit where seq > (select min(seq) from checkpoints);
  update audit_head set seq = (select max(seq) from audit), hash = (select hash from audit order by seq desc limit 1);
  delete from checkpoints where seq > (select max(seq) from audit);";
const EMPTY: &str = "delete from audit; update audit_head set seq = 0, hash = ''; delete from checkpoints;";

type Attack = (&'static str, fn(&Scene));

const ATTACKS: &[Attack] = &[
    ("an entry is edited", |it| it.sql("update audit set data = replace(data, 'ada', 'eve') where seq = 3")),
    ("an entry is edited and chained anew", |it| {
        it.sql("update audit set data = replace(data, 'ada', 'eve') where seq = 3");
        rechain(&it.file(""), 3);
    }),
    ("an unsigned entry is edited and chained anew", |it| {
        it.sql(&format!("update audit set data = replace(data, 'ada', 'eve') where seq = {NEWEST}"));
        let database = Connection::open(it.file("state.db")).unwrap();
        let newest = database.query_row("select max(seq) from audit", [], |row| row.get(0)).unwrap();
        rechain(&it.file(""), newest);
    }),
    ("an entry is deleted", |it| it.sql("delete from audit where seq = 3")),
    ("two entries change places", |it| {
        it.sql("update audit set seq = -1 where seq = 3; update audit set seq = 3 where seq = 4; update audit set seq = 4 where seq = -1");
    }),
    ("the unsigned end is cut off", |it| {
        it.sql(&format!(
            "delete from audit where seq = {NEWEST};
            update audit_head set seq = {NEWEST}, hash = (select hash from audit order by seq desc limit 1)"
        ));
    }),
    ("it is cut back", |it| it.sql(CUT)),
    ("it is cut back with the head beside it of then", |it| {
        it.sql(CUT);
        it.put_back("audit.head");
    }),
    ("it is cut back and the head removed", |it| {
        it.sql(CUT);
        std::fs::remove_file(it.file("audit.head")).unwrap();
    }),
    ("it is cut back with its history, and the head removed", |it| {
        it.sql(&format!("{CUT} delete from history where serial > 1; delete from approvals where id = 'open'"));
        std::fs::remove_file(it.file("audit.head")).unwrap();
    }),
    ("it is emptied", |it| it.sql(EMPTY)),
    ("it is emptied with the head and the proofs", |it| {
        it.sql(&format!("{EMPTY} delete from proofs"));
        std::fs::remove_file(it.file("audit.head")).unwrap();
    }),
    ("everything that tells of changes is emptied, and the head removed", |it| {
        it.sql(&format!(
            "{EMPTY} delete from proofs; delete from history; delete from versions; delete from policies; delete from approvals"
        ));
        std::fs::remove_file(it.file("audit.head")).unwrap();
    }),
    ("the head is removed", |it| std::fs::remove_file(it.file("audit.head")).unwrap()),
    ("the head is another one", |it| {
        let other = Scene::new();
        std::fs::copy(other.file("audit.head"), it.file("audit.head")).unwrap();
    }),
    ("the head is edited", |it| {
        let text = std::fs::read_to_string(it.file("audit.head")).unwrap();
        let mut head: Checkpoint = serde_json::from_str(&text).unwrap();
        head.seq -= 1;
        std::fs::write(it.file("audit.head"), serde_json::to_string(&head).unwrap()).unwrap();
    }),
    ("an older state is put back beside the head", |it| it.put_back("state.db")),
    ("an older state is put back and the head removed", |it| {
        it.put_back("state.db");
        std::fs::remove_file(it.file("audit.head")).unwrap();
    }),
    ("entries are added", |it| {
        it.sql(&format!(
            "insert into audit select seq + 1, replace(data, '\"b\"', '\"c\"'), hash from audit where seq = {NEWEST}"
        ));
        let database = Connection::open(it.file("state.db")).unwrap();
        let newest = database.query_row("select max(seq) from audit", [], |row| row.get(0)).unwrap();
        rechain(&it.file(""), newest);
    }),
    ("a checkpoint is added", |it| {
        it.sql("insert into checkpoints select seq + 1, at, hash, signature from checkpoints limit 1");
    }),
    ("an approval is forged", |it| {
        it.sql("insert into approvals select 'forged', plan, address, role, 'boss', at, until, null, policies from approvals where id = 'open'");
    }),
    ("an approval is forged with its entry", |it| {
        it.sql(&format!("insert into approvals select 'forged', plan, address, role, 'boss', at, until, null, policies from approvals where id = 'open';
            insert into audit select {NEWEST} + 1, replace(data, '\"open\"', '\"forged\"'), hash from audit where data like '%approval.give%' and data like '%\"open\"%'"));
        let database = Connection::open(it.file("state.db")).unwrap();
        let newest = database.query_row("select max(seq) from audit", [], |row| row.get(0)).unwrap();
        rechain(&it.file(""), newest);
    }),
    ("an approval is given to another plan", |it| it.sql("update approvals set plan = 'q' where id = 'open'")),
    ("an approval holds longer", |it| it.sql("update approvals set until = '2099' where id = 'open'")),
    ("a used approval is made new", |it| it.sql("update approvals set used = null where id = 'first'")),
    ("an approval is deleted", |it| it.sql("delete from approvals where id = 'first'")),
    ("a change of the history is edited", |it| {
        it.sql("update history set data = replace(data, 'first', 'other') where serial = 1");
    }),
    ("a change of the history is deleted", |it| it.sql("delete from history where serial = 1")),
    ("the newest change is deleted", |it| it.sql("delete from history where serial = 2")),
    ("a change is added", |it| {
        it.sql("insert into history select serial + 1, data, outputs, open from history where serial = 2");
    }),
    ("the policies in force are others", |it| {
        let other = policies("permit(principal, action, resource);");
        let sources = serde_json::to_string(&other.sources).unwrap();
        it.sql(&format!("update policies set digest = '{}', sources = '{sources}'", other.digest));
    }),
    ("the policies in force are gone", |it| it.sql("delete from policies")),
    ("the policies in force are gone with their proof", |it| {
        it.sql("delete from policies; delete from proofs where subject = 'policies'");
    }),
    ("the state is made one of the version before, which proved nothing", |it| {
        it.sql("pragma user_version = 3; drop table proofs; delete from meta where key = 'project'");
        it.sql("update audit set data = replace(data, 'ada', 'eve') where seq = 3");
        rechain(&it.file(""), 3);
    }),
];

#[test]
fn what_is_whole_is_valid() {
    let scene = Scene::new();
    let verified = scene.verified(std::slice::from_ref(&scene.anchored)).unwrap();
    assert!(verified.valid, "{verified:?}");
    // The head that was anchored goes on fitting when the log goes on.
    let store = Store::open(scene.project.path()).unwrap();
    let lease = Lease::acquire(&store, "ada").unwrap();
    change(&store, &lease, "third", &["open".to_owned()]);
    store.rekey(&lease, None).unwrap();
    drop((lease, store));
    let verified = scene.verified(std::slice::from_ref(&scene.anchored)).unwrap();
    assert!(verified.valid, "{verified:?}");
    assert!(ATTACKS.len() >= 19);
}

#[test]
fn nothing_that_is_done_without_the_key_goes_unseen() {
    let mut unseen = Vec::new();
    for (name, attack) in ATTACKS {
        let scene = Scene::new();
        attack(&scene);
        match scene.verified(&[]) {
            // A state that does not open is seen as well.
            Ok(verified) if verified.valid => unseen.push(*name),
            _ => {}
        }
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
}

#[test]
fn all_of_an_older_state_fits_itself_and_not_an_anchored_head() {
    let scene = Scene::new();
    scene.put_back("state.db");
    scene.put_back("audit.head");
    assert!(scene.verified(&[]).unwrap().valid);
    let verified = scene.verified(std::slice::from_ref(&scene.anchored)).unwrap();
    assert!(!verified.valid && verified.problems[0].problem.contains("older"), "{verified:?}");
    // One that has the key too, and writes its own log, is found by it as well.
    let store = Store::open(scene.project.path()).unwrap();
    let lease = Lease::acquire(&store, "eve").unwrap();
    (0..20).for_each(|_| store.audit(&lease, "operation.end", Some("x"), Map::new()).unwrap());
    store.checkpoint().unwrap();
    drop((lease, store));
    assert!(scene.verified(&[]).unwrap().valid);
    let verified = scene.verified(std::slice::from_ref(&scene.anchored)).unwrap();
    assert!(!verified.valid && verified.problems[0].problem.contains("not the one"), "{verified:?}");
}

#[test]
fn what_was_forged_lets_nobody_pass() {
    let scene = Scene::new();
    scene.sql("update approvals set role = 'boss' where id = 'open'");
    let store = Store::open(scene.project.path()).unwrap();
    let vouched = |id: &str| store.is_vouched(&store.approval(id).unwrap()).unwrap();
    assert!(vouched("first") && !vouched("open"));
    store.put_approval(&approval(&Machine.id(), "lea")).unwrap();
    assert_eq!(store.approvals().unwrap().iter().filter(|it| store.is_vouched(it).unwrap()).count(), 2);
    scene.sql("update policies set digest = 'x'");
    assert_eq!(store.policies().unwrap_err().code().as_str(), "provision::state::forged");
}

#[test]
fn a_state_that_is_older_than_its_head_is_refused_until_it_is_owned() {
    for (what, lost) in [("older", false), ("without a head", true)] {
        let scene = Scene::new();
        scene.put_back("state.db");
        if lost {
            std::fs::remove_file(scene.file("audit.head")).unwrap();
        }
        let store = Store::open(scene.project.path()).unwrap();
        assert_eq!(store.refuse_older().unwrap_err().code().as_str(), "provision::state::older", "{what}");
        let lease = Lease::acquire(&store, "ada").unwrap();
        assert!(store.own_older(&lease).unwrap() && store.is_behind().unwrap());
        store.refuse_older().unwrap();
        let verified = store.verify_audit(&[]).unwrap();
        assert!(verified.valid, "{verified:?}");
        assert_eq!(verified.gaps.len(), usize::from(!lost), "{verified:?}");
        assert!(!store.own_older(&lease).unwrap());
    }
    // One whose log of SQLite is gone before anything reached the file is not taken for new.
    let scene = Scene::new();
    std::fs::remove_file(scene.file("state.db")).unwrap();
    assert_eq!(Store::open(scene.project.path()).err().unwrap().code().as_str(), "provision::state::corrupt");
    assert_eq!(SCHEMA_VERSION, 5);
}
