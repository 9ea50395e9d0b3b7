//! Owns the socket: plain HTTP/1.1 on loopback, one request at a time given to the world.

use crate::admin;
use crate::call::{Call, Cloud, Reply};
use crate::world::{Options, World};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request body may be this large.
const BODY_LIMIT: usize = 4 << 20;

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection closed on purpose")
    }
}

impl std::error::Error for Hangup {}

/// A server bound to its port.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl Server {
    /// Opens the world and binds to loopback; port 0 takes a free one.
    pub async fn bind(port: u16, options: Options) -> Result<Self, String> {
        let world = World::open(options)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        Ok(Self { listener, address, world: Arc::new(Mutex::new(world)) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `stop` is done, then lets open requests finish for a second.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (closing, closed) = watch::channel(false);
        tokio::pin!(stop);
        loop {
            let stream = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of file descriptors, for example: try again shortly rather than spin.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(stream, self.world.clone(), closed.clone()));
        }
        let _ = closing.send(true);
        drop(closed);
        let _ = tokio::time::timeout(Duration::from_secs(1), closing.closed()).await;
    }
}

async fn connection(stream: tokio::net::TcpStream, world: Arc<Mutex<World>>, mut closed: watch::Receiver<bool>) {
    let service = service_fn(move |request| serve(world.clone(), request));
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        // An error here is a client that went away or a hang-up we were asked for.
        _ = &mut serving => return,
        _ = closed.changed() => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    world: Arc<Mutex<World>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Hangup> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| Hangup)?.to_bytes().to_vec();
    let raw_path = head.uri.path().to_owned();
    let raw_query = head.uri.query().unwrap_or("").to_owned();
    if let Some(refusal) = refusal(&head.headers, &raw_path, lock(&world).options.token.as_deref()) {
        return respond(refusal).map_err(|_| Hangup);
    }
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let cloud = Cloud::of(&raw_path);
    if cloud.is_some() {
        let latency = lock(&world).faults.faults.latency_ms;
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
    }
    let call = Call::new(head.method.as_str(), &raw_path, &raw_query, headers, body, now());
    let reply = match cloud {
        None => admin::answer(&mut lock(&world), &call.below("/_sandbox")),
        Some(cloud) => lock(&world).answer(cloud, call.entering(cloud)).ok_or(Hangup)?,
    };
    respond(reply).map_err(|_| Hangup)
}

/// Why nobody is answered: a web page that somebody looks at asks, under whatever name it made this address its own; or the
/// control is asked without the sandbox's token.
fn refusal(headers: &hyper::HeaderMap, path: &str, token: Option<&str>) -> Option<Reply> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = text("host").rsplit_once(':').map_or(text("host"), |(name, _)| name);
    let no = |status: u16, why: &str| Some(Reply::json(status, &serde_json::json!({ "error": why })));
    if headers.contains_key("origin") || !["127.0.0.1", "localhost"].contains(&host) {
        return no(403, "only programs on this machine are answered, under 127.0.0.1 or localhost");
    }
    let is_control = Cloud::of(path).is_none();
    match token {
        Some(token) if is_control && text("authorization") != format!("Bearer {token}") => {
            no(401, "the sandbox's token is needed: `Authorization: Bearer $PROVISION_SANDBOX_TOKEN`")
        }
        _ => None,
    }
}

fn respond(reply: Reply) -> Result<hyper::Response<Full<Bytes>>, hyper::http::Error> {
    let mut response = hyper::Response::builder().status(reply.status);
    if !reply.content_type.is_empty() {
        response = response.header("content-type", reply.content_type);
    }
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(reply.body)))
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// A server on a thread of its own, for tests and for embedding; it stops when dropped.
pub struct Background {
    pub url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Background {
    /// Starts on a free port.
    pub fn start(options: Options) -> Result<Self, String> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(error.to_string()));
                    return;
                }
            };
            runtime.block_on(async move {
                match Server::bind(0, options).await {
                    Ok(server) => {
                        let _ = ready.send(Ok(server.url()));
                        server
                            .run(async {
                                let _ = stopped.await;
                            })
                            .await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        });
        let url = started.recv().map_err(|error| error.to_string())??;
        Ok(Self { url, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
