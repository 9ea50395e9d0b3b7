//! Owns the lease: one writer at a time, with a heartbeat, a fencing number, and takeover that cannot hurt a live owner.

use crate::db::{Database, DbError, vals};
use crate::{Store, io};
use provision_diagnostic::Failure;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

const TERM: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The longest a request of a dead owner may still be on its way.
const LONGEST_REQUEST: Duration = Duration::from_secs(75);

/// Who holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    pub user: String,
    pub host: String,
    pub pid: u32,
    /// Tells this life of the machine and of the process id from earlier ones.
    pub boot: String,
    pub started: String,
    /// The namespace that `pid` is a number of: containers of one machine count on their own. Empty where that is not
    /// known.
    #[serde(default)]
    pub pid_namespace: String,
    /// The thread that renews it, 0 where that is not known.
    #[serde(default)]
    pub task: u32,
    /// Tells this thread from one that has its number later.
    #[serde(default)]
    pub task_started: String,
    /// RFC 3339.
    pub since: String,
}

impl LeaseInfo {
    fn here(user: &str, task: u32) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let pid = std::process::id();
        Self {
            user: user.to_owned(),
            host: read("/proc/sys/kernel/hostname"),
            pid,
            boot: read("/proc/sys/kernel/random/boot_id"),
            started: started(&format!("/proc/{pid}/stat")).unwrap_or_default(),
            pid_namespace: link("/proc/self/ns/pid"),
            task,
            task_started: started(&format!("/proc/{pid}/task/{task}/stat")).unwrap_or_default(),
            since: crate::now(),
        }
    }

    /// A process that we would see if it ran, and that certainly runs no more, or whose renewing thread does not: it gave
    /// the lease up and could not write that down. Names of hosts and images are copied, so only the same life of the same
    /// kernel and the same count of process ids tell; everybody else is waited for.
    pub(crate) fn is_dead_here(&self) -> bool {
        let here = Self::here("", 0);
        let seen = !self.boot.is_empty() && !self.pid_namespace.is_empty() && !self.started.is_empty();
        if !seen || here.boot != self.boot || here.pid_namespace != self.pid_namespace {
            return false;
        }
        let runs = |stat: String, since: &str| started(&stat).is_some_and(|started| started == since);
        !runs(format!("/proc/{}/stat", self.pid), &self.started)
            || (self.task != 0 && !runs(format!("/proc/{}/task/{}/stat", self.pid, self.task), &self.task_started))
    }
}

fn link(path: &str) -> String {
    std::fs::read_link(path).ok().and_then(|link| link.to_str().map(str::to_owned)).unwrap_or_default()
}

/// The start time of a live process or thread; `None` for none or a zombie.
fn started(stat: &str) -> Option<String> {
    let stat = std::fs::read_to_string(stat).ok()?;
    // The name is in parentheses and may hold spaces; fields are counted after it.
    let rest = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|ticks| (*ticks).to_owned()))?
}

/// Seconds of a clock that also counts while the machine sleeps.
fn boot_seconds() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec
}

/// The right to write, given up when dropped.
pub struct Lease {
    store: Arc<Store>,
    user: String,
    fencing: i64,
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

/// The number of this thread.
fn own_task() -> u32 {
    link("/proc/thread-self").rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or_default()
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
        let mut lease =
            Lease { store: store.clone(), user: user.to_owned(), fencing: 0, pulse, stop, heart: Some(heart) };
        let info = LeaseInfo::here(user, number.recv().unwrap_or_default());
        let owner = serde_json::to_string(&info).map_err(|error| io("lease", &error))?;
        let taken = {
            let (owner, boot) = (owner.clone(), info.boot);
            store.write(move |database| {
                let now = database.clock()?;
                let mut fencing = 1;
                if let Some(held) = held(database)? {
                    // Run again after an answer that was lost, it finds itself.
                    fencing = if held.owner == owner { held.fencing } else { held.fencing + 1 };
                    if held.owner != owner && !held.is_free(now, &boot, LONGEST_REQUEST) {
                        return Ok(Err(held.info()));
                    }
                }
                let sql = "insert into lease (one, owner, fencing, expires_at, expires_boot) values (1, ?1, ?2, ?3, ?4)
                     on conflict (one) do update set owner = excluded.owner, fencing = excluded.fencing,
                       expires_at = excluded.expires_at, expires_boot = excluded.expires_boot";
                let (wall, boot) = (now + term(), boot_seconds() + term());
                database.run(sql, vals![&owner, fencing, wall, boot])?;
                Ok(Ok(fencing))
            })?
        };
        match taken {
            Ok(fencing) => {
                lease.fencing = fencing;
                let _ = lease.pulse.owner.set(owner);
                lease.pulse.fencing.store(fencing, Ordering::Release);
                Ok(lease)
            }
            Err(holder) => {
                let who = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
                Err(Failure::new("provision::lease::held", format!("the state is in use by {who}")).with_help(
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
    fn is_free(&self, now: i64, boot: &str, grace: Duration) -> bool {
        let grace = grace.as_secs() as i64;
        if self.expires_at == 0 {
            return true;
        }
        let Some(info) = self.info() else { return now > self.expires_at + grace };
        if info.is_dead_here() {
            return true;
        }
        // In the same life of the same machine, the clock that nobody sets decides.
        match info.boot == boot && !boot.is_empty() && self.expires_boot > 0 {
            true => boot_seconds() > self.expires_boot + grace,
            false => now > self.expires_at + grace,
        }
    }
}

impl std::fmt::Display for LeaseInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {} on {}, since {})", self.user, self.pid, self.host, self.since)
    }
}

/// The lease for people: who has it and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    pub user: String,
    pub host: String,
    pub pid: u32,
    /// RFC 3339, as the other times.
    pub since: String,
    pub expires: String,
    /// `held`, or `stale`: not renewed in time, or its process is dead.
    pub status: String,
    pub fencing: i64,
}

impl Store {
    /// Who holds the lease; `None` when nobody does.
    pub fn lease_row(&self) -> Result<Option<LeaseRow>, Failure> {
        let boot = boot_id();
        self.read(|database| {
            let now = database.clock()?;
            let held = match held(database)? {
                Some(held) if held.expires_at != 0 => held,
                _ => return Ok(None),
            };
            let Some(info) = held.info() else { return Ok(None) };
            let stale = held.is_free(now, &boot, Duration::ZERO);
            let expires = chrono::DateTime::from_timestamp(held.expires_at, 0).unwrap_or_default();
            Ok(Some(LeaseRow {
                user: info.user,
                host: info.host,
                pid: info.pid,
                since: info.since,
                expires: expires.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
                status: if stale { "stale" } else { "held" }.to_owned(),
                fencing: held.fencing,
            }))
        })
    }

