//! Owns absence: a thing counts as not there only when it was asked for after the time in which it may be there unseen.

use provision_providers::{CallError, Class, Control};
use provision_registry::TypeSpec;
use std::time::{Duration, Instant};

/// The consistency window of a type. One that cannot be read, which `provision provider check` tells, is none.
pub fn window(spec: &TypeSpec) -> Duration {
    provision_registry::time_of(&spec.window).unwrap_or_default()
}

/// The first pause between two looks, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));

/// What looking for a thing came to.
#[derive(Debug)]
pub(crate) enum Sighting<T> {
    There(T),
    Absent(WindowElapsed),
    /// The wait ended before its time: nobody knows.
    Interrupted,
}

impl<T> Sighting<T> {
    /// What is there; where nobody knows, the error that the call was interrupted.
    pub fn known(self, provider: &str) -> Result<Option<T>, CallError> {
        match self {
            Sighting::There(found) => Ok(Some(found)),
            Sighting::Absent(_) => Ok(None),
            Sighting::Interrupted => Err(interrupted(provider)),
        }
    }
}

/// The error of a wait that ended before anything was known.
pub(crate) fn interrupted(provider: &str) -> CallError {
    CallError::new(Class::Interrupted, provider, "", "interrupted before it was known whether it is there")
}

/// Says that a thing is not there. Only a window that is over gives one.
#[derive(Debug)]
pub(crate) struct WindowElapsed(());

impl WindowElapsed {
    /// Of what no cloud has: it lives in the state alone, and is not in it.
    pub fn in_the_state_alone() -> Self {
        Self(())
    }
}

/// The time in which a thing may be there unseen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    until: Instant,
}

impl Window {
    pub fn until(until: Instant) -> Self {
        Self { until }
    }

    /// Asks until the thing is found, or was asked for when the window was over.
    pub fn look<T>(
        self,
        control: &Control<'_>,
        mut ask: impl FnMut() -> Result<Option<T>, CallError>,
    ) -> Result<Sighting<T>, CallError> {
        let (mut pause, longest) = PAUSES;
        loop {
            // What was asked before the window was over tells nothing, however late the answer is looked at: a process that
            // slept in between would make the thing once more.
            let over = control.clock.now() >= self.until;
            match ask() {
                Ok(Some(found)) => return Ok(Sighting::There(found)),
                Ok(None) if over => return Ok(Sighting::Absent(WindowElapsed(()))),
                Ok(None) => {}
                Err(error) if error.class == Class::Interrupted => return Ok(Sighting::Interrupted),
                Err(error) => return Err(error),
            }
            let left = self.until.saturating_duration_since(control.clock.now());
            if !control.sleep(pause.min(left)) {
                return Ok(Sighting::Interrupted);
            }
            pause = (pause * 3 / 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_providers::{Clock, SystemClock};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::SystemTime;

    /// Each wait takes its time at once, and a stop comes at a certain one.
    struct Stepped {
        begun: Instant,
        passed: AtomicU64,
        stop: AtomicBool,
        stops_after: u64,
    }

    impl Clock for Stepped {
        fn now(&self) -> Instant {
            self.begun + Duration::from_millis(self.passed.load(Ordering::SeqCst))
        }

        fn wall(&self) -> SystemTime {
            SystemClock.wall()
        }

        fn wait(&self, time: Duration) {
            // Rounded up: a wait that takes no time would never end.
            let time = time.as_micros().div_ceil(1000) as u64;
            let passed = self.passed.fetch_add(time, Ordering::SeqCst) + time;
            self.stop.store(passed >= self.stops_after, Ordering::SeqCst);
        }
    }

    /// What looking comes to when the thing shows after `shows` ms and a stop comes after `stops_after`.
    fn looked(shows: u64, stops_after: u64) -> (Sighting<u64>, u32) {
        let clock = Stepped {
            begun: Instant::now(),
            passed: AtomicU64::new(0),
            stop: AtomicBool::new(stops_after == 0),
            stops_after,
        };
        let control = Control {
            interrupt: &clock.stop,
            winding_down: &clock.stop,
            may_change: &|| false,
            clock: &clock,
            retrying: &|_, _| true,
        };
        let mut asked = 0;
        let sighting = Window::until(clock.begun + Duration::from_secs(5)).look(&control, || {
            asked += 1;
            let passed = clock.passed.load(Ordering::SeqCst);
            Ok((passed >= shows).then_some(passed))
        });
        (sighting.unwrap(), asked)
    }

    #[test]
    fn only_a_window_that_is_over_says_that_a_thing_is_not_there() {
        assert!(matches!(looked(0, u64::MAX), (Sighting::There(0), 1)));
        assert!(matches!(looked(4_000, u64::MAX).0, Sighting::There(_)));
        // It is asked for once more when the window is over.
        assert!(matches!(looked(5_000, u64::MAX).0, Sighting::There(5_000)));
        assert!(matches!(looked(5_001, u64::MAX).0, Sighting::Absent(_)));
        // A stop at any wait leaves it open, the first and the last one too.
        for stop in [0, 1, 250, 1_000, 4_999] {
            assert!(matches!(looked(u64::MAX, stop).0, Sighting::Interrupted), "{stop}");
        }
    }

    #[test]
    fn a_call_that_was_interrupted_tells_nothing() {
        let stop = AtomicBool::new(false);
        let control = Control {
            interrupt: &stop,
            winding_down: &stop,
            may_change: &|| false,
            clock: &SystemClock,
            retrying: &|_, _| true,
        };
        let over = Window::until(Instant::now());
        let asked: Sighting<()> = over.look(&control, || Err(interrupted("acme"))).unwrap();
        assert!(matches!(asked, Sighting::Interrupted));
        assert!(over.look(&control, || Ok::<Option<()>, _>(None)).unwrap().known("acme").unwrap().is_none());
    }
}
