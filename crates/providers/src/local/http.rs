//! Owns `local.http`: a request that is made when the resource is, and again when it is another one.

use super::{Found, failed, secret, text, time};
use crate::http::network_within;
use crate::{CallError, Class, Control, Operation, Outside, WireAnswer, WireError, WireRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use provision_model::{Json, Map};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an answer may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);
/// Largest body that is kept, in bytes.
const LIMIT: u64 = 1 << 20;
const RETRIES: i64 = 2;
/// How many redirects within one host are followed.
const REDIRECTS: usize = 5;

fn timeout(fields: &Map) -> Option<Duration> {
    match text(fields, "timeout") {
        Some(text) => time::parse(&text).filter(|time| !time.is_zero() && *time <= LONGEST),
        None => Some(TIMEOUT),
    }
}

pub fn prepare(found: &mut Found<'_>) {
    if let Some(url) = found.text("url") {
        let secret = found.secrets.contains("url");
        let told = if secret { String::new() } else { format!(": `{url}`") };
        match host(&url) {
            None => found.object("url", format!("is no address of HTTP{told}"), "Write `http://…` or `https://…`."),
            Some(host) if host.contains('@') => {
                let help = "Leave them out, and send them in `headers` as a `p.secret`.";
                found.object("url", "holds a name or a password", help);
            }
            Some(_) if url.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                found.object("url", format!("holds a space{told}"), "Write it as `%20`.");
            }
            Some(_) => {}
        }
    }
    if timeout(found.fields).is_none() {
        let told = found.text("timeout").unwrap_or_default();
        let help = format!("{} From 1ms to 10min.", time::FORM);
        found.object("timeout", format!("is no time to wait for an answer: `{told}`"), help);
    }
    found.number("retries", 0, 100);
    let statuses = found.fields.get("expect_status").and_then(Json::as_array).into_iter().flatten();
    let wrong = statuses.filter_map(Json::as_i64).find(|status| !(100..=599).contains(status));
    if let Some(status) = wrong {
        found.object("expect_status", format!("holds what is no status: {status}"), "A status is from 100 to 599.");
    }
    if found.has("body") && matches!(found.text("method").as_deref(), None | Some("GET" | "HEAD")) {
        found.object("body", "is not sent with this method", "Choose another `method`, for example `POST`.");
    }
}

/// Scheme and host with port; `None` where it is no address of HTTP.
fn origin(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (["http", "https"].contains(&scheme) && !host.is_empty()).then_some((scheme, host))
}

fn host(url: &str) -> Option<&str> {
    origin(url).map(|(_, host)| host)
}

/// Makes the request and gives the attributes.
pub fn make(outside: &Outside, operation: &Operation, control: &Control<'_>) -> Result<Map, CallError> {
    let fields = &operation.inputs;
    let method = text(fields, "method").unwrap_or_else(|| "GET".into());
    let url = text(fields, "url").unwrap_or_default();
    let body = text(fields, "body").map(String::into_bytes);
    let given = fields.get("headers").and_then(Json::as_object).into_iter().flatten();
    let headers: Vec<(String, String)> =
        given.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let wire = outside.wire.clone();
    let wire = wire.unwrap_or_else(|| network_within(timeout(fields).unwrap_or(TIMEOUT), LIMIT));
    let ask = |url: &str| {
        let (method, url) = (method.clone(), url.to_owned());
        wire.exchange(WireRequest { method, url, headers: headers.clone(), body: body.clone() })
    };
    let expected: Vec<i64> =
        fields.get("expect_status").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_i64).collect();
    let is_expected = |status: u16| match expected.is_empty() {
        true => (200..300).contains(&status),
        false => expected.contains(&i64::from(status)),
    };
    let left = fields.get("retries").and_then(Json::as_i64).unwrap_or(RETRIES);
    let left = u32::try_from(left).unwrap_or_default();
    // A request that may have taken effect is not made again, unless making it twice is the same as making it once.
    let repeatable = !["POST", "PATCH"].contains(&method.as_str());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (error, again) = match follow(&url, &method, &ask, &is_expected) {
            Ok(answer) if is_expected(answer.status) => return attributes(operation, answer),
            Ok(answer) => {
                let wanted = match expected.is_empty() {
                    true => "200 to 299".to_owned(),
                    false => expected.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                };
                let message = format!("it answered with the status {}, not {wanted}", answer.status);
                let help = "Look at the server, or name the statuses that are right in `expect_status`.";
                let again = repeatable || matches!(answer.status, 429 | 503);
                (failed(Class::Rejected, message).with_help(help), again)
            }
            Err(error) => {
                let again = error.class == Class::NotSent || (error.class == Class::Unavailable && repeatable);
                (error, again)
            }
        };
        let stop = control.winding_down.load(Ordering::Relaxed) || !(control.may_change)();
        if attempt > left || !again || stop {
            return Err(error);
        }
        if !(control.retrying)(attempt, &error) {
            return Err(error);
        }
        let pause = Duration::from_millis(250 << (attempt - 1).min(5));
        if !control.sleep(pause) {
            return Err(failed(Class::Interrupted, "interrupted while waiting to ask again"));
        }
    }
}

