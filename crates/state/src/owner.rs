//! Owns who holds a lease: which process of which machine, and what proves that it is dead.

use provision_model::Time;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;

/// Who holds the lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    pub user: String,
    pub host: String,
    pub pid: u32,
    /// Tells this life of the machine and of the process id from earlier ones.
    pub boot: String,
    /// The machine's own id: copies of a running machine have the same `boot`.
    #[serde(default)]
    pub machine: String,
    /// Empty where it cannot be read.
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
    pub since: Time,
    /// When somebody took it from a live owner, RFC 3339: it is not renewed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Time>,
}

/// What can be seen of a process or thread.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trace {
    /// The kernel says that there is none with this number.
    Gone,
    /// It ended, and only its number is left.
    Zombie,
    /// There is one, which started at this time.
    Runs(String),
    /// It cannot be looked at: `/proc` hides it, belongs to another namespace, or is not there.
    Hidden,
}

impl LeaseInfo {
    pub(crate) fn here(user: &str, task: u32) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let pid = std::process::id();
        let started = |trace: Trace| match trace {
            Trace::Runs(started) => started,
            _ => String::new(),
        };
        Self {
            user: user.to_owned(),
            host: read("/proc/sys/kernel/hostname"),
            pid,
            boot: read("/proc/sys/kernel/random/boot_id"),
            machine: read("/etc/machine-id"),
            started: started(process(pid)),
            pid_namespace: link("/proc/self/ns/pid"),
            task,
            task_started: started(thread(pid, task)),
            since: Time::default(),
            broken: None,
        }
    }

    /// Whether both are of the same life of the same machine, so that the clock that nobody sets tells both the time. Names
    /// of hosts, images and running machines are copied: everything must be the same.
    pub(crate) fn is_same_life(&self, other: &LeaseInfo) -> bool {
        !self.boot.is_empty() && (&self.boot, &self.machine, &self.host) == (&other.boot, &other.machine, &other.host)
    }

    /// Whether it certainly runs no more, or its renewing thread does not: it gave the lease up and could not write that
    /// down. Who cannot be seen from here is alive.
    pub(crate) fn is_dead(&self, here: &LeaseInfo) -> bool {
        self.is_dead_by(here, &process(self.pid), &|| thread(self.pid, self.task))
    }

    fn is_dead_by(&self, here: &LeaseInfo, process: &Trace, thread: &dyn Fn() -> Trace) -> bool {
        let is_seen = !self.pid_namespace.is_empty() && self.pid_namespace == here.pid_namespace;
        if !is_seen || !self.is_same_life(here) {
            return false;
        }
        match process {
            Trace::Gone | Trace::Zombie => true,
            Trace::Hidden => false,
            Trace::Runs(_) if self.started.is_empty() => false,
            // The number is another process's now.
            Trace::Runs(started) if *started != self.started => true,
            Trace::Runs(_) if self.task == 0 || self.task_started.is_empty() => false,
            Trace::Runs(_) => match thread() {
                Trace::Gone | Trace::Zombie => true,
                Trace::Hidden => false,
                Trace::Runs(started) => started != self.task_started,
            },
        }
    }
}

impl std::fmt::Display for LeaseInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {} on {}, since {})", self.user, self.pid, self.host, self.since)
    }
}

/// The number of this thread, 0 where it cannot be told.
pub(crate) fn own_task() -> u32 {
    match is_own_proc() {
        true => link("/proc/thread-self").rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or_default(),
        false => 0,
    }
}

fn link(path: &str) -> String {
    std::fs::read_link(path).ok().and_then(|link| link.to_str().map(str::to_owned)).unwrap_or_default()
}

/// Whether the numbers in `/proc` are those of this process's namespace.
fn is_own_proc() -> bool {
    link("/proc/self") == std::process::id().to_string()
}

/// What can be seen of a process of this namespace. `/proc` may hide other people's, the kernel does not deny one.
fn process(pid: u32) -> Trace {
    let Some(number) = i32::try_from(pid).ok().filter(|number| *number > 0) else { return Trace::Gone };
    match Pid::from_raw(number).map(test_kill_process) {
        Some(Err(Errno::SRCH)) => Trace::Gone,
        Some(_) if is_own_proc() => match trace(&format!("/proc/{pid}/stat")) {
            // The kernel has it, so it is hidden.
            Trace::Gone => Trace::Hidden,
            seen => seen,
        },
        _ => Trace::Hidden,
    }
}

