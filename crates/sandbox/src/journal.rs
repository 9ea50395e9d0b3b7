//! Owns the log of requests: a ring of the last twenty thousand, without credentials.

use crate::call::Cloud;
use crate::faults::FaultKind;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const KEPT: usize = 20_000;

/// One request that a simulated cloud received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// RFC 3339 with microseconds, UTC.
    pub time: String,
    pub cloud: Cloud,
    pub method: String,
    /// With the query, as sent.
    pub path: String,
    /// The EC2 `Action`.
    pub action: Option<String>,
    /// Null where the connection was closed without an answer.
    pub status: Option<u16>,
    /// Whether it asked for a change.
    pub mutating: bool,
    pub fault: Option<FaultKind>,
    pub remote_id: Option<String>,
}

/// The ring.
#[derive(Default)]
pub struct Journal {
    pub requests: VecDeque<Request>,
}

impl Journal {
    /// Adds a request, and forgets the oldest when full.
    pub fn push(&mut self, request: Request) {
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}
