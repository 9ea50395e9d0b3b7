//! Owns the rate limit of the Hetzner simulation: one token bucket per project, as the vendor documents it.

use std::collections::HashMap;

/// Buckets by project. A bucket holds an hour's requests and refills evenly.
pub struct Limits {
    per_hour: u32,
    buckets: HashMap<String, Bucket>,
}

struct Bucket {
    tokens: f64,
    seen: i64,
}

/// What the `RateLimit-*` headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    /// When the bucket is full again, in seconds since the epoch.
    pub reset: i64,
    pub allowed: bool,
}

impl Limits {
    /// Full buckets for everybody.
    pub fn new(per_hour: u32) -> Self {
        Self { per_hour, buckets: HashMap::new() }
    }

    /// Fills every bucket.
    pub fn refill(&mut self) {
        self.buckets.clear();
    }

    /// Takes one request out of a project's bucket.
    pub fn take(&mut self, account: &str, now: i64) -> Standing {
        let capacity = f64::from(self.per_hour);
        let per_second = capacity / 3600.0;
        let bucket = self.buckets.entry(account.to_owned()).or_insert(Bucket { tokens: capacity, seen: now });
        #[expect(clippy::cast_precision_loss, reason = "a span of milliseconds is far below 2^53")]
        let elapsed = (now - bucket.seen).max(0) as f64 / 1000.0;
        bucket.seen = now;
        bucket.tokens = (bucket.tokens + elapsed * per_second).min(capacity);
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the hourly limit")]
        let (remaining, wait) =
            (bucket.tokens as u32, ((capacity - bucket.tokens) / per_second.max(1e-9)).ceil() as i64);
        Standing { limit: self.per_hour, remaining, reset: now / 1000 + wait, allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_at_one_a_second() {
        let mut limits = Limits::new(3600);
        for _ in 0..3600 {
            assert!(limits.take("a", 0).allowed);
        }
        assert!(!limits.take("a", 0).allowed);
        assert!(limits.take("b", 0).allowed);
        let later = limits.take("a", 2000);
        assert!(later.allowed);
        assert_eq!((later.remaining, later.limit), (1, 3600));
    }
}
