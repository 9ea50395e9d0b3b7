//! Owns the lease: one writer at a time, with a heartbeat, a fencing number, and takeover that cannot hurt a live owner.

use crate::db::{Database, DbError, Trouble, vals};
use crate::owner::{LeaseInfo, own_task};
use crate::{Silence, Store, io};
use provision_diagnostic::{Code, Failure};
use provision_model::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

const TERM: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The longest a request of a dead owner may still be on its way.
const LONGEST_REQUEST: Duration = Duration::from_secs(75);

/// Seconds of a clock that also counts while the machine sleeps.
pub(crate) fn boot_seconds() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec
}

/// The right to write, given up when dropped.
pub struct Lease {
    store: Arc<Store>,
    user: String,
    fencing: i64,
    /// Since when whoever had it before sends nothing any more.
    before: Silence,
    pulse: Arc<Pulse>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    heart: Option<std::thread::JoinHandle<()>>,
}

/// What the owner and the thread that renews the lease share.
struct Pulse {
    /// 0 until it is taken.
    fencing: AtomicI64,
    owner: OnceLock<String>,
    deadline: AtomicI64,
    lost: AtomicBool,
}

impl Lease {
    /// Takes the lease, or says who has it.
    pub fn acquire(store: &Arc<Store>, user: &str) -> Result<Lease, Failure> {
        let begun = boot_seconds();
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let pulse = Arc::new(Pulse {
            fencing: AtomicI64::new(0),
            owner: OnceLock::new(),
            deadline: AtomicI64::new(begun + term()),
            lost: AtomicBool::new(false),
        });
        // The thread is there before the lease is: its number is part of who the owner is.
        let (sender, number) = std::sync::mpsc::channel();
        let heart = {
            let (store, pulse, stop) = (store.clone(), pulse.clone(), stop.clone());
            std::thread::spawn(move || {
                let _ = sender.send(own_task());
                beat(&store, &pulse, &stop);
            })
        };
        let before = store.read(|database| Silence::ago(database, Duration::ZERO))?;
        let mut lease =
            Lease { store: store.clone(), user: user.to_owned(), fencing: 0, before, pulse, stop, heart: Some(heart) };
        let info = LeaseInfo { since: store.now(), ..LeaseInfo::here(user, number.recv().unwrap_or_default()) };
        let owner = serde_json::to_string(&info).map_err(|error| io("lease", &error))?;
        let taken = {
            let owner = owner.clone();
            store.write(move |database| {
                let now = database.clock()?;
                let mut fencing = 1;
                let mut silent = Duration::ZERO;
                if let Some(held) = held(database)? {
                    // Run again after an answer that was lost, it finds itself.
                    fencing = if held.owner == owner { held.fencing } else { held.fencing + 1 };
                    if held.owner != owner && !held.is_free(now, &info, LONGEST_REQUEST) {
                        return Ok(Err(held.info()));
                    }
                    if held.owner != owner {
                        silent = held.silent_for(now, &info);
                    }
                }
                let sql = "insert into lease (one, owner, fencing, expires_at, expires_boot) values (1, ?1, ?2, ?3, ?4)
                     on conflict (one) do update set owner = excluded.owner, fencing = excluded.fencing,
                       expires_at = excluded.expires_at, expires_boot = excluded.expires_boot";
                let (wall, boot) = (now + term(), boot_seconds() + term());
                database.run(sql, vals![&owner, fencing, wall, boot])?;
                Ok(Ok((fencing, Silence::ago(database, silent)?)))
            })?
        };
        match taken {
            Ok((fencing, before)) => {
                lease.fencing = fencing;
                lease.before = before;
                let _ = lease.pulse.owner.set(owner);
                lease.pulse.fencing.store(fencing, Ordering::Release);
                Ok(lease)
            }
            Err(holder) => {
                let who = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
                Err(Failure::new(Code::LeaseHeld, format!("the state is in use by {who}")).with_help(
                    "Wait for it to finish, then run the command again; `provision lock show` tells about it.",
                ))
            }
        }
    }

    /// Who holds it.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The number every commit is checked against.
    pub fn fencing(&self) -> i64 {
        self.fencing
    }

