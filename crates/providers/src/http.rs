//! Owns sending one request: budget, classification of what came back, and repeating what certainly had no effect.

use crate::auth::Authenticator;
use crate::network::network_for;
use crate::outside::{Clock, Outside, Wire, WireError, WireRequest};
use crate::{CallError, Class, Control, wire, xml};
use provision_diagnostic::{Masker, locked};
use provision_model::Json;
use provision_registry::{ErrorRules, Protocol, RateLimit};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

const BUSY_LIMIT: Duration = Duration::from_secs(180);
/// Longest pause a cloud may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// One request before it is signed.
pub struct Outgoing {
    pub method: String,
    /// Path below the endpoint, percent-encoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Option<Json>,
    pub region: String,
    /// Whether it may change something.
    pub mutating: bool,
}

/// Sends requests for one account.
pub struct Transport {
    pub provider: String,
    pub protocol: Protocol,
    endpoint: String,
    authenticator: Authenticator,
    /// Finds its credentials in what comes back.
    credentials: Masker,
    errors: ErrorRules,
    rate_limit: RateLimit,
    wire: Arc<dyn Wire>,
    /// Nobody of this account sends before this instant.
    not_before: Mutex<Instant>,
}

struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    remaining: Option<u64>,
    /// What the vendor's support asks for.
    request_id: Option<String>,
    /// Where it wants the request to go instead.
    location: Option<String>,
    /// Where the next page is, where a header says so.
    next: Option<String>,
    body: Vec<u8>,
}

/// Headers under which vendors give the id of a request.
const REQUEST_ID: [&str; 5] =
    ["x-request-id", "x-amzn-requestid", "x-amz-request-id", "x-correlation-id", "request-id"];

impl Transport {
    pub fn new(
        provider: &str,
        protocol: Protocol,
        endpoint: String,
        authenticator: Authenticator,
        errors: ErrorRules,
        rate_limit: RateLimit,
        outside: &Outside,
    ) -> Self {
        let wire = outside.wire.clone().unwrap_or_else(|| network_for(&|_| None, outside.answer_timeout));
        Self {
            provider: provider.to_owned(),
            protocol,
            endpoint,
            credentials: Masker::new(authenticator.secrets()),
            authenticator,
            errors,
            rate_limit,
            wire,
            not_before: Mutex::new(outside.clock.now()),
        }
    }

    /// Sends until there is an answer or a reason to stop. A mutating request whose fate is unknown is
    /// [`Class::InDoubt`] at once.
    pub fn call(&self, request: &Outgoing, control: &Control<'_>) -> Result<Json, CallError> {
        self.page(request, control).map(|(answer, _)| answer)
    }

    /// The same, with the address of the next page where a header gives it.
    pub fn page(&self, request: &Outgoing, control: &Control<'_>) -> Result<(Json, Option<String>), CallError> {
        let begun = control.clock.now();
        let mut attempt = 1;
        loop {
            self.await_budget(control)?;
            if request.mutating && !(control.may_change)() {
                return Err(self.error(Class::Interrupted, "", "not sent: somebody else may be the writer now"));
            }
            let error = match self.once(request, control) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let again = match error.class {
                Class::Throttle => attempt < 30,
                Class::Busy => control.clock.now() - begun < BUSY_LIMIT,
                Class::NotSent => attempt < 6,
                Class::Unavailable => attempt < 8,
                _ => false,
            };
            if !again || (request.mutating && control.winding_down.load(Ordering::Relaxed)) {
                return Err(error);
            }
            let pause = error.retry_after.unwrap_or_else(|| backoff(attempt, control.clock));
            if error.class == Class::Throttle {
                self.hold_for(pause, control);
            }
            if !(control.retrying)(attempt, &error) {
                return Err(error);
            }
            if !control.sleep(pause) {
                return Err(self.error(Class::Interrupted, "", "interrupted while waiting to try again"));
            }
            attempt += 1;
        }
    }

    fn error(&self, class: Class, code: &str, message: impl Into<String>) -> CallError {
        CallError::new(class, &self.provider, code, message)
    }

