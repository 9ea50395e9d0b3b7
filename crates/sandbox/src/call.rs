//! Owns one request as the clouds see it, and one answer: plain data between HTTP and the simulation.

use serde_json::Value;

/// Which simulated cloud a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    Hetzner,
    Upcloud,
    Aws,
}

impl Cloud {
    /// The cloud that answers at a path; `None` for the control API.
    pub fn of(raw_path: &str) -> Option<Self> {
        let decoded = percent_decode(raw_path, false);
        if below(&decoded, "/_sandbox").is_some() {
            return None;
        }
        let prefixed = [Cloud::Hetzner, Cloud::Upcloud];
        Some(prefixed.into_iter().find(|cloud| below(&decoded, cloud.prefix()).is_some()).unwrap_or(Cloud::Aws))
    }

    /// What its paths begin with.
    fn prefix(self) -> &'static str {
        match self {
            Cloud::Hetzner => "/v1",
            Cloud::Upcloud => "/1.3",
            Cloud::Aws => "",
        }
    }

    /// The name users see.
    pub fn name(self) -> &'static str {
        match self {
            Cloud::Hetzner => "hetzner",
            Cloud::Upcloud => "upcloud",
            Cloud::Aws => "aws",
        }
    }
}

/// A request, read completely.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    /// The path below the cloud's prefix, for example `/servers/42`.
    pub path: String,
    /// The path and query as sent, which signatures cover.
    pub raw_path: String,
    pub raw_query: String,
    /// Decoded pairs, in order: of the query, and for the EC2 query protocol of the body.
    pub params: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Milliseconds since the epoch when the request arrived.
    pub now: i64,
    /// Newly made resources stay out of reads for this long.
    pub stale_ms: i64,
}

/// What follows a prefix of whole segments.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Call {
    /// A request as it came, at a time in milliseconds since the epoch.
    pub fn new(
        method: &str,
        raw_path: &str,
        raw_query: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        now: i64,
    ) -> Self {
        Self {
            method: method.to_owned(),
            path: percent_decode(raw_path, false),
            raw_path: raw_path.to_owned(),
            raw_query: raw_query.to_owned(),
            params: parse_form(raw_query),
            headers,
            body,
            now,
            stale_ms: 0,
        }
    }

    /// The same with the path below a prefix.
    pub fn below(mut self, prefix: &str) -> Self {
        self.path = below(&self.path, prefix).unwrap_or(&self.path).to_owned();
        self
    }

    /// The same as the cloud sees it.
    pub fn entering(self, cloud: Cloud) -> Self {
        let mut call = self.below(cloud.prefix());
        if cloud == Cloud::Aws {
            call.params.extend(parse_form(&String::from_utf8_lossy(&call.body)));
        }
        call
    }

    /// The non-empty segments of the path.
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The first value of a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a repeated parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.params.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What the request made or changed, for the log.
    pub remote_id: Option<String>,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
            remote_id: None,
        }
    }

    /// An XML answer.
    pub fn xml(status: u16, body: String) -> Self {
        Self {
            status,
            content_type: "text/xml;charset=UTF-8",
            headers: Vec::new(),
            body: body.into_bytes(),
            remote_id: None,
        }
    }

    /// 204 without a body.
    pub fn empty() -> Self {
        Self { status: 204, content_type: "", headers: Vec::new(), body: Vec::new(), remote_id: None }
    }

    /// The same, naming what was touched.
    pub fn about(mut self, id: impl ToString) -> Self {
        self.remote_id = Some(id.to_string());
        self
    }
}

/// Decodes `a=b&c=d` with percent signs and pluses.
pub fn parse_form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        })
        .collect()
}

/// Decodes percent signs; pluses are spaces in forms only.
pub fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 3339 in UTC, to the second, as the three vendors write it.
pub fn timestamp(ms: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// A short digest that stands for a credential where the credential must not be kept.
pub fn account_of(credential: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(credential.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