    /// Since when whoever had it before sends nothing any more.
    pub(crate) fn silence(&self) -> &Silence {
        &self.before
    }

    /// Whether it is certainly still ours; asked just before a call is sent.
    pub fn check(&self) -> Result<(), Failure> {
        let late = boot_seconds() >= self.pulse.deadline.load(Ordering::Acquire);
        if late || self.pulse.lost.load(Ordering::Acquire) {
            return Err(lost());
        }
        Ok(())
    }
}

fn term() -> i64 {
    TERM.as_secs() as i64
}

/// The lease as its row has it.
struct Held {
    owner: String,
    fencing: i64,
    expires_at: i64,
    expires_boot: i64,
}

/// The lease's row, locked until the transaction ends.
fn held(database: &mut dyn Database) -> Result<Option<Held>, DbError> {
    let sql =
        format!("select owner, fencing, expires_at, expires_boot from lease where one = 1{}", database.for_update());
    Ok(database.row(&sql, &[])?.map(|row| Held {
        owner: row.text(0).to_owned(),
        fencing: row.int(1),
        expires_at: row.int(2),
        expires_boot: row.int(3),
    }))
}

impl Held {
    fn info(&self) -> Option<LeaseInfo> {
        serde_json::from_str(&self.owner).ok()
    }

    /// Whether somebody else may take it: given back, its process certainly dead, or not renewed for its whole term and
    /// `grace` more.
    fn is_free(&self, now: i64, here: &LeaseInfo, grace: Duration) -> bool {
        self.expires_at == 0
            || self.info().is_some_and(|info| info.is_dead(here))
            || self.expired_for(now, here) > grace.as_secs() as i64
    }

    /// For how many seconds it has not held any more; less than none while it holds.
    fn expired_for(&self, now: i64, here: &LeaseInfo) -> i64 {
        // In the same life of the same machine, the clock that nobody sets decides.
        match self.info().is_some_and(|info| info.is_same_life(here)) && self.expires_boot > 0 {
            true => boot_seconds() - self.expires_boot,
            false => now - self.expires_at,
        }
    }

    /// How long its owner has certainly sent nothing. It sends only while the lease holds; when it died before that, and
    /// when it gave the lease back, is written nowhere.
    fn silent_for(&self, now: i64, here: &LeaseInfo) -> Duration {
        let expired = if self.expires_at == 0 { 0 } else { self.expired_for(now, here) };
        Duration::from_secs(u64::try_from(expired).unwrap_or_default())
    }
}

/// The lease for people: who has it and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseRow {
    pub user: String,
    pub host: String,
    pub pid: u32,
    /// RFC 3339, as the other times.
    pub since: Time,
    pub expires: Time,
    /// `held`; `stale`: not renewed in time, or its process is dead; or `broken`: taken from its owner, and not over yet.
    pub status: String,
    pub fencing: i64,
}

impl Store {
    /// Who holds the lease; `None` when nobody does.
    pub fn lease_row(&self) -> Result<Option<LeaseRow>, Failure> {
        let here = LeaseInfo::here("", 0);
        self.read(|database| {
            let now = database.clock()?;
            let held = match held(database)? {
                Some(held) if held.expires_at != 0 => held,
                _ => return Ok(None),
            };
            let Some(info) = held.info() else { return Ok(None) };
            let status = match held.is_free(now, &here, Duration::ZERO) {
                true => "stale",
                false if info.broken.is_some() => "broken",
                false => "held",
            };
            let expires = Time::of_seconds(held.expires_at).unwrap_or_default();
            Ok(Some(LeaseRow {
                user: info.user,
                host: info.host,
                pid: info.pid,
                since: info.since,
                expires,
                status: status.to_owned(),
                fencing: held.fencing,
            }))
        })
    }