    fn hold_for(&self, pause: Duration, control: &Control<'_>) {
        let mut not_before = locked(&self.not_before);
        *not_before = (*not_before).max(control.clock.now() + pause);
    }

    fn await_budget(&self, control: &Control<'_>) -> Result<(), CallError> {
        loop {
            let wait = locked(&self.not_before).saturating_duration_since(control.clock.now());
            if !control.sleep(wait) {
                return Err(self.error(Class::Interrupted, "", "interrupted before sending"));
            }
            if wait.is_zero() {
                return Ok(());
            }
        }
    }

    fn once(&self, request: &Outgoing, control: &Control<'_>) -> Result<(Json, Option<String>), CallError> {
        let unknown_fate = if request.mutating { Class::InDoubt } else { Class::Unavailable };
        // Counted from the end of the exchange: a process that was stopped in between may have sent it only then.
        let under_way = |error: CallError| if request.mutating { error.sent_at(control.clock.now()) } else { error };
        let answer = match self.send(request, control) {
            Ok(answer) => answer,
            Err(WireError::Build(message)) => return Err(self.error(Class::Rejected, "", message)),
            Err(WireError::NotSent(message)) => return Err(self.error(Class::NotSent, "", message)),
            Err(WireError::Lost(message)) => return Err(under_way(self.error(unknown_fate, "", message))),
            Err(WireError::Dropped) => {
                // What changes something may arrive still.
                let class = if request.mutating { Class::InDoubt } else { Class::Interrupted };
                return Err(under_way(self.error(class, "", "stopped before the answer came")));
            }
            Err(WireError::Unreadable(message)) => {
                let message = format!("the answer to {} cannot be read: {message}", request.path);
                return Err(self.error(Class::Malformed, "", message));
            }
        };
        if answer.remaining == Some(0)
            && let Some(pause) =
                self.rate_limit.refill_per_second.filter(|rate| *rate > 0.0).and_then(|rate| pause_of(1.0 / rate))
        {
            self.hold_for(pause, control);
        }
        let parsed = self.parse(&answer.body);
        if (200..300).contains(&answer.status) {
            return parsed.map(|value| (value, answer.next)).map_err(|message| {
                let id = told_id(answer.request_id.as_deref());
                let message = format!("the answer to {} is not what the API documents: {message}{id}", request.path);
                self.error(Class::Malformed, "", message)
            });
        }
        if let (300..400, Some(location)) = (answer.status, &answer.location) {
            // The credential goes where the account says, and nowhere else.
            let to = match location.split_once("://") {
                Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
                None => location.split(['?', '#']).next().unwrap_or_default(),
            };
            let message = format!("{} redirects to `{to}`, which is not followed", request.path);
            return Err(self.error(Class::Malformed, &answer.status.to_string(), message));
        }
        let error = self.classify(&answer, parsed.unwrap_or(Json::Null), unknown_fate);
        // A gateway that gave up on what it forwarded does not know either whether it arrives.
        let error = if matches!(answer.status, 502 | 504) { under_way(error) } else { error };
        // Some clouds repeat the credential that they do not like.
        Err(error.masked(|text| self.credentials.mask(text).into_owned()))
    }

