//! Owns a proxy that is unkind to what passes through it: it delivers requests late, so in another order, and repeats some.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How unkind it is to requests that change something; reads pass at once.
#[derive(Debug, Clone, Copy)]
pub struct Unkind {
    /// The share of requests that arrive late.
    pub late: f64,
    /// How late at most.
    pub latest: Duration,
    /// The share of PUT and DELETE requests that arrive twice. A POST is never repeated: no client could tell.
    pub repeated: f64,
    pub seed: u64,
}

/// A proxy on a port of its own, which delivers what it has accepted whether its client still lives or not.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    unkind: Unkind,
    dice: Mutex<StdRng>,
    held: AtomicUsize,
    late: AtomicUsize,
    over: AtomicBool,
}

impl Proxy {
    /// Starts one in front of a server.
    pub fn start(target: SocketAddr, unkind: Unkind) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            unkind,
            dice: Mutex::new(StdRng::seed_from_u64(unkind.seed)),
            held: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), shared) = (client, accepting.clone()) else { continue };
                std::thread::spawn(move || serve(&shared, &client));
            }
        });
        Proxy { address, shared }
    }

    /// How many requests arrived late.
    pub fn late(&self) -> usize {
        self.shared.late.load(Ordering::SeqCst)
    }

    /// Waits until nothing is held back any more.
    #[track_caller]
    pub fn drain(&self) {
        let end = Instant::now() + self.shared.unkind.latest * 2 + Duration::from_secs(10);
        while self.shared.held.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < end, "the proxy still holds requests");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// One message of HTTP/1.1 as it came.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    /// The next one, or `None` at the end of the connection. Bodies have a length: neither side sends chunks here.
    fn read(from: &mut impl BufRead) -> Option<Message> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if from.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = vec![0; length.unwrap_or_default()];
        from.read_exact(&mut body).ok()?;
        Some(Message { head, body })
    }

    fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Whether it asks for a change; EC2 asks questions by POST too.
    fn changes(&self) -> bool {
        let asks = |text: &str| text.contains("Action=Describe");
        self.method() != "GET" && !asks(&self.head) && !asks(&String::from_utf8_lossy(&self.body))
    }

    fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        to.write_all(self.head.as_bytes())?;
        to.write_all(&self.body)?;
        to.flush()
    }
}

fn serve(shared: &Shared, client: &TcpStream) {
    let mut requests = BufReader::new(client);
    while let Some(request) = Message::read(&mut requests) {
        shared.held.fetch_add(1, Ordering::SeqCst);
        let (wait, twice) = fate(shared, &request);
        std::thread::sleep(wait);
        let answer = pass_on(shared.target, &request);
        if twice {
            let _ = pass_on(shared.target, &request);
        }
        shared.held.fetch_sub(1, Ordering::SeqCst);
        let Some(answer) = answer else { return };
        // Nobody may be there to hear it.
        let mut to = client;
        if answer.write(&mut to).is_err() {
            return;
        }
    }
}

fn fate(shared: &Shared, request: &Message) -> (Duration, bool) {
    if !request.changes() {
        return (Duration::ZERO, false);
    }
    let mut dice = shared.dice.lock().unwrap();
    let Unkind { late, latest, repeated, .. } = shared.unkind;
    let twice = ["PUT", "DELETE"].contains(&request.method()) && dice.random_bool(repeated);
    if !dice.random_bool(late) {
        return (Duration::ZERO, twice);
    }
    shared.late.fetch_add(1, Ordering::SeqCst);
    (latest.mul_f64(dice.random_range(0.2..1.0)), twice)
}

fn pass_on(target: SocketAddr, request: &Message) -> Option<Message> {
    let mut server = TcpStream::connect(target).ok()?;
    server.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    request.write(&mut server).ok()?;
    Message::read(&mut BufReader::new(server))
}
