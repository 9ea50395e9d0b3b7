//! Owns rows handled on all cores without changing their order.

use nu_protocol::{LabeledError, Span, Value};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows waiting to be handled; more are not taken from the source.
const WAITING: usize = 1024;

/// So many of the waiting rows are handled at one go. A row that waits alone is handled alone, so that a slow stream
/// comes out as it goes in.
const BATCH: usize = 128;

/// What is handled may recurse; only what is used of it is ever memory.
const STACK: usize = 32 << 20;

/// What `handle` makes of each row, in the order of the rows; `None` leaves a row out. It ends with its source, or when
/// nobody takes its rows any more.
pub fn in_parallel(
    rows: impl Iterator<Item = Value> + Send + 'static,
    handle: impl Fn(Value) -> Option<Value> + Send + Sync + 'static,
) -> impl Iterator<Item = Value> + Send + 'static {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (sender, waiting) = sync_channel(WAITING);
    let (announce, announced) = sync_channel::<Receiver<Vec<Value>>>(workers * 2);
    let shared = Arc::new((Mutex::new(waiting), handle));
    for _ in 0..workers {
        let shared = shared.clone();
        let announce = announce.clone();
        let work = move || while handle_batch(&shared.0, &announce, &shared.1).is_some() {};
        // Without any worker the rows end at once, and the reader below with them.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(work);
    }
    std::thread::spawn(move || {
        for row in rows {
            if sender.send(row).is_err() {
                return;
            }
        }
    });
    announced.into_iter().flat_map(|batch| {
        batch.recv().unwrap_or_else(|_| {
            // Its worker panicked: rows that are missing must not look like rows left out.
            let error = LabeledError::new("some rows were lost to a fault of the plugin");
            vec![Value::error(error.into(), Span::unknown())]
        })
    })
}

/// Takes what waits, says where its result will be, and handles it; `None` at the end.
fn handle_batch(
    waiting: &Mutex<Receiver<Value>>,
    announce: &SyncSender<Receiver<Vec<Value>>>,
    handle: &impl Fn(Value) -> Option<Value>,
) -> Option<()> {
    let (result, place) = sync_channel(1);
    let batch = {
        // Results are announced in the order in which rows are taken, because both happen under one lock.
        let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = vec![waiting.recv().ok()?];
        batch.extend(std::iter::from_fn(|| waiting.try_recv().ok()).take(BATCH - 1));
        announce.send(place).ok()?;
        batch
    };
    result.send(batch.into_iter().filter_map(handle).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn many_rows_keep_their_order_and_some_are_left_out() {
        let rows = (0..10_000).map(Value::test_int);
        let even = |row: Value| {
            let number = row.as_int().unwrap();
            if number % 97 == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
            (number % 2 == 0).then(|| Value::test_int(number + 1))
        };
        let out: Vec<i64> = in_parallel(rows, even).map(|row| row.as_int().unwrap()).collect();
        assert_eq!(out, (0..10_000).step_by(2).map(|number| number + 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_row_comes_out_before_the_next_goes_in_and_who_stops_taking_ends_it() {
        let (sender, receiver) = channel();
        let mut out = in_parallel(receiver.into_iter(), Some);
        for number in 0..3 {
            sender.send(Value::test_int(number)).unwrap();
            assert_eq!(out.next(), Some(Value::test_int(number)));
        }
        drop(out);
        // Somebody notices within the rows that may wait.
        let refused = (0..10_000).any(|number| {
            std::thread::sleep(Duration::from_micros(100));
            sender.send(Value::test_int(number)).is_err()
        });
        assert!(refused);
    }
}