    fn parse(&self, body: &[u8]) -> Result<Json, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        if text.trim().is_empty() {
            return Ok(Json::Null);
        }
        match self.protocol {
            Protocol::Ec2Query => xml::to_json(text),
            _ => serde_json::from_str(text).map_err(|error| error.to_string()),
        }
    }

    fn classify(&self, answer: &Answer, body: Json, unknown_fate: Class) -> CallError {
        let find = |paths: &[String]| {
            paths.iter().find_map(|path| wire::extract(&body, path)).and_then(|value| value.as_str().map(str::to_owned))
        };
        // A problem-details `type` is a URL whose fragment is the code.
        let code = find(&self.errors.code)
            .map(|code| {
                code.rsplit_once('#').map_or(code.clone(), |(_, code)| code.trim_start_matches("ERROR_").to_owned())
            })
            .unwrap_or_default();
        let message = find(&self.errors.message).unwrap_or_else(|| format!("HTTP status {}", answer.status));
        let id = find(&self.errors.request_id).or_else(|| answer.request_id.clone());
        let message = format!("{message}{}", told_id(id.as_deref()));
        let has = |codes: &[String]| codes.contains(&code);
        let rules = &self.errors;
        let class = if answer.status == 429 || has(&rules.throttle) {
            Class::Throttle
        } else if has(&rules.busy) {
            Class::Busy
        } else if has(&rules.conflict) {
            Class::Conflict
        } else if has(&rules.gone) {
            Class::Gone
        } else if has(&rules.credentials) {
            Class::Credentials
        } else if has(&rules.quota) {
            Class::Quota
        } else if has(&rules.protected) {
            Class::Protected
        } else {
            match answer.status {
                401 | 403 => Class::Credentials,
                404 | 410 => Class::Gone,
                500.. => unknown_fate,
                _ => Class::Rejected,
            }
        };
        CallError { retry_after: answer.retry_after, ..self.error(class, &code, message) }
    }

    fn send(&self, request: &Outgoing, control: &Control<'_>) -> Result<Answer, WireError> {
        let build = |error: &dyn std::fmt::Display| WireError::Build(error.to_string());
        // In the place of a host's part it could name another host.
        if self.endpoint.contains("{region}") && !is_region(&request.region) {
            return Err(WireError::Build(format!("`{}` is not a valid region", request.region)));
        }
        let mut url = format!("{}{}", self.endpoint.replace("{region}", &request.region), request.path);
        if self.protocol == Protocol::Ec2Query && !url.ends_with('/') {
            url.push('/');
        }
        let mut headers = Vec::new();
        let mut body = None;
        if self.protocol == Protocol::Ec2Query {
            let mut form = request.query.clone();
            if let Some(tree) = &request.body {
                flatten("", tree, &mut form);
            }
            let pairs: Vec<String> =
                form.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
            headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded; charset=utf-8".to_owned()));
            body = Some(pairs.join("&").into_bytes());
        } else {
            if !request.query.is_empty() {
                let pairs: Vec<String> =
                    request.query.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
                url = format!("{url}?{}", pairs.join("&"));
            }
            if let Some(value) = &request.body {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                body = Some(value.to_string().into_bytes());
            }
        }
        let signed = self
            .authenticator
            .headers(
                &request.method,
                &url,
                &headers,
                body.as_deref().unwrap_or_default(),
                &request.region,
                control.clock.wall(),
            )
            .map_err(|error| build(&error))?;
        headers.extend(signed);
        let answer = self.wire.exchange(WireRequest {
            method: request.method.clone(),
            url,
            headers,
            body,
            interrupt: control.interrupt,
        })?;
        let header = |name: &str| answer.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let retry_after = header("retry-after").and_then(|value| retry_after(value, control.clock.wall()));
        let left = self.rate_limit.remaining_header.as_deref().map(str::to_ascii_lowercase);
        let remaining = left.and_then(|name| header(&name)).and_then(|value| value.parse().ok());
        let request_id = REQUEST_ID.iter().find_map(|name| header(name)).map(str::to_owned);
        let location = header("location").map(str::to_owned);
        let links = answer.headers.iter().filter(|(name, _)| name == "link");
        let next = links.filter_map(|(_, value)| crate::listing::next_of(value)).next();
        Ok(Answer { status: answer.status, retry_after, remaining, request_id, location, next, body: answer.body })
    }
}

fn is_region(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
}

/// The id of a request as a message ends with it.
fn told_id(id: Option<&str>) -> String {
    id.map_or_else(String::new, |id| format!(" (request {})", id.chars().take(80).collect::<String>()))
}

/// A number of seconds that a cloud or a manifest gives, as a pause; `None` for what is no number.
fn pause_of(seconds: f64) -> Option<Duration> {
    match seconds.is_nan() {
        true => None,
        // Infinite and negative numbers among them.
        false => Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)),
    }
}

/// What a `Retry-After` header says: seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return pause_of(seconds);
    }
    let date = chrono::DateTime::parse_from_rfc2822(value.trim()).ok()?;
    let now = chrono::DateTime::<chrono::Utc>::from(now);
    Some(date.to_utc().signed_duration_since(now).to_std().unwrap_or_default().min(LONGEST_PAUSE))
}

