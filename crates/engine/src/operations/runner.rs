//! Owns who may run next, whatever it is that runs: order, places, stops, panics.

use crate::host::Host;
use provision_diagnostic::{Failure, isolated, locked};
use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long what is in flight may take after a stop was asked for, before it is parked.
const GRACE: Duration = Duration::from_secs(60);

/// How often somebody who waits looks whether a stop was asked for.
const TURN: Duration = Duration::from_millis(100);

/// How a unit ended.
pub enum Done {
    Well,
    Failed(Failure),
    /// The journal entry is open; settling decides.
    InDoubt(Failure),
    /// Something it needs did not end well.
    Skipped,
}

/// Something to run, once what it needs has ended well.
pub trait Unit: Sync {
    /// Indices of what it needs among the units it runs with.
    fn needs(&self) -> &[usize];
    /// What it waits in line with. A queue that is slow must not keep all of another one waiting.
    fn queue(&self) -> &str;
    /// What messages call it.
    fn name(&self) -> String;
    /// Runs it. What it begins is in the journal before anything of it can be seen from outside.
    fn run(&self) -> Done;
    /// Tells that it panicked: what it did until then is for settling to find out.
    fn panicked(&self, failure: &Failure);
}

/// Runs units: in the order of what they need, so many at a time, until there is no more to run or a stop is asked for. A
/// unit that panics is in doubt, and the others go on. Each that ends frees those that waited for it; nothing is scanned
/// twice.
pub struct Runner<'a, U> {
    units: &'a [U],
    host: &'a Host,
    needed_by: Vec<Vec<usize>>,
    /// The queue of each unit.
    queue_of: Vec<usize>,
    /// How many run at a time.
    most: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    queues: Vec<Queue>,
    waiting_for: Vec<usize>,
    outcomes: Vec<Option<Done>>,
    running: usize,
}

impl Inner {
    /// A unit that may run while at most `most` do: of the queue that has fewest running, as `choose` picks one of so many.
    fn take(&mut self, most: usize, choose: &dyn Fn(usize) -> usize) -> Option<usize> {
        if self.running >= most {
            return None;
        }
        let busy = self.queues.iter().filter(|queue| queue.left > 0).count();
        let of_one = most.saturating_sub(busy.saturating_sub(1)).max(1);
        let free = |queue: &&mut Queue| queue.running < of_one && !queue.ready.is_empty();
        let first = |queue: &&mut Queue| (queue.running, queue.ready.front().copied());
        let queue = self.queues.iter_mut().filter(free).min_by_key(first)?;
        let unit = queue.ready.remove(choose(queue.ready.len()))?;
        queue.running += 1;
        self.running += 1;
        Some(unit)
    }
}

/// What one queue has to do. One place is left for each queue that has something to do still.
#[derive(Default)]
struct Queue {
    ready: VecDeque<usize>,
    running: usize,
    /// Those that have not ended.
    left: usize,
}

impl<'a, U: Unit> Runner<'a, U> {
    /// `most` is how many units run at a time.
    pub fn new(units: &'a [U], most: usize, host: &'a Host) -> Self {
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut queue_of = Vec::with_capacity(units.len());
        for unit in units {
            let next = names.len();
            queue_of.push(*names.entry(unit.queue()).or_insert(next));
        }
        let mut queues: Vec<Queue> = names.iter().map(|_| Queue::default()).collect();
        let mut needed_by = vec![Vec::new(); units.len()];
        for (at, unit) in units.iter().enumerate() {
            for &need in unit.needs() {
                needed_by[need].push(at);
            }
        }
        let waiting_for: Vec<usize> = units.iter().map(|unit| unit.needs().len()).collect();
        queue_of.iter().for_each(|queue| queues[*queue].left += 1);
        for at in (0..units.len()).filter(|at| waiting_for[*at] == 0) {
            queues[queue_of[at]].ready.push_back(at);
        }
        let outcomes = units.iter().map(|_| None).collect();
        let inner = Mutex::new(Inner { queues, waiting_for, outcomes, running: 0 });
        Self { units, host, needed_by, queue_of, most: most.clamp(1, 256), inner, changed: Condvar::new() }
    }

