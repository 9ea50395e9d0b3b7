//! Owns what the sandbox's suites share: a running sandbox and a client for each of the three wires.

#![allow(dead_code, reason = "each suite uses its part")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use hmac::{Hmac, Mac};
use provision_sandbox::{Background, Options};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// An answer: status, headers that matter, body as text.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The text between the first `<tag>` and its end.
    pub fn tag(&self, tag: &str) -> String {
        self.tags(tag).into_iter().next().unwrap_or_else(|| panic!("no <{tag}> in {}", self.text))
    }

    pub fn tags(&self, tag: &str) -> Vec<String> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        self.text.split(&open).skip(1).filter_map(|rest| rest.split(&close).next().map(str::to_owned)).collect()
    }

    /// Asserts the status and gives the answer back.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Asserts a Hetzner error.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        let body = self.json();
        let found = body["error"]["code"].as_str().or(body["error"]["error_code"].as_str());
        assert_eq!(found, Some(code), "{}", self.text);
        self
    }

    /// Asserts an EC2 error.
    #[track_caller]
    pub fn aws_refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.tag("Code").as_str()), (status, code), "{}", self.text);
        self
    }
}

pub struct Sandbox {
    pub background: Background,
    agent: ureq::Agent,
    pub token: String,
    pub region: String,
    pub secret: String,
}

/// A sandbox whose actions take twenty milliseconds.
pub fn sandbox() -> Sandbox {
    with(Options { action_duration: Duration::from_millis(20), ..Options::default() })
}

pub fn with(options: Options) -> Sandbox {
    let agent = ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    Sandbox {
        background: Background::start(options).unwrap(),
        agent,
        token: "one".to_owned(),
        region: "eu-north-1".to_owned(),
        secret: "sandbox-secret".to_owned(),
    }
}

/// Asks until it holds, for at most five seconds.
#[track_caller]
pub fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < end, "did not come true within five seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Sandbox {
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<String>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.background.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut answer = match body {
            Some(body) => self.agent.run(request.body(body).unwrap())?,
            None => self.agent.run(request.body(()).unwrap())?,
        };
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        Ok(Answer { status: answer.status().as_u16(), headers, text: answer.body_mut().read_to_string()? })
    }

    fn call(
        &self,
        prefix: &str,
        authorization: String,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<Answer, ureq::Error> {
        let body = (!body.is_null()).then(|| body.to_string());
        let headers = [("authorization", authorization), ("content-type", "application/json".to_owned())];
        self.send(method, &format!("{prefix}{path}"), &headers, body)
    }

    /// Hetzner; `Err` when the connection was closed without an answer.
    pub fn try_hetzner(&self, method: &str, path: &str, body: Value) -> Result<Answer, ureq::Error> {
        self.call("/v1", format!("Bearer {}", self.token), method, path, body)
    }

    pub fn hetzner(&self, method: &str, path: &str, body: Value) -> Answer {
        self.try_hetzner(method, path, body).unwrap()
    }

    pub fn upcloud(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call("/1.3", "Bearer ucat_sandbox".to_owned(), method, path, body).unwrap()
    }

    pub fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call("/_sandbox", String::new(), method, path, body).unwrap()
    }

    pub fn aws(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.try_aws(action, parameters).unwrap()
    }

    pub fn try_aws(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        let mut body = format!("Action={action}&Version=2016-11-15");
        for (name, value) in parameters {
            body.push_str(&format!("&{name}={}", escape(value)));
        }
        let date = chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
        let host = self.background.url.trim_start_matches("http://");
        let hash = hex(&Sha256::digest(body.as_bytes()));
        let canonical = format!("POST\n/\n\nhost:{host}\nx-amz-date:{date}\n\nhost;x-amz-date\n{hash}");
        let scope = format!("{}/{}/ec2/aws4_request", &date[..8], self.region);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part);
        }
        let signature = hex(&mac(&key, &text));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=sandbox/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let headers = [
            ("authorization", authorization),
            ("x-amz-date", date),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned()),
        ];
        self.send("POST", "/", &headers, Some(body))
    }

    /// How many resources of a kind there are.
    pub fn count(&self, cloud: &str, kind: &str) -> u64 {
        let status = self.control("GET", "/status", Value::Null).json();
        let rows = status["resources"].as_array().unwrap().clone();
        rows.iter()
            .find(|row| row["cloud"] == cloud && row["kind"] == kind)
            .map_or(0, |row| row["count"].as_u64().unwrap())
    }

    pub fn faults(&self, faults: Value) {
        self.control("PUT", "/faults", faults).is(200);
    }

    /// Makes a Hetzner server that needs nothing else and returns its id.
    pub fn server(&self, name: &str, more: Value) -> u64 {
        let mut body = json!({"name": name, "server_type": "cx23", "image": "debian-12", "location": "hel1"});
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.hetzner("POST", "/servers", body).is(201).json()["server"]["id"].as_u64().unwrap()
    }

    /// Waits until a Hetzner server is in a state and free of actions.
    pub fn settled(&self, id: u64, status: &str) {
        until(|| {
            let server = self.hetzner("GET", &format!("/servers/{id}"), Value::Null).json();
            let running = self.hetzner("GET", &format!("/servers/{id}/actions?status=running"), Value::Null).json();
            server["server"]["status"] == status && running["actions"] == json!([])
        });
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// A well-formed public key; `n` makes it another one.
pub fn public_key(n: u8) -> String {
    use base64::Engine;
    let mut blob = vec![0, 0, 0, 11];
    blob.extend_from_slice(b"ssh-ed25519");
    blob.extend_from_slice(&[0, 0, 0, 32]);
    blob.extend_from_slice(&[n; 32]);
    format!("ssh-ed25519 {} test", base64::engine::general_purpose::STANDARD.encode(blob))
}
