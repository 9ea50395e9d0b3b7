//! Owns the wire over the network: one asynchronous client on one runtime, behind calls that block and can be stopped.

use crate::Environment;
use crate::outside::{ANSWER_TIMEOUT, Wire, WireAnswer, WireError, WireRequest};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, NoProxy, Proxy};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection nobody uses is kept: one that the other end closed meanwhile costs a lost answer.
const IDLE: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const ANSWER_LIMIT: u64 = 64 << 20;
/// How often a caller that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);
/// What never goes through a proxy: the sandbox, and whatever else is on this machine.
const HERE: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the caller's environment names.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    not_for: String,
}

impl Proxies {
    pub fn from_env(env: &Environment<'_>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| env(name).filter(|value| !value.is_empty()));
        let not_for = first(&["no_proxy", "NO_PROXY"]).map_or(HERE.to_owned(), |given| format!("{HERE},{given}"));
        Self {
            http: first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            not_for,
        }
    }

    /// They may hold a password: an error does not repeat them.
    fn all(&self) -> Result<Vec<Proxy>, WireError> {
        let not_for = NoProxy::from_string(&self.not_for);
        let made = [(&self.http, Proxy::http as fn(String) -> _), (&self.https, Proxy::https)];
        let made = made.into_iter().filter_map(|(given, make)| Some(make(given.clone()?)));
        made.map(|proxy: reqwest::Result<Proxy>| match proxy {
            Ok(proxy) => Ok(proxy.no_proxy(not_for.clone())),
            Err(_) => Err(WireError::Build("a proxy that the environment names is no address of HTTP".to_owned())),
        })
        .collect()
    }
}

/// HTTP over the network.
pub struct Network {
    /// Longest an answer may take.
    timeout: Duration,
    /// Largest answer that is read, in bytes.
    limit: u64,
    proxies: Proxies,
    /// Made when the first request goes: the certificates that the machine trusts are read only for TLS.
    plain: OnceLock<Client>,
    secure: OnceLock<Client>,
}

/// The wire that is used where none is given; it uses no proxy.
pub fn network() -> Arc<dyn Wire> {
    network_in(&|_| None)
}

/// The same with the proxies that an environment names.
pub fn network_in(env: &Environment<'_>) -> Arc<dyn Wire> {
    network_for(env, ANSWER_TIMEOUT)
}

/// The same for answers that take at most so long.
pub(crate) fn network_for(env: &Environment<'_>, timeout: Duration) -> Arc<dyn Wire> {
    Arc::new(Network::new(timeout, ANSWER_LIMIT, Proxies::from_env(env)))
}

impl Network {
    pub fn new(timeout: Duration, limit: u64, proxies: Proxies) -> Self {
        Self { timeout, limit, proxies, plain: OnceLock::new(), secure: OnceLock::new() }
    }

    fn client(&self, secure: bool) -> Result<&Client, WireError> {
        let kept = if secure { &self.secure } else { &self.plain };
        if let Some(client) = kept.get() {
            return Ok(client);
        }
        let roots = if secure { trusted()? } else { RootCertStore::empty() };
        let client = self.made(roots)?;
        Ok(kept.get_or_init(|| client))
    }

    fn made(&self, roots: RootCertStore) -> Result<Client, WireError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| build(&error))?;
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Client::builder()
            .use_preconfigured_tls(tls)
            // Credentials must not follow a redirect to another host; no vendor here redirects.
            .redirect(reqwest::redirect::Policy::none())
            // What may have been sent is never sent again without looking.
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(32)
            .user_agent(concat!("nu-provision/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        let client = self.proxies.all()?.into_iter().fold(client, reqwest::ClientBuilder::proxy);
        client.build().map_err(|error| WireError::Build(chain(&error)))
    }
}

impl Wire for Network {
    fn exchange(&self, request: WireRequest<'_>) -> Result<WireAnswer, WireError> {
        let secure = request.url.starts_with("https://");
        let client = self.client(secure)?;
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).map_err(|error| build(&error))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| build(&error))?;
            headers.append(name, HeaderValue::from_str(value).map_err(|error| build(&error))?);
        }
        let mut asked = client.request(method, &request.url).headers(headers);
        if let Some(body) = request.body {
            asked = asked.body(body);
        }
        let asked = asked.build().map_err(|error| WireError::Build(chain(&error.without_url())))?;
        let (client, timeout, limit) = (client.clone(), self.timeout, self.limit);
        let (sender, answered) = sync_channel(1);
        let task = runtime()?.spawn(async move {
            let answer = tokio::time::timeout(timeout, carry(&client, asked, limit)).await;
            let late = || Err(WireError::Lost(format!("no answer within {} seconds", timeout.as_secs_f32())));
            let _ = sender.send(answer.unwrap_or_else(|_| late()));
        });
        loop {
            match answered.recv_timeout(LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if request.interrupt.load(Ordering::Relaxed) => {
                    // The connection is closed with it.
                    task.abort();
                    return Err(WireError::Dropped);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(WireError::Lost("the request came to nothing".to_owned()));
                }
            }
        }
    }
}

/// Sends a request and reads its answer, which is bounded while it comes.
async fn carry(client: &Client, request: reqwest::Request, limit: u64) -> Result<WireAnswer, WireError> {
    let mut response = client.execute(request).await.map_err(send_error)?;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers =
        headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(send_error)? {
        body.extend_from_slice(&part);
        if body.len() as u64 > limit {
            return Err(WireError::Unreadable(format!("it is larger than {} MiB", limit >> 20)));
        }
    }
    Ok(WireAnswer { status, headers, body })
}