/// Exponential, full jitter, from a quarter of a second to ten.
pub(crate) fn backoff(attempt: u32, clock: &dyn Clock) -> Duration {
    let cap = (0.25 * 2f64.powi(attempt.min(10) as i32 - 1)).min(10.0);
    Duration::from_secs_f64(0.05 + clock.chance() * cap)
}

/// `a.1.b` pairs of the query protocol.
fn flatten(prefix: &str, value: &Json, out: &mut Vec<(String, String)>) {
    let join = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        Json::Null => {}
        Json::Object(map) => map.iter().for_each(|(key, item)| flatten(&join(key), item, out)),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(&join(&(at + 1).to_string()), item, out));
        }
        Json::String(text) => out.push((prefix.to_owned(), text.clone())),
        other => out.push((prefix.to_owned(), other.to_string())),
    }
}

/// Percent-encoding of everything but unreserved characters (RFC 3986, section 2.3).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::WireAnswer;
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, AtomicU32};

    /// A cloud that always has too much to do, and counts how often it is asked.
    #[derive(Default)]
    struct Throttled(AtomicU32);

    impl Wire for Throttled {
        fn exchange(&self, _: WireRequest) -> Result<WireAnswer, WireError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(WireAnswer { status: 429, headers: vec![("retry-after".into(), "0".into())], body: Vec::new() })
        }
    }

    #[test]
    fn nothing_is_sent_again_by_who_may_not_be_the_writer_any_more() {
        let wire = Arc::new(Throttled::default());
        let outside = Outside { wire: Some(wire.clone()), ..Outside::default() };
        let (errors, rate_limit) = (ErrorRules::default(), RateLimit::default());
        let endpoint = "http://127.0.0.1".to_owned();
        let transport =
            Transport::new("x", Protocol::RestJson, endpoint, Authenticator::None, errors, rate_limit, &outside);
        let request = Outgoing {
            method: "POST".into(),
            path: "/servers".into(),
            query: Vec::new(),
            body: None,
            region: String::new(),
            mutating: true,
        };
        let left = AtomicU32::new(3);
        let may_change = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let interrupt = AtomicBool::new(false);
        let control = Control {
            interrupt: &interrupt,
            winding_down: &interrupt,
            may_change: &may_change,
            clock: &*outside.clock,
            retrying: &|_, _| true,
        };
        let error = transport.call(&request, &control).unwrap_err();
        assert_eq!((error.class, wire.0.load(Ordering::SeqCst)), (Class::Interrupted, 3));
        // Who only reads needs no right to.
        let reading = Outgoing { mutating: false, ..request };
        assert_eq!(transport.call(&reading, &control).unwrap_err().class, Class::Throttle);
    }

    #[test]
    fn whatever_a_header_says_about_time_is_a_pause_within_bounds() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        let seconds = |value: &str| retry_after(value, now).map(|pause| pause.as_secs());
        for (value, pause) in [
            ("NaN", None),
            ("-nan", None),
            ("soon", None),
            ("", None),
            ("inf", Some(120)),
            ("1e300", Some(120)),
            ("-inf", Some(0)),
            ("-5", Some(0)),
            ("7", Some(7)),
            ("99999999999999999999999999", Some(120)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Sat, 21 Oct 1815 07:28:30 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(120)),
        ] {
            assert_eq!(seconds(value), pause, "{value}");
        }
        assert_eq!(retry_after("1", SystemTime::UNIX_EPOCH), Some(Duration::from_secs(1)));
        for rate in [0.0, -1.0, 1e-300, f64::INFINITY, f64::NAN] {
            assert!(pause_of(1.0 / rate).is_none_or(|pause| pause <= LONGEST_PAUSE), "{rate}");
        }
    }

    #[test]
    fn trees_flatten_to_query_pairs() {
        let mut out = Vec::new();
        flatten("", &json!({"T": {"1": {"Tag": [{"Key": "a", "Value": true}]}}, "N": null}), &mut out);
        assert_eq!(
            out,
            [("T.1.Tag.1.Key".to_owned(), "a".to_owned()), ("T.1.Tag.1.Value".to_owned(), "true".to_owned())]
        );
    }
}
