//! Owns what becomes of a panic: a failure of the one unit it happened in, and no obstacle for the others.

use crate::{Code, Failure};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs one unit of work. A panic in it becomes a failure that says which unit it was; its text, which may hold what was
/// being sent, goes to standard error and nowhere else.
pub fn isolated<T>(what: &str, unit: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(unit)).map_err(|_| {
        Failure::new(Code::InternalPanic, format!("{what} panicked; standard error shows where")).with_help(
            "This is a fault of the program or of a provider written in Rust; please report it. \
             Run the same command again: open operations are settled first.",
        )
    })
}

/// Locks a value that is never left half changed, whether or not another thread panicked while it held the lock.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_of_its_unit_that_does_not_repeat_its_text() {
        let failure = isolated("create of `web`", || panic!("hunter2")).unwrap_err();
        assert_eq!(failure.code(), Code::InternalPanic);
        let told = format!("{failure} {:?}", failure.first.help);
        assert!(told.contains("create of `web`") && !told.contains("hunter2"), "{told}");
        assert_eq!(isolated("fine", || 7).unwrap(), 7);
        let mutex = Mutex::new(1);
        let _ = isolated("holding it", || {
            let _held = mutex.lock().unwrap();
            panic!("while it is held");
        });
        assert_eq!(*locked(&mutex), 1);
    }
}
