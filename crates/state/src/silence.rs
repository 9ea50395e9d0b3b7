//! Owns silence: since when nobody sends anything for an operation any more, told by clocks that nobody sets where there is
//! one. What was sent before may arrive for a while yet.

use crate::db::{Database, DbError, Dialect};
use crate::lease::boot_seconds;
use crate::operations::update_entry;
use crate::owner::LeaseInfo;
use crate::store::text_of;
use crate::{Entry, Lease, Record, Store, io};
use provision_diagnostic::Failure;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a request may be under way where its operation does not say.
const UNDER_WAY: Duration = Duration::from_secs(75);

/// The last instant at which an operation's process may have sent something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Seconds since the epoch, of the database's clock.
    at: i64,
    /// The machine whose clock that nobody sets counts below.
    machine: String,
    seconds: i64,
    /// Everything it sent was answered, so nothing can arrive any more.
    pub answered: bool,
}

/// What tells a machine's life from any other.
fn life() -> String {
    let here = LeaseInfo::here("", 0);
    if here.boot.is_empty() { String::new() } else { [here.boot, here.machine, here.host].join(" ") }
}

impl Silence {
    /// One that has lasted for some time.
    pub(crate) fn ago(database: &mut dyn Database, time: Duration) -> Result<Self, DbError> {
        let ago = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let (at, seconds) = (database.clock()?.saturating_sub(ago), boot_seconds().saturating_sub(ago));
        Ok(Self { at, machine: life(), seconds, answered: false })
    }

    /// How long it has lasted. Where no clock can be trusted it has only begun: a machine's own clock may have been set, and
    /// another machine's be another one.
    fn lasted(&self, life: &str, shared: Option<i64>) -> Duration {
        let seconds = match shared {
            _ if !life.is_empty() && self.machine == life => boot_seconds() - self.seconds,
            Some(now) => now - self.at,
            None => 0,
        };
        // Both ends are whole seconds, so it may be one less.
        Duration::from_secs(u64::try_from(seconds - 1).unwrap_or_default())
    }
}

/// An operation that somebody has to settle.
#[derive(Debug, Clone)]
pub struct Unsettled {
    pub entry: Entry,
    /// For how much longer what its process sent may still arrive.
    pub arrives_for: Duration,
}

impl Store {
    /// The operations to settle, oldest first. Whoever began one that does not say so sends nothing any more since the lease
    /// changed hands; that is written down, so that the wait is the same however often settling is interrupted.
    pub fn unsettled(&self, lease: &Lease) -> Result<Vec<Unsettled>, Failure> {
        let mut entries = self.open_entries()?;
        let mut told = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.silent.is_none()) {
            let record = Record::Silent(lease.silence().clone());
            entry.apply(&record).map_err(|error| io("write", &error))?;
            told.push((entry.id, text_of(entry)?));
        }
        if !told.is_empty() {
            self.fenced(lease, move |database| {
                told.iter().try_for_each(|(id, text)| update_entry(database, *id, text))
            })?;
        }
        let shared = match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(self.read(|database| database.clock())?),
        };
        let life = life();
        let left = |entry: &Entry| {
            let silence = entry.silent.as_ref().filter(|silence| !silence.answered)?;
            let longest = entry.under_way_ms.map_or(UNDER_WAY, Duration::from_millis);
            Some(longest.saturating_sub(silence.lasted(&life, shared)))
        };
        let unsettled = |entry: Entry| Unsettled { arrives_for: left(&entry).unwrap_or_default(), entry };
        Ok(entries.into_iter().map(unsettled).collect())
    }

    /// Writes down that nothing is sent for an operation any more, and whether everything that was sent was answered.
    pub fn silence(&self, lease: &Lease, entry: &mut Entry, answered: bool) -> Result<(), Failure> {
        let silence = self.read(|database| Silence::ago(database, Duration::ZERO))?;
        self.record(lease, entry, &Record::Silent(Silence { answered, ..silence }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Sqlite;

    #[test]
    fn silence_is_told_by_the_clock_that_nobody_sets_or_has_only_begun() {
        let mut database = Sqlite::in_memory().unwrap();
        let silence = Silence::ago(&mut database, Duration::from_secs(40)).unwrap();
        let here = life();
        assert!((39..45).contains(&silence.lasted(&here, None).as_secs()));
        // The time of day was set by a day in between.
        let set = Silence { at: silence.at - 86_400, ..silence.clone() };
        assert!((39..45).contains(&set.lasted(&here, None).as_secs()));
        // Another machine, or the same one after it was started again.
        let elsewhere = Silence { machine: "another".to_owned(), ..silence.clone() };
        assert_eq!(elsewhere.lasted(&here, None), Duration::ZERO);
        assert_eq!(silence.lasted("", None), Duration::ZERO);
        // A server's clock is the same for all.
        assert_eq!(elsewhere.lasted(&here, Some(silence.at + 31)), Duration::from_secs(30));
        // One that lies in the future has only begun.
        assert_eq!(elsewhere.lasted(&here, Some(silence.at - 30)), Duration::ZERO);
    }
}
