//! Owns one simulated world: the store, the faults, the log, and which cloud answers a request.

use crate::call::{Call, Cloud, Reply};
use crate::faults::{FaultKind, FaultLayer, refusal};
use crate::journal::{Journal, Request};
use crate::limits::Limits;
use crate::store::Store;
use crate::{aws, hetzner, upcloud};
use std::path::PathBuf;
use std::time::Duration;

/// How a world behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where resources are kept; in memory only when absent.
    pub data: Option<PathBuf>,
    /// How long an asynchronous action takes.
    pub action_duration: Duration,
    /// Requests per hour and Hetzner project.
    pub hetzner_rate_limit: u32,
    pub aws_access_key: String,
    pub aws_secret: String,
    /// What the control asks for, and every credential has in it; `None`, in a process of its own tests, takes anybody.
    pub token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: None,
            action_duration: Duration::from_millis(150),
            hetzner_rate_limit: 3600,
            aws_access_key: "sandbox".to_owned(),
            aws_secret: "sandbox-secret".to_owned(),
            token: None,
        }
    }
}

/// Everything the simulated clouds know.
pub struct World {
    pub store: Store,
    pub faults: FaultLayer,
    pub journal: Journal,
    pub limits: Limits,
    pub options: Options,
}

impl World {
    /// Opens the world, loading what an earlier process kept.
    pub fn open(options: Options) -> Result<Self, String> {
        Ok(Self {
            store: Store::open(options.data.as_deref())?,
            faults: FaultLayer::new(),
            journal: Journal::default(),
            limits: Limits::new(options.hetzner_rate_limit),
            options,
        })
    }

    /// The name of a credential's account; `None` for one that starting the sandbox did not give. `sandbox-TOKEN` is the account
    /// `sandbox`, `sandbox-TOKEN-eu` another one: accounts outlive a token.
    pub fn account(&self, credential: &str) -> Option<String> {
        let Some(token) = &self.options.token else {
            return (!credential.is_empty()).then(|| credential.to_owned());
        };
        let name = credential.strip_prefix(&crate::control::credential(token))?;
        (name.is_empty() || name.starts_with('-')).then(|| format!("sandbox{name}"))
    }

    /// Milliseconds an asynchronous action takes.
    pub fn action_ms(&self) -> i64 {
        i64::try_from(self.options.action_duration.as_millis()).unwrap_or(i64::MAX)
    }

    /// Answers a request to a cloud; `None` closes the connection without a word. What the request changed is durable
    /// when this returns.
    pub fn answer(&mut self, cloud: Cloud, mut call: Call) -> Option<Reply> {
        call.stale_ms = i64::try_from(self.faults.faults.stale_reads_ms).unwrap_or(i64::MAX);
        let action = if cloud == Cloud::Aws { call.param("Action").map(str::to_owned) } else { None };
        let mutating = mutates(cloud, &call, action.as_deref());
        let fault = self.faults.roll(&call, action.as_deref(), mutating);
        let reply = match fault {
            Some(FaultKind::ResetBefore) => None,
            Some(kind @ (FaultKind::Error | FaultKind::Throttle)) => Some(refusal(cloud, kind)),
            Some(FaultKind::ResetAfterCommit) | None => Some(self.perform(cloud, &call)),
        };
        let remote_id = reply.as_ref().and_then(|reply| reply.remote_id.clone());
        let reply = reply.filter(|_| fault != Some(FaultKind::ResetAfterCommit));
        let path =
            if call.raw_query.is_empty() { call.raw_path } else { format!("{}?{}", call.raw_path, call.raw_query) };
        self.journal.push(Request {
            time: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            cloud,
            method: call.method,
            path,
            action,
            status: reply.as_ref().map(|reply| reply.status),
            mutating,
            fault,
            remote_id,
        });
        reply
    }

    fn perform(&mut self, cloud: Cloud, call: &Call) -> Reply {
        let reply = match cloud {
            Cloud::Hetzner => hetzner::answer(self, call),
            Cloud::Upcloud => upcloud::answer(self, call),
            Cloud::Aws => aws::answer(self, call),
        };
        match self.store.commit() {
            Ok(()) => reply,
            // A change that is not durable must not be confirmed.
            Err(_) => refusal(cloud, FaultKind::Error),
        }
    }
}

/// Whether a request asks for a change. A dry run asks for none.
fn mutates(cloud: Cloud, call: &Call, action: Option<&str>) -> bool {
    match cloud {
        Cloud::Aws => {
            action.is_some_and(|action| !action.starts_with("Describe") && !action.starts_with("Get"))
                && call.param("DryRun") != Some("true")
        }
        _ => !matches!(call.method.as_str(), "GET" | "HEAD" | "OPTIONS"),
    }
}