    /// Takes the lease away and writes down why. A live owner keeps it unless `force` is given: then it cannot write any
    /// more, and the lease is free once what it sent last has arrived.
    pub fn break_lease(&self, user: &str, reason: &str, force: bool) -> Result<LeaseRow, Failure> {
        let Some(row) = self.lease_row()? else {
            return Err(Failure::new(Code::LeaseFree, "nobody holds the lease of the state")
                .with_help("There is nothing to break; run the command you wanted to run."));
        };
        let (here, chain, time) = (LeaseInfo::here(user, 0), self.chain(), self.now());
        let mut detail = provision_model::Map::new();
        detail.insert("reason".into(), reason.into());
        detail.insert("holder".into(), format!("{} process {} on {}", row.user, row.pid, row.host).into());
        detail.insert("force".into(), force.into());
        let entry = self.vouched(crate::AuditEntry {
            time,
            actor: user.to_owned(),
            event: "lease.break".into(),
            subject: None,
            serial: None,
            detail,
        });
        let broken = self.write(move |database| {
            let now = database.clock()?;
            let Some(held) = held(database)? else { return Ok(true) };
            // The number moves on: whoever held it cannot write any more.
            if held.is_free(now, &here, LONGEST_REQUEST) {
                database.run("update lease set fencing = fencing + 1, expires_at = 0 where one = 1", &[])?;
            } else if force && let Some(info) = held.info() {
                // It may send until its term is over, and what it sent may arrive after that.
                let owner = LeaseInfo { broken: Some(time), ..info };
                let owner = serde_json::to_string(&owner).map_err(|error| DbError::new(Trouble::Other, error))?;
                database.run("update lease set fencing = fencing + 1, owner = ?1 where one = 1", vals![owner])?;
            } else {
                return Ok(false);
            }
            crate::audit::append(database, &chain, &entry)?;
            Ok(true)
        })?;
        if broken {
            return Ok(self.lease_row()?.unwrap_or(row));
        }
        let who = format!("{} (process {} on {})", row.user, row.pid, row.host);
        let later = format!("Run it again {} s after {}.", LONGEST_REQUEST.as_secs(), row.expires);
        let (message, help) = match row.status.as_str() {
            "held" => (
                format!("the state is in use by {who}, who is alive"),
                "Stop that process; its lease is free at once where it ran here, or soon after it stops renewing it. One that \
                 hangs and cannot be stopped loses it with `--force`."
                    .to_owned(),
            ),
            "broken" => (format!("the lease was taken from {who}, but what they sent last may still be on its way"), later),
            _ => {
                (format!("{who} does not renew the lease any more, but what they sent last may still be on its way"), later)
            }
        };
        Err(Failure::new(Code::LeaseHeld, message).with_help(help))
    }
}

pub(crate) fn lost() -> Failure {
    Failure::new(Code::LeaseLost, "this process lost the lease of the state")
        .with_help("Run `provision apply` again; open operations are settled first.")
}

fn beat(store: &Store, pulse: &Pulse, stop: &(Mutex<bool>, Condvar)) {
    loop {
        let Ok(stopped) = stop.0.lock() else { return };
        let Ok((stopped, _)) = stop.1.wait_timeout_while(stopped, HEARTBEAT, |stopped| !*stopped) else { return };
        if *stopped {
            return;
        }
        drop(stopped);
        let fencing = pulse.fencing.load(Ordering::Acquire);
        let Some(owner) = pulse.owner.get().filter(|_| fencing != 0) else { continue };
        // The deadline counts from before the write: a slow disk must not lengthen it.
        let begun = boot_seconds();
        let owner = owner.clone();
        let changed = store.write(move |database| {
            let sql = "update lease set expires_at = ?1, expires_boot = ?2 where fencing = ?3 and owner = ?4";
            let wall = database.clock()? + term();
            database.run(sql, vals![wall, begun + term(), fencing, &owner])
        });
        match changed {
            Ok(1) => pulse.deadline.store(begun + term(), Ordering::Release),
            Ok(_) => {
                pulse.lost.store(true, Ordering::Release);
                return;
            }
            // The deadline stays where it was; the next beat may do better.
            Err(_) => {}
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Ok(mut stopped) = self.stop.0.lock() {
            *stopped = true;
        }
        self.stop.1.notify_all();
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
        // Left behind it would only make the next one wait; where this cannot be written, the thread that is gone says it.
        let Some(owner) = self.pulse.owner.get().cloned() else { return };
        let fencing = self.fencing;
        let _ = self.store.write(move |database| {
            database.run("update lease set expires_at = 0 where fencing = ?1 and owner = ?2", vals![fencing, &owner])
        });
    }
}
