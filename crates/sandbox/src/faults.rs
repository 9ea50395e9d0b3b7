//! Owns the faults a user orders: how often, which kind, and the dice.

use crate::call::{Call, Cloud, Reply};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 5xx in the vendor's shape; nothing is changed.
    Error,
    /// 429 with Retry-After, on EC2 503 `RequestLimitExceeded`; nothing is changed.
    Throttle,
    /// The connection closes without an answer; nothing is changed.
    ResetBefore,
    /// The change is made, then the connection closes without an answer.
    ResetAfterCommit,
}

/// A fault for the next requests that match; a part left out matches everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailNext {
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub path_contains: Option<String>,
    /// The EC2 `Action`.
    #[serde(default)]
    pub action: Option<String>,
    pub kind: FaultKind,
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// The faults in force. Rates are probabilities between 0 and 1, rolled for each request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Added to every answer.
    pub latency_ms: u64,
    pub error_rate: f64,
    pub throttle_rate: f64,
    pub reset_before_rate: f64,
    /// Rolled for requests that change something.
    pub reset_after_commit_rate: f64,
    /// New resources stay out of lists this long, and on EC2 out of every Describe.
    pub stale_reads_ms: u64,
    pub fail_next: Vec<FailNext>,
    /// Makes the dice repeatable.
    pub seed: Option<u64>,
}

/// The faults and their dice.
pub struct FaultLayer {
    pub faults: Faults,
    dice: StdRng,
}

impl FaultLayer {
    /// No faults.
    pub fn new() -> Self {
        Self { faults: Faults::default(), dice: StdRng::from_os_rng() }
    }

    /// Puts faults in force, or says which part is out of range.
    pub fn set(&mut self, faults: Faults) -> Result<(), String> {
        let rates = [
            ("error_rate", faults.error_rate),
            ("throttle_rate", faults.throttle_rate),
            ("reset_before_rate", faults.reset_before_rate),
            ("reset_after_commit_rate", faults.reset_after_commit_rate),
        ];
        for (name, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                return Err(format!("{name} must lie between 0 and 1, not {rate}"));
            }
        }
        if let Some(seed) = faults.seed {
            self.dice = StdRng::seed_from_u64(seed);
        }
        self.faults = faults;
        Ok(())
    }

    /// Which fault, if any, befalls this request.
    pub fn roll(&mut self, call: &Call, action: Option<&str>, mutating: bool) -> Option<FaultKind> {
        let ordered = self.faults.fail_next.iter_mut().find(|next| {
            next.times > 0
                && next.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(&call.method))
                && next.path_contains.as_deref().is_none_or(|part| call.raw_path.contains(part))
                && next.action.as_deref().is_none_or(|wanted| Some(wanted) == action)
                && (mutating || next.kind != FaultKind::ResetAfterCommit)
        });
        if let Some(next) = ordered {
            next.times -= 1;
            let kind = next.kind;
            self.faults.fail_next.retain(|next| next.times > 0);
            return Some(kind);
        }
        let rates = [
            (FaultKind::Throttle, self.faults.throttle_rate),
            (FaultKind::Error, self.faults.error_rate),
            (FaultKind::ResetBefore, self.faults.reset_before_rate),
            (FaultKind::ResetAfterCommit, if mutating { self.faults.reset_after_commit_rate } else { 0.0 }),
        ];
        rates.into_iter().find(|(_, rate)| *rate > 0.0 && self.dice.random_bool(*rate)).map(|(kind, _)| kind)
    }
}

/// A refusal in the vendor's own shape, before anything is changed.
pub fn refusal(cloud: Cloud, kind: FaultKind) -> Reply {
    let throttled = kind == FaultKind::Throttle;
    let mut reply = match (cloud, throttled) {
        (Cloud::Hetzner, true) => {
            crate::hetzner::error(429, "rate_limit_exceeded", "Limit of requests per hour reached")
        }
        (Cloud::Hetzner, false) => crate::hetzner::error(503, "service_error", "Service error"),
        (Cloud::Upcloud, true) => Reply::json(
            429,
            &json!({"error": {"error_code": "TOO_MANY_REQUESTS", "error_message": "Too many requests."}}),
        ),
        (Cloud::Upcloud, false) => Reply::json(
            503,
            &json!({"error": {"error_code": "SERVICE_UNAVAILABLE", "error_message": "The service is unavailable."}}),
        ),
        (Cloud::Aws, true) => crate::aws::xml::error(503, "RequestLimitExceeded", "Request limit exceeded."),
        (Cloud::Aws, false) => crate::aws::xml::error(500, "InternalError", "An internal error has occurred"),
    };
    if throttled && cloud != Cloud::Aws {
        reply.headers.push(("retry-after", "1".to_owned()));
    }
    reply
}
