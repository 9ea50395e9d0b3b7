//! Owns the service binary: which services there are, and nothing else.

use clap::{Parser, Subcommand};
use provision_sandbox::cli::{SandboxArgs, run};
use std::process::ExitCode;

/// Services of nu-provision.
#[derive(Parser)]
#[command(name = "provisiond", version)]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Subcommand)]
enum Service {
    /// Simulated Hetzner, UpCloud and AWS on one loopback port.
    Sandbox(SandboxArgs),
}

fn main() -> ExitCode {
    let Service::Sandbox(args) = Arguments::parse().service;
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("provisiond: {error}");
            ExitCode::FAILURE
        }
    }
}
