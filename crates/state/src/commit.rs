//! Owns group commit: writes that arrive while another one is being made durable become durable together.
//!
//! Each write is all or nothing; one that fails takes nothing of the others with it.

use crate::db::{Database, DbError, Dialect, Trouble};
use provision_diagnostic::{isolated, locked};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a database that went away may take to come back before its writers are told.
const PATIENCE: Duration = Duration::from_secs(30);

/// One write that waits for its turn.
trait Job: Send + Sync {
    fn run(&self, database: &mut dyn Database) -> Result<(), DbError>;
    /// Tells the writer that it is durable, or why it is not.
    fn settle(&self, error: Option<DbError>);
    fn is_settled(&self) -> bool;
}

struct Ticket<T, F> {
    body: F,
    outcome: Mutex<Outcome<T>>,
}

enum Outcome<T> {
    Waiting,
    /// Run, not durable yet.
    Run(T),
    Settled(Option<Result<T, DbError>>),
}

impl<T, F> Job for Ticket<T, F>
where
    T: Send,
    F: Fn(&mut dyn Database) -> Result<T, DbError> + Send + Sync,
{
    fn run(&self, database: &mut dyn Database) -> Result<(), DbError> {
        let value = (self.body)(database)?;
        *locked(&self.outcome) = Outcome::Run(value);
        Ok(())
    }

    fn settle(&self, error: Option<DbError>) {
        let mut outcome = locked(&self.outcome);
        *outcome = match (std::mem::replace(&mut *outcome, Outcome::Waiting), error) {
            (Outcome::Run(value), None) => Outcome::Settled(Some(Ok(value))),
            (_, Some(error)) => Outcome::Settled(Some(Err(error))),
            (_, None) => Outcome::Settled(Some(Err(DbError::new(Trouble::Other, "it was not written")))),
        };
    }

    fn is_settled(&self) -> bool {
        matches!(*locked(&self.outcome), Outcome::Settled(_))
    }
}

fn panicked() -> DbError {
    DbError::new(Trouble::Other, "writing it panicked")
}

/// A database with its writers in a queue.
pub struct Committer {
    writer: Mutex<Box<dyn Database>>,
    /// A connection of its own for reads, where they need not wait for a write to become durable.
    reader: Option<Mutex<Box<dyn Database>>>,
    queue: Mutex<Queue>,
    /// Told when a batch is durable.
    turn: Condvar,
    patience: Duration,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Arc<dyn Job>>,
    /// Somebody writes for a batch.
    busy: bool,
}

impl Committer {
    pub fn new(writer: Box<dyn Database>, reader: Option<Box<dyn Database>>) -> Self {
        Self {
            writer: Mutex::new(writer),
            reader: reader.map(Mutex::new),
            queue: Mutex::default(),
            turn: Condvar::new(),
            patience: PATIENCE,
        }
    }

    /// Runs a read. It sees what is durable, and with it everything this process has written.
    pub fn read<T>(&self, body: impl Fn(&mut dyn Database) -> Result<T, DbError>) -> Result<T, DbError> {
        let mut database = locked(self.reader.as_ref().unwrap_or(&self.writer));
        self.patiently(&mut **database, |database| body(database))
    }

    /// Runs what can be in no transaction, on the connection that writes.
    pub fn alone<T>(&self, body: impl Fn(&mut dyn Database) -> Result<T, DbError>) -> Result<T, DbError> {
        let mut database = locked(&self.writer);
        self.patiently(&mut **database, |database| body(database))
    }