/// The same of a thread of a process that can be seen.
fn thread(pid: u32, task: u32) -> Trace {
    if task == 0 || !is_own_proc() { Trace::Hidden } else { trace(&format!("/proc/{pid}/task/{task}/stat")) }
}

fn trace(stat: &str) -> Trace {
    let text = match std::fs::read_to_string(stat) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Trace::Gone,
        Err(_) => return Trace::Hidden,
    };
    // The name is in parentheses and may hold spaces; fields are counted after it.
    let Some((_, rest)) = text.rsplit_once(')') else { return Trace::Hidden };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // One whose first thread ended while others go on is no zombie.
    let is_alone = fields.get(17).is_none_or(|threads| matches!(*threads, "0" | "1"));
    match (fields.first(), fields.get(19)) {
        (Some(&("Z" | "X" | "x")), _) if is_alone => Trace::Zombie,
        (Some(_), Some(ticks)) => Trace::Runs((*ticks).to_owned()),
        _ => Trace::Hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_could_be_seen_from_here_is_taken_for_dead() {
        let here = LeaseInfo::here("ada", 0);
        let alive = here.clone();
        assert!(!alive.is_dead(&here));
        // No process has the last number there is (proc(5), pid_max).
        let dead = LeaseInfo { pid: u32::MAX, ..alive.clone() };
        assert!(dead.is_dead(&here));
        // The same process id, begun at another time, is another process.
        assert!(LeaseInfo { started: "1".to_owned(), ..alive.clone() }.is_dead(&here));
        // In another life of a machine, on another machine, or in another container, that number is somebody else's.
        let elsewhere = [
            LeaseInfo { boot: "another".to_owned(), ..dead.clone() },
            LeaseInfo { machine: "another".to_owned(), ..dead.clone() },
            LeaseInfo { host: "another".to_owned(), ..dead.clone() },
            LeaseInfo { pid_namespace: "pid:[1]".to_owned(), ..dead.clone() },
            // What an older version wrote does not say: it is waited for.
            LeaseInfo { pid_namespace: String::new(), ..dead.clone() },
            LeaseInfo { boot: String::new(), ..dead.clone() },
        ];
        for other in elsewhere {
            assert!(!other.is_dead(&here), "{other:?}");
        }
        let nowhere = LeaseInfo { boot: String::new(), ..dead };
        assert!(!nowhere.is_dead(&LeaseInfo { boot: String::new(), ..here }));
    }

    #[test]
    fn who_cannot_be_looked_at_is_alive() {
        let here = LeaseInfo::here("ada", 0);
        let owner = LeaseInfo { task: 7, task_started: "12".to_owned(), ..here.clone() };
        let runs = Trace::Runs(owner.started.clone());
        let is_dead = |process: &Trace, thread: Trace| owner.is_dead_by(&here, process, &|| thread.clone());
        assert!(!is_dead(&Trace::Hidden, Trace::Hidden));
        assert!(!is_dead(&runs, Trace::Hidden));
        assert!(!is_dead(&runs, Trace::Runs("12".to_owned())));
        for proof in [Trace::Gone, Trace::Zombie, Trace::Runs("1".to_owned())] {
            assert!(is_dead(&proof, Trace::Hidden), "{proof:?}");
            assert!(is_dead(&runs, proof.clone()), "{proof:?}");
        }
        // Who could not read its own start cannot be told from who has its number later.
        let unknown = LeaseInfo { started: String::new(), ..owner };
        assert!(!unknown.is_dead_by(&here, &runs, &|| Trace::Gone));
        assert!(unknown.is_dead_by(&here, &Trace::Gone, &|| Trace::Hidden));
    }

    #[test]
    fn a_process_that_proc_hides_is_there() {
        // The first process is never gone, whatever may be read of it.
        assert!(!matches!(process(1), Trace::Gone));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while process(pid) != Trace::Zombie && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(process(pid), Trace::Zombie);
        child.wait().unwrap();
        assert_eq!(process(pid), Trace::Gone);
    }
}