    /// Takes the lease away from who does not renew it any more, and writes down why. A live owner keeps it.
    pub fn break_lease(&self, user: &str, reason: &str) -> Result<LeaseRow, Failure> {
        let Some(row) = self.lease_row()? else {
            return Err(Failure::new("provision::lease::free", "nobody holds the lease of the state")
                .with_help("There is nothing to break; run the command you wanted to run."));
        };
        let (boot, chain) = (boot_id(), self.chain());
        let mut detail = provision_model::Map::new();
        detail.insert("reason".into(), reason.into());
        detail.insert("holder".into(), format!("{} process {} on {}", row.user, row.pid, row.host).into());
        let entry = self.vouched(crate::AuditEntry {
            time: crate::now(),
            actor: user.to_owned(),
            event: "lease.break".into(),
            subject: None,
            serial: None,
            detail,
        });
        let broken = self.write(move |database| {
            let now = database.clock()?;
            let Some(held) = held(database)? else { return Ok(true) };
            // What its owner sent last may still be on its way, broken or not.
            if held.expires_at != 0 && !held.is_free(now, &boot, LONGEST_REQUEST) {
                return Ok(false);
            }
            // The number moves on: whoever held it cannot write any more.
            database.run("update lease set fencing = fencing + 1, expires_at = 0 where one = 1", &[])?;
            crate::audit::append(database, &chain, &entry)?;
            Ok(true)
        })?;
        if broken {
            return Ok(row);
        }
        let who = format!("{} (process {} on {})", row.user, row.pid, row.host);
        if row.status == "stale" {
            return Err(Failure::new(
                "provision::lease::held",
                format!("{who} does not renew the lease any more, but what they sent last may still be on its way"),
            )
            .with_help(format!("Run it again {} s after {}.", LONGEST_REQUEST.as_secs(), row.expires)));
        }
        Err(Failure::new("provision::lease::held", format!("the state is in use by {who}, who is alive")).with_help(
            "Stop that process; its lease is free at once where it ran here, or soon after it stops renewing it.",
        ))
    }
}

fn boot_id() -> String {
    LeaseInfo::here("", 0).boot
}

pub(crate) fn lost() -> Failure {
    Failure::new("provision::lease::lost", "this process lost the lease of the state")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_could_be_seen_from_here_is_taken_for_dead() {
        let alive = LeaseInfo::here("ada", 0);
        assert!(!alive.is_dead_here());
        // No process has the last number there is (proc(5), pid_max).
        let dead = LeaseInfo { pid: u32::MAX, ..alive.clone() };
        assert!(dead.is_dead_here());
        // The same process id, begun at another time, is another process.
        assert!(LeaseInfo { started: "1".to_owned(), ..alive }.is_dead_here());
        // In another life of a machine, or another container, that number is somebody else's.
        assert!(!LeaseInfo { boot: "another".to_owned(), ..dead.clone() }.is_dead_here());
        assert!(!LeaseInfo { pid_namespace: "pid:[1]".to_owned(), ..dead.clone() }.is_dead_here());
        // What an older version wrote does not say: it is waited for.
        assert!(!LeaseInfo { pid_namespace: String::new(), ..dead }.is_dead_here());
    }
}
