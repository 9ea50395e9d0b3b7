//! Owns the PostgreSQL of the tests: Debian's own server, started once for this process on a socket of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The address of the server, which is started when it is first asked for; `None` where PostgreSQL is not installed, which
/// `cargo xtask test` says, and does not put up with in CI.
pub fn url() -> Option<String> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| programs().map(|programs| Server::start(&programs, None)))
        .as_ref()
        .map(|server| server.url.clone())
}

/// A new schema of that server, as an address of a state.
pub fn fresh(schema: &str) -> Option<String> {
    url().map(|url| format!("{url}?schema={schema}&sslmode=disable"))
}

/// Takes a schema away again.
pub fn drop_schema(url: &str) {
    let (base, query) = url.split_once('?').unwrap();
    let schema = query.split('&').find_map(|pair| pair.strip_prefix("schema=")).unwrap();
    let mut client = postgres::Client::connect(&format!("{base}?sslmode=disable"), postgres::NoTls).unwrap();
    client.batch_execute(&format!("drop schema {schema} cascade")).unwrap();
}

/// Where Debian's package has the newest server.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    found.retain(|programs| programs.join("postgres").is_file());
    found.sort();
    found.pop()
}

/// A running server; its folder goes with it.
pub struct Server {
    pub url: String,
    folder: PathBuf,
    port: u16,
    programs: PathBuf,
    watcher: std::process::Child,
    settings: String,
}

impl Server {
    /// One of its own, for a test that stops it; `None` where PostgreSQL is not installed.
    pub fn own() -> Option<Server> {
        programs().map(|programs| Server::start(&programs, None))
    }

    /// One that asks for a password and speaks TLS, with the file of the certificate that vouches for it.
    pub fn with_tls() -> Option<(Server, PathBuf)> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let server = Server::start(&programs()?, Some((made.cert.pem(), made.signing_key.serialize_pem())));
        let certificate = server.folder.join("server.pem");
        Some((server, certificate))
    }

    fn start(programs: &Path, tls: Option<(String, String)>) -> Server {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nup-pg-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut settings = String::new();
        if let Some((certificate, key)) = tls {
            let files = [("server.pem", certificate), ("server.key", key)].map(|(name, text)| {
                let file = folder.join(name);
                std::fs::write(&file, text).unwrap();
                std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
                file.display().to_string()
            });
            settings = format!("-c ssl=on -c ssl_cert_file={} -c ssl_key_file={}", files[0], files[1]);
        }
        let watcher = watch(programs, &folder, port, &settings);
        let url = format!("postgresql://test@127.0.0.1:{port}/postgres");
        let server = Server { url, folder, port, programs: programs.to_path_buf(), watcher, settings };
        server.wait();
        server
    }

    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while postgres::Client::connect(&format!("{}?sslmode=disable", self.url), postgres::NoTls).is_err() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "PostgreSQL did not start: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops it as a crash would, and starts it again after a while.
    pub fn restart(&mut self, away: Duration) {
        self.stop();
        std::thread::sleep(away);
        self.watcher = watch(&self.programs, &self.folder, self.port, &self.settings);
        self.wait();
    }

    fn stop(&mut self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-QUIT", pid]).status();
        }
        let _ = self.watcher.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Starts the server under a watcher, which stops it when this process is gone, however it went. Root may not run it.
fn watch(programs: &Path, folder: &Path, port: u16, settings: &str) -> std::process::Child {
    let script = r#"
set -e
as=()
if [ "$(id -u)" = 0 ]; then chown -R postgres "$FOLDER"; as=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
[ -d "$FOLDER/data" ] || "${as[@]}" "$BIN/initdb" -D "$FOLDER/data" -U test --auth=trust --no-sync -E UTF8 --locale=C >/dev/null
rm -f "$FOLDER/data/postmaster.pid"
"${as[@]}" "$BIN/postgres" -D "$FOLDER/data" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c max_connections=200 -c shared_buffers=16MB $SETTINGS >"$FOLDER/log" 2>&1 &
server=$!
while kill -0 "$WATCHED" 2>/dev/null && kill -0 "$server" 2>/dev/null; do sleep 0.2; done
kill -INT "$server" 2>/dev/null || true
wait "$server" || true
kill -0 "$WATCHED" 2>/dev/null || rm -rf "$FOLDER"
"#;
    Command::new("bash")
        .args(["-c", script])
        .env("BIN", programs)
        .env("FOLDER", folder)
        .env("PORT", port.to_string())
        .env("SETTINGS", settings)
        .env("WATCHED", std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
