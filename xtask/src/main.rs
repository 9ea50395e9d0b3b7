//! Owns the command line of `cargo xtask`: one subcommand, one file.

mod arrows;
mod bench;
mod clients;
mod demo;
mod docs;
mod fuzz;
mod install;
mod licences;
mod mentions;
mod nu;
mod peers;
mod process;
mod reference;
mod snippets;
mod test;
mod tidy;
mod wings;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Development commands of nu-provision.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch a typed file become infrastructure on three simulated clouds, and go again.
    Demo(demo::Demo),
    /// Run every check there is; sets up what it needs.
    Test(test::Test),
    /// Build a release and register the three plugins with your Nushell.
    Install(install::Install),
    /// Measure; without a name, list what can be measured.
    Bench(bench::Bench),
    /// Feed a part of the suite broken input and count what it makes of it.
    Fuzz(fuzz::Fuzz),
    /// Write the generated pages and the outputs shown in the guide.
    Docs(docs::Docs),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(command) => command.run(),
        Command::Test(command) => command.run(),
        Command::Install(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Fuzz(command) => command.run(),
        Command::Docs(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