    /// Runs a write and returns when it is durable. It may run more than once when the database went away in between, so
    /// it must come to the same when it is run again.
    pub fn write<T: Send + 'static>(
        &self,
        body: impl Fn(&mut dyn Database) -> Result<T, DbError> + Send + Sync + 'static,
    ) -> Result<T, DbError> {
        let ticket = Arc::new(Ticket { body, outcome: Mutex::new(Outcome::Waiting) });
        let mut queue = locked(&self.queue);
        queue.waiting.push(ticket.clone());
        // Whoever finds nobody writing writes for all who wait; the others find their tickets settled.
        while !ticket.is_settled() {
            if queue.busy {
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.busy = true;
            let batch = std::mem::take(&mut queue.waiting);
            drop(queue);
            // Whatever becomes of the batch, the others get their turn.
            if isolated("a write", || self.commit(&mut **locked(&self.writer), &batch)).is_err() {
                let _ = isolated("a write", || locked(&self.writer).script("rollback"));
                batch.iter().filter(|job| !job.is_settled()).for_each(|job| job.settle(Some(panicked())));
            }
            queue = locked(&self.queue);
            queue.busy = false;
            self.turn.notify_all();
        }
        drop(queue);
        match &mut *locked(&ticket.outcome) {
            Outcome::Settled(outcome) => outcome.take(),
            _ => None,
        }
        .unwrap_or_else(|| Err(DbError::new(Trouble::Other, "it was not written")))
    }

    fn commit(&self, database: &mut dyn Database, batch: &[Arc<dyn Job>]) {
        let done = self.patiently(database, |database| attempt(database, batch));
        match done {
            Ok(outcomes) => batch.iter().zip(outcomes).for_each(|(job, error)| job.settle(error)),
            Err(error) => batch.iter().for_each(|job| job.settle(Some(error.clone()))),
        }
    }

    /// Tries again while the database is away.
    fn patiently<T>(
        &self,
        database: &mut dyn Database,
        body: impl Fn(&mut dyn Database) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let begun = Instant::now();
        loop {
            let done = database.revive().and_then(|()| body(database));
            match done {
                Err(error) if error.trouble == Trouble::Lost && begun.elapsed() < self.patience => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                done => return done,
            }
        }
    }
}

/// One transaction for a whole batch; the outcome of each of its jobs.
fn attempt(database: &mut dyn Database, batch: &[Arc<dyn Job>]) -> Result<Vec<Option<DbError>>, DbError> {
    let begin = match database.dialect() {
        Dialect::Sqlite => "begin immediate",
        Dialect::Postgres => "begin",
    };
    database.script(begin)?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for job in batch {
        match one(database, job.as_ref(), batch.len() > 1) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                let _ = database.script("rollback");
                return Err(error);
            }
        }
    }
    if let (1, Some(Some(error))) = (outcomes.len(), outcomes.first()) {
        database.script("rollback")?;
        return Err(error.clone());
    }
    if let Err(error) = database.script("commit") {
        let _ = database.script("rollback");
        return Err(error);
    }
    Ok(outcomes)
}

/// Runs one job; a failure of its own is its outcome, a failure of the database is everybody's.
fn one(database: &mut dyn Database, job: &dyn Job, shared: bool) -> Result<Option<DbError>, DbError> {
    if shared {
        database.script("savepoint job")?;
    }
    let run = isolated("a write", || job.run(database)).unwrap_or_else(|_| Err(panicked()));
    match run {
        Ok(()) => {
            if shared {
                database.script("release savepoint job")?;
            }
            Ok(None)
        }
        Err(error) if error.trouble == Trouble::Lost => Err(error),
        Err(error) => {
            if shared {
                database.script("rollback to savepoint job")?;
                database.script("release savepoint job")?;
            }
            Ok(Some(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::vals;
    use crate::sqlite::Sqlite;

    #[test]
    fn a_write_that_fails_takes_nothing_of_the_others_with_it() {
        let mut database = Sqlite::in_memory().unwrap();
        database.script("create table t (a integer primary key) strict").unwrap();
        let committer = Committer::new(Box::new(database), None);
        std::thread::scope(|scope| {
            for at in 0..64i64 {
                let committer = &committer;
                scope.spawn(move || {
                    let done = committer.write(move |database| {
                        database.run("insert into t values (?1)", vals![at])?;
                        if at % 4 == 0 {
                            return Err(DbError::new(Trouble::Other, "no"));
                        }
                        Ok(at)
                    });
                    assert_eq!(done.ok(), (at % 4 != 0).then_some(at));
                });
            }
        });
        let left = committer.read(|database| database.rows("select a from t order by a", &[])).unwrap();
        let expected: Vec<i64> = (0..64).filter(|at| at % 4 != 0).collect();
        assert_eq!(left.iter().map(|row| row.int(0)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_write_that_panics_keeps_no_other_waiting() {
        let mut database = Sqlite::in_memory().unwrap();
        database.script("create table t (a integer primary key) strict").unwrap();
        let committer = Committer::new(Box::new(database), None);
        let insert = |at: i64| {
            committer.write(move |database| {
                database.run("insert into t values (?1)", vals![at])?;
                if at == 2 {
                    panic!("what is tried");
                }
                Ok(at)
            })
        };
        assert_eq!((insert(1).ok(), insert(2).ok(), insert(3).ok()), (Some(1), None, Some(3)));
        let left = committer.read(|database| database.rows("select a from t order by a", &[])).unwrap();
        assert_eq!(left.iter().map(|row| row.int(0)).collect::<Vec<_>>(), [1, 3]);
    }
}