/// Asks, and follows redirects of what only reads, as long as they stay with the same host: headers may be secret.
fn follow(
    url: &str,
    method: &str,
    ask: &dyn Fn(&str) -> Result<WireAnswer, WireError>,
    is_expected: &dyn Fn(u16) -> bool,
) -> Result<WireAnswer, CallError> {
    let mut url = url.to_owned();
    for _ in 0..=REDIRECTS {
        let answer = ask(&url).map_err(|error| match error {
            WireError::Build(message) => failed(Class::Rejected, format!("it cannot be asked: {message}")),
            WireError::NotSent(message) => {
                failed(Class::NotSent, message).with_help("Look at the address and the server.")
            }
            WireError::Lost(message) => {
                let message = format!("no answer came: {message}");
                failed(Class::Unavailable, message).with_help("Look at the server, or give it more time in `timeout`.")
            }
            WireError::Unreadable(message) => failed(Class::Rejected, format!("the answer cannot be read: {message}")),
        })?;
        let location = answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.clone());
        let reads = ["GET", "HEAD"].contains(&method);
        let redirects = reads && matches!(answer.status, 301 | 302 | 303 | 307 | 308) && !is_expected(answer.status);
        let (true, Some(location)) = (redirects, location) else { return Ok(answer) };
        let next = match origin(&url) {
            Some((scheme, host)) if location.starts_with('/') && !location.starts_with("//") => {
                format!("{scheme}://{host}{location}")
            }
            _ => location,
        };
        if origin(&next) != origin(&url) {
            let elsewhere = host(&next).unwrap_or("another place");
            return Err(failed(Class::Rejected, format!("it redirects to `{elsewhere}`, which is not followed"))
                .with_help("Ask that address itself, if its headers are meant for it."));
        }
        url = next;
    }
    Err(failed(Class::Rejected, format!("it redirects more than {REDIRECTS} times")))
}

/// What is kept of an answer. To a request with a secret in it, it may repeat that.
fn attributes(operation: &Operation, answer: WireAnswer) -> Result<Map, CallError> {
    if u64::try_from(answer.body.len()).is_ok_and(|length| length > LIMIT) {
        return Err(failed(Class::Rejected, "the answer cannot be read: it is larger than 1 MiB"));
    }
    let keep = |value: Json| if operation.secrets.is_empty() { value } else { secret(value) };
    let mut headers = Map::new();
    for (name, value) in answer.headers {
        let joined = match headers.get(&name).and_then(Json::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        headers.insert(name, Json::from(joined));
    }
    let mut all = Map::from_iter([
        ("status".to_owned(), Json::from(answer.status)),
        ("response_headers".to_owned(), keep(Json::Object(headers))),
    ]);
    match String::from_utf8(answer.body) {
        Ok(text) => all.insert("response_body".to_owned(), keep(Json::from(text))),
        Err(bytes) => {
            all.insert("response_body_base64".to_owned(), keep(Json::from(STANDARD.encode(bytes.as_bytes()))))
        }
    };
    Ok(all)
}
