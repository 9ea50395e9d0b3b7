//! Owns the command line of `provisiond sandbox`: its flags, its one line of output, its end.

use crate::server::Server;
use crate::world::Options;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Simulated Hetzner, UpCloud and AWS on one loopback port.
#[derive(Debug, Clone, Args)]
pub struct SandboxArgs {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "PROVISIOND_SANDBOX_PORT", default_value_t = 0)]
    pub port: u16,
    /// Folder that keeps the resources; in memory only when absent.
    #[arg(long, env = "PROVISIOND_SANDBOX_DATA")]
    pub data: Option<PathBuf>,
    /// How long an asynchronous action takes, for example 150ms or 2s.
    #[arg(long, env = "PROVISIOND_SANDBOX_ACTION_DURATION", default_value = "150ms", value_parser = parse_duration)]
    pub action_duration: Duration,
    /// Requests per hour and Hetzner project.
    #[arg(long, env = "PROVISIOND_SANDBOX_HETZNER_RATE_LIMIT", default_value_t = 3600)]
    pub hetzner_rate_limit: u32,
    /// File to write the address to once the port is open.
    #[arg(long, env = "PROVISIOND_SANDBOX_PORT_FILE")]
    pub port_file: Option<PathBuf>,
    /// Stop when this process is gone.
    #[arg(long, env = "PROVISIOND_SANDBOX_EXIT_WITH_PARENT")]
    pub exit_with_parent: Option<u32>,
}

/// Reads `150ms`, `2s` or `1min`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("`{text}` is not a duration like 150ms"))?;
    match &text[digits..] {
        "ms" | "" => Ok(Duration::from_millis(number)),
        "s" | "sec" => Ok(Duration::from_secs(number)),
        "min" => Ok(Duration::from_secs(number.saturating_mul(60))),
        unit => Err(format!("`{unit}` is not a unit; use ms, s or min")),
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: SandboxArgs) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(serve(args))
}

async fn serve(args: SandboxArgs) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    // From the environment and not from a flag: everybody on the machine can see a flag.
    let given = std::env::var("PROVISION_SANDBOX_TOKEN").ok().filter(|token| !token.is_empty());
    let token = given.unwrap_or_else(crate::control::new_token);
    let options = Options {
        data: args.data,
        action_duration: args.action_duration,
        hetzner_rate_limit: args.hetzner_rate_limit,
        aws_secret: crate::control::credential(&token),
        token: Some(token.clone()),
        ..Options::default()
    };
    let server = Server::bind(args.port, options).await?;
    let line = json!({"url": server.url(), "pid": std::process::id(), "token": token}).to_string();
    if let Some(file) = &args.port_file {
        write_whole(file, &line).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    // Whoever started us may have closed our output already; that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
    let parent = args.exit_with_parent;
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = gone(parent) => {}
            }
        })
        .await;
    Ok(())
}

/// Writes beside and renames, so that a reader sees the whole text or nothing.
fn write_whole(file: &Path, text: &str) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    crate::control::private_file(&beside)?.write_all(text.as_bytes())?;
    std::fs::rename(beside, file)
}

/// Done when the process is gone; never without one.
async fn gone(process: Option<u32>) {
    let pid = process.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return std::future::pending().await };
    while rustix::process::test_kill_process(pid).is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
