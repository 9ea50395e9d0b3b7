//! Owns the lease: one writer at a time, with a heartbeat, a fencing number, and takeover that cannot hurt a live owner.

use crate::{Store, io};
use provision_diagnostic::Failure;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
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
    /// RFC 3339.
    pub since: String,
}

impl LeaseInfo {
    fn here(user: &str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let pid = std::process::id();
        Self {
            user: user.to_owned(),
            host: read("/proc/sys/kernel/hostname"),
            pid,
            boot: read("/proc/sys/kernel/random/boot_id"),
            started: started(pid).unwrap_or_default(),
            since: crate::now(),
        }
    }

    /// A process of this machine that certainly runs no more.
    fn is_dead_here(&self) -> bool {
        let here = Self::here("");
        if here.host != self.host || self.host.is_empty() || self.started.is_empty() {
            return false;
        }
        here.boot != self.boot || started(self.pid).is_none_or(|started| started != self.started)
    }
}

/// The start time of a live process; `None` for none or a zombie.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
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
    owner: String,
    fencing: i64,
    deadline: Arc<AtomicI64>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    lost: Arc<AtomicBool>,
    heart: Option<std::thread::JoinHandle<()>>,
}

impl Lease {
    /// Takes the lease, or says who has it.
    pub fn acquire(store: &Arc<Store>, user: &str) -> Result<Lease, Failure> {
        let info = LeaseInfo::here(user);
        let owner = serde_json::to_string(&info).map_err(|error| io("lease", &error))?;
        let now = chrono::Utc::now().timestamp();
        let fencing = store.write(|transaction| {
            let found: Option<(String, i64, i64)> = transaction
                .query_row("select owner, fencing, expires_at from lease", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let mut fencing = 1;
            if let Some((other, number, expires_at)) = found {
                fencing = number + 1;
                let holder: Option<LeaseInfo> = serde_json::from_str(&other).ok();
                let free = expires_at == 0
                    || holder.as_ref().is_some_and(LeaseInfo::is_dead_here)
                    || now > expires_at + LONGEST_REQUEST.as_secs() as i64;
                if !free {
                    return Ok(Err(holder));
                }
            }
            transaction.execute(
                "insert into lease values (1, ?1, ?2, ?3)
                 on conflict (one) do update set owner = ?1, fencing = ?2, expires_at = ?3",
                params![owner, fencing, now + TERM.as_secs() as i64],
            )?;
            Ok(Ok(fencing))
        })?;
        let fencing = match fencing {
            Ok(fencing) => fencing,
            Err(holder) => {
                let who = holder.map_or_else(
                    || "somebody".to_owned(),
                    |holder| {
                        format!("{} (process {} on {}, since {})", holder.user, holder.pid, holder.host, holder.since)
                    },
                );
                return Err(Failure::new("provision::lease::held", format!("the state is in use by {who}"))
                    .with_help("Wait for it to finish, then run the command again."));
            }
        };
        let deadline = Arc::new(AtomicI64::new(boot_seconds() + TERM.as_secs() as i64));
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let lost = Arc::new(AtomicBool::new(false));
        let heart = {
            let (store, owner, deadline, stop, lost) =
                (store.clone(), owner.clone(), deadline.clone(), stop.clone(), lost.clone());
            std::thread::spawn(move || beat(&store, &owner, fencing, &deadline, &stop, &lost))
        };
        Ok(Lease { store: store.clone(), owner, fencing, deadline, stop, lost, heart: Some(heart) })
    }

    /// The number every commit is checked against.
    pub fn fencing(&self) -> i64 {
        self.fencing
    }

    /// Whether it is certainly still ours; asked just before a call is sent.
    pub fn check(&self) -> Result<(), Failure> {
        if self.lost.load(Ordering::Acquire) || boot_seconds() >= self.deadline.load(Ordering::Acquire) {
            return Err(lost());
        }
        Ok(())
    }
}

pub(crate) fn lost() -> Failure {
    Failure::new("provision::lease::lost", "this process lost the lease of the state")
        .with_help("Run `provision apply` again; open operations are settled first.")
}

fn beat(
    store: &Store,
    owner: &str,
    fencing: i64,
    deadline: &AtomicI64,
    stop: &(Mutex<bool>, Condvar),
    lost: &AtomicBool,
) {
    loop {
        let Ok(stopped) = stop.0.lock() else { return };
        let Ok((stopped, _)) = stop.1.wait_timeout_while(stopped, HEARTBEAT, |stopped| !*stopped) else { return };
        if *stopped {
            return;
        }
        drop(stopped);
        // The deadline counts from before the write: a slow disk must not lengthen it.
        let begun = boot_seconds();
        let expires_at = chrono::Utc::now().timestamp() + TERM.as_secs() as i64;
        let changed = store.write(|transaction| {
            transaction.execute(
                "update lease set expires_at = ?1 where fencing = ?2 and owner = ?3",
                params![expires_at, fencing, owner],
            )
        });
        match changed {
            Ok(1) => deadline.store(begun + TERM.as_secs() as i64, Ordering::Release),
            Ok(_) => {
                lost.store(true, Ordering::Release);
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
        // Left behind it would only make the next one wait.
        let _ = self.store.write(|transaction| {
            transaction.execute(
                "update lease set expires_at = 0 where fencing = ?1 and owner = ?2",
                params![self.fencing, self.owner],
            )
        });
    }
}