    /// Runs them; how each ended, `None` for what a stop kept from beginning.
    pub fn run(self) -> Vec<Option<Done>> {
        std::thread::scope(|scope| {
            for _ in 0..self.width() {
                scope.spawn(|| self.work());
            }
            scope.spawn(|| self.watch());
        });
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).outcomes
    }

    fn width(&self) -> usize {
        self.most.min(self.units.len().max(1))
    }

    /// Runs units until there is no more for anybody. Whatever becomes of one, it ends: those that wait for it are told, and
    /// its place is free again.
    fn work(&self) {
        while let Some(at) = self.next() {
            let unit = &self.units[at];
            let what = isolated("a unit", || unit.name()).unwrap_or_else(|_| "a unit".to_owned());
            let done = isolated(&what, || unit.run()).unwrap_or_else(|failure| {
                // Whoever is told may be what panicked.
                let _ = isolated("an event", || unit.panicked(&failure));
                Done::InDoubt(failure)
            });
            self.finish(at, done);
        }
    }

    /// The next unit, or `None` when there is no more for anybody.
    fn next(&self) -> Option<usize> {
        let mut inner = locked(&self.inner);
        loop {
            if self.host.stop.is_requested() {
                return None;
            }
            if let Some(unit) = inner.take(self.most, &|of| self.host.outside.clock.pick(of)) {
                return Some(unit);
            }
            if inner.running == 0 {
                self.changed.notify_all();
                return None;
            }
            inner = self.changed.wait_timeout(inner, TURN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn finish(&self, at: usize, outcome: Done) {
        let mut inner = locked(&self.inner);
        inner.running -= 1;
        let queue = &mut inner.queues[self.queue_of[at]];
        (queue.running, queue.left) = (queue.running - 1, queue.left - 1);
        let well = matches!(outcome, Done::Well);
        inner.outcomes[at] = Some(outcome);
        if well {
            for &next in &self.needed_by[at] {
                inner.waiting_for[next] -= 1;
                if inner.waiting_for[next] == 0 {
                    inner.queues[self.queue_of[next]].ready.push_back(next);
                }
            }
        } else {
            let mut skip: Vec<usize> = self.needed_by[at].clone();
            while let Some(next) = skip.pop() {
                if inner.outcomes[next].is_none() {
                    inner.outcomes[next] = Some(Done::Skipped);
                    inner.queues[self.queue_of[next]].left -= 1;
                    skip.extend(&self.needed_by[next]);
                }
            }
        }
        self.changed.notify_all();
    }

    /// Parks what is still in flight some time after a stop was asked for.
    fn watch(&self) {
        let clock = &self.host.outside.clock;
        let mut stopped_at = None;
        loop {
            let inner = locked(&self.inner);
            let is_empty = inner.queues.iter().all(|queue| queue.ready.is_empty());
            if inner.running == 0 && (is_empty || self.host.stop.is_requested()) {
                return;
            }
            drop(self.changed.wait_timeout(inner, TURN).unwrap_or_else(PoisonError::into_inner));
            if self.host.stop.is_requested() {
                let since = *stopped_at.get_or_insert_with(|| clock.now());
                if clock.now().saturating_duration_since(since) > GRACE {
                    self.host.stop.park();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_diagnostic::Code;
    use provision_providers::Outside;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    type Work = Box<dyn Fn() -> Done + Send + Sync>;

    struct Task {
        needs: Vec<usize>,
        queue: &'static str,
        work: Work,
        told: Arc<AtomicUsize>,
    }

    impl Unit for Task {
        fn needs(&self) -> &[usize] {
            &self.needs
        }

        fn queue(&self) -> &str {
            self.queue
        }

        fn name(&self) -> String {
            "a task".to_owned()
        }

        fn run(&self) -> Done {
            (self.work)()
        }

        fn panicked(&self, _: &Failure) {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task(needs: &[usize], work: impl Fn() -> Done + Send + Sync + 'static) -> Task {
        Task { needs: needs.to_vec(), queue: "one", work: Box::new(work), told: Arc::default() }
    }

    fn host() -> Host {
        Host::over(Arc::new(|_| None), Outside::default())
    }

    fn ends(outcomes: &[Option<Done>]) -> String {
        let letter = |done: &Option<Done>| match done {
            Some(Done::Well) => 'w',
            Some(Done::Failed(_)) => 'f',
            Some(Done::InDoubt(_)) => 'd',
            Some(Done::Skipped) => 's',
            None => '-',
        };
        outcomes.iter().map(letter).collect()
    }

    #[test]
    fn a_slow_queue_leaves_a_place_for_the_others() {
        // Ten of the slow one come first, then one of the other.
        let queue = |at: usize| if at < 10 { "slow" } else { "other" };
        let tasks: Vec<Task> = (0..11).map(|at| Task { queue: queue(at), ..task(&[], || Done::Well) }).collect();
        let host = host();
        let take = |runner: &Runner<'_, Task>| locked(&runner.inner).take(runner.most, &|_| 0);
        let runner = Runner::new(&tasks, 4, &host);
        assert_eq!(runner.width(), 4);
        let mut running: Vec<usize> = std::iter::from_fn(|| take(&runner)).collect();
        running.sort_unstable();
        assert_eq!(running, [0, 1, 2, 10]);
        // Once that one is done, nothing is kept free for it.
        runner.finish(10, Done::Well);
        assert_eq!((take(&runner), take(&runner)), (Some(3), None));
        // One at a time is one at a time.
        let runner = Runner::new(&tasks, 1, &host);
        assert_eq!((take(&runner), take(&runner)), (Some(0), None));
    }

    #[test]
    fn what_needs_one_that_did_not_end_well_is_skipped_and_the_rest_goes_on() {
        let failed = || Done::Failed(Failure::new(Code::ApplyIncomplete, "no"));
        let doubt = || Done::InDoubt(Failure::new(Code::ApplyIncomplete, "who knows"));
        let well = || Done::Well;
        let tasks = [
            task(&[], failed),
            task(&[0], well),
            task(&[1], well),
            task(&[], doubt),
            task(&[3, 5], well),
            task(&[], well),
            task(&[5], well),
        ];
        for most in [1, 3] {
            assert_eq!(ends(&Runner::new(&tasks, most, &host()).run()), "fssdsww");
        }
    }

    #[test]
    fn one_that_panics_is_in_doubt_and_told_and_the_rest_goes_on() {
        let tasks = [task(&[], || panic!("what is tried")), task(&[0], || Done::Well), task(&[], || Done::Well)];
        assert_eq!(ends(&Runner::new(&tasks, 1, &host()).run()), "dsw");
        assert_eq!(tasks.iter().map(|task| task.told.load(Ordering::SeqCst)).sum::<usize>(), 1);
    }

    #[test]
    fn after_a_stop_nothing_begins() {
        let host = host();
        let stop = host.stop.clone();
        let stops = move || {
            stop.interrupt();
            Done::Well
        };
        let tasks = [task(&[], || Done::Well), task(&[0], stops), task(&[1], || Done::Well), task(&[], || Done::Well)];
        let outcomes = ends(&Runner::new(&tasks, 1, &host).run());
        assert!(outcomes.starts_with("ww-"), "{outcomes}");
        host.stop.wind_down();
        assert_eq!(ends(&Runner::new(&tasks, 1, &host).run()), "----");
    }
}
