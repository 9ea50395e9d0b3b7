//! Owns the PostgreSQL of the tests: Debian's own server, started once for this process on a socket of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A running server; its folder goes with the process.
struct Server {
    url: String,
}

/// The address of the server, which is started when it is first asked for.
pub fn url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start).url.clone()
}

/// Takes a schema away again.
pub fn drop_schema(url: &str) {
    let (base, query) = url.split_once('?').unwrap();
    let schema = query.split('&').find_map(|pair| pair.strip_prefix("schema=")).unwrap();
    let base = format!("{base}?sslmode=disable");
    let mut client = postgres::Client::connect(&base, postgres::NoTls).unwrap();
    client.batch_execute(&format!("drop schema {schema} cascade")).unwrap();
}

fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("the package postgresql is needed");
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    found.sort();
    found.pop().expect("the package postgresql is needed")
}

fn start() -> Server {
    let programs = programs();
    let folder = std::env::temp_dir().join(format!("nup-pg-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // A watcher stops the server when this process is gone, however it went.
    let script = r#"
set -e
as=()
if [ "$(id -u)" = 0 ]; then chown postgres "$FOLDER"; as=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
"${as[@]}" "$BIN/initdb" -D "$FOLDER/data" -U test --auth=trust --no-sync -E UTF8 --locale=C >/dev/null
"${as[@]}" "$BIN/postgres" -D "$FOLDER/data" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c max_connections=200 -c shared_buffers=16MB >"$FOLDER/log" 2>&1 &
server=$!
while kill -0 "$WATCHED" 2>/dev/null; do sleep 0.3; done
kill -INT "$server"; wait "$server" || true
rm -rf "$FOLDER"
"#;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Command::new("bash")
        .args(["-c", script])
        .env("BIN", &programs)
        .env("FOLDER", &folder)
        .env("PORT", port.to_string())
        .env("WATCHED", std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("postgresql://test@127.0.0.1:{port}/postgres");
    let end = Instant::now() + Duration::from_secs(60);
    while postgres::Client::connect(&format!("{url}?sslmode=disable"), postgres::NoTls).is_err() {
        assert!(Instant::now() < end, "PostgreSQL did not start: {}", log(&folder));
        std::thread::sleep(Duration::from_millis(100));
    }
    Server { url }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}