/// The runtime that carries all requests of this process: waiting costs it no thread.
fn runtime() -> Result<&'static Runtime, WireError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = || {
        let mut builder = Builder::new_multi_thread();
        // Names are looked up by blocking calls, on threads of their own.
        builder.worker_threads(2).max_blocking_threads(16).thread_name("wire").enable_all();
        builder.build().map_err(|error| error.to_string())
    };
    RUNTIME.get_or_init(made).as_ref().map_err(|error| WireError::NotSent(error.clone()))
}

/// The certificates that this machine trusts, read once.
fn trusted() -> Result<RootCertStore, WireError> {
    static TRUSTED: OnceLock<RootCertStore> = OnceLock::new();
    let roots = TRUSTED.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    match roots.is_empty() {
        true => Err(WireError::NotSent("the TLS connection failed: this machine trusts no certificate".to_owned())),
        false => Ok(roots.clone()),
    }
}

fn build(error: &dyn Display) -> WireError {
    WireError::Build(error.to_string())
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some repeat their cause in their own text.
        if !parts.last().is_some_and(|last| last.contains(&part)) {
            parts.push(part);
        }
        cause = error.source();
    }
    parts.join(": ")
}

/// Whether TLS is what failed. An error of input and output does not count what it holds among its causes.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || held.is_some_and(|held| is_tls(held)) || error.source().is_some_and(is_tls)
}

/// Before there is a connection nothing can have been sent; afterwards anything can.
fn send_error(error: reqwest::Error) -> WireError {
    let error = error.without_url();
    let message = match is_tls(&error) {
        true => format!("the TLS connection failed: {}", chain(&error)),
        false => chain(&error),
    };
    match (error.is_connect(), error.is_builder()) {
        (true, _) => WireError::NotSent(message),
        (_, true) => WireError::Build(message),
        _ => WireError::Lost(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn get<'a>(url: &str, interrupt: &'a AtomicBool) -> WireRequest<'a> {
        WireRequest { method: "GET".into(), url: url.into(), headers: Vec::new(), body: None, interrupt }
    }

    /// What a server on loopback says to each that connects, and the first line of what it was asked.
    fn server(say: impl Fn(&mut TcpStream) + Send + 'static) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let _ = reader.read_line(&mut line);
                let _ = sender.send(line.trim().to_owned());
                say(&mut stream);
            }
        });
        (url, asked)
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";

    /// A byte now and then, until nobody wants one any more.
    fn slowly(stream: &mut TcpStream) {
        let _ = stream.write_all(HEAD);
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn text(error: WireError) -> (&'static str, String) {
        match error {
            WireError::Build(text) => ("build", text),
            WireError::NotSent(text) => ("not sent", text),
            WireError::Lost(text) => ("lost", text),
            WireError::Unreadable(text) => ("unreadable", text),
            WireError::Dropped => ("dropped", String::new()),
        }
    }

    #[test]
    fn a_slow_answer_is_dropped_at_once_and_limited_in_time() {
        let (url, asked) = server(slowly);
        let wire = Network::new(Duration::from_secs(30), 1 << 20, Proxies::default());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| wire.exchange(get(&url, &stop)).err().map(text));
            asked.recv().unwrap();
            let begun = Instant::now();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(answer.join().unwrap().unwrap().0, "dropped");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        });
        let (url, _asked) = server(slowly);
        let hurried = Network::new(Duration::from_millis(300), 1 << 20, Proxies::default());
        assert_eq!(text(hurried.exchange(get(&url, &NEVER)).err().unwrap()).0, "lost");
    }

    #[test]
    fn an_answer_is_bounded_while_it_comes() {
        let (url, _asked) = server(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&[b' '; 65536]).is_ok() {}
        });
        let wire = Network::new(Duration::from_secs(30), 2 << 20, Proxies::default());
        let (kind, text) = text(wire.exchange(get(&url, &NEVER)).err().unwrap());
        assert_eq!((kind, text.as_str()), ("unreadable", "it is larger than 2 MiB"));
    }

    #[test]
    fn what_never_left_is_told_from_what_may_have() {
        let wire = Network::new(Duration::from_secs(5), 1 << 20, Proxies::default());
        let kind = |url: &str| text(wire.exchange(get(url, &NEVER)).err().unwrap()).0;
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(kind(&format!("http://{closed}/")), "not sent");
        let (cut, _asked) = server(|stream| {
            let _ = stream.write_all(HEAD);
        });
        assert_eq!(kind(&cut), "lost");
        let (none, asked) = server(|_| {});
        assert_eq!(kind(&none), "lost");
        // Nothing is sent again behind our back.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(asked.try_iter().count(), 1);
        assert_eq!(kind("http://[::bad"), "build");
    }

    #[test]
    fn a_proxy_is_used_for_other_machines_and_never_for_this_one() {
        let ok = |stream: &mut TcpStream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            let _ = stream.read(&mut [0; 4096]);
        };
        let (proxy, through) = server(ok);
        let (own, direct) = server(ok);
        let env = |name: &str| (name == "HTTP_PROXY").then(|| proxy.clone());
        let wire = network_in(&env);
        assert_eq!(wire.exchange(get("http://cloud.invalid/v1/servers", &NEVER)).ok().unwrap().body, b"ok");
        assert_eq!(through.recv().unwrap(), "GET http://cloud.invalid/v1/servers HTTP/1.1");
        assert_eq!(wire.exchange(get(&format!("{own}/here"), &NEVER)).ok().unwrap().status, 200);
        assert_eq!(direct.recv().unwrap(), "GET /here HTTP/1.1");
        assert_eq!(through.try_iter().count(), 0);
    }
}
