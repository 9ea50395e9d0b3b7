//! Owns asking a Nushell module of the project for a secret: its command `secret` gets a record and gives the secret.

use crate::configuration::sources::{PROGRAM, no_secret, secret_text};
use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_model::Json;
use provision_worker::{Asked, Commands, Fault, MODULE, Worker, describe};
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// The command that a module gives secrets by.
const COMMAND: &str = "secret";

/// What the module in a folder of the project gives for a name.
pub(crate) fn secret_of_module(on: &Workspace, folder: &str, name: Option<&str>) -> Result<Json, Failure> {
    let what = format!("the module `{folder}`");
    let place = on.project.folder.join(folder);
    if !place.join(MODULE).is_file() {
        return Err(no_secret(format!("there is no `{folder}/{MODULE}`"))
            .with_help("Paths are relative to the project; write a module with the command `secret` there."));
    }
    let worker = secret_worker(on, place).map_err(|failure| {
        no_secret(format!("{what} gives no secrets: {}", failure.first.headline()))
            .with_help("Export the command: `export def secret [request: record]: nothing -> string`.")
    })?;
    // Whatever it prints may be the secret.
    let hide = |_: &str| String::new();
    let asked = Asked { interrupt: on.host.reading().interrupt, limit: PROGRAM, hide: &hide };
    let given = worker.call(COMMAND, &json!({ "name": name }), &asked).map_err(|fault| refused(&what, &fault))?;
    match given {
        Json::String(text) => secret_text(text.into_bytes(), &what),
        _ => Err(no_secret(format!("{what} gave no text"))
            .with_help("Let its command `secret` give a string, for example of a record with `to json`.")),
    }
}

/// Why a module gave nothing. What it says itself is not shown: it may hold the secret.
fn refused(what: &str, fault: &Fault) -> Failure {
    let (how, help) = match fault {
        Fault::NotBegun(why) => {
            (format!("cannot be asked: {why}"), "Load it in a `nu` with `use`, to see what is wrong.")
        }
        Fault::Hung(limit) => (
            format!("did not answer within {} s", limit.as_secs()),
            "It may wait for an input that it cannot get here.",
        ),
        Fault::Interrupted => ("was stopped".to_owned(), "Run the command again."),
        Fault::Raised(raised) => {
            let at = raised.place.as_ref().map(|place| format!(" at line {}", place.position.line)).unwrap_or_default();
            (format!("raised an error{at}"), "Run it by itself in the module's folder to see what it says.")
        }
        Fault::Ended(_) | Fault::Unreadable(_) => {
            ("ended without an answer".to_owned(), "Run it by itself in the module's folder to see what it says.")
        }
    };
    no_secret(format!("{what} {how}")).with_help(help)
}

/// One worker for each folder, which goes with the session.
fn secret_worker(on: &Workspace, place: PathBuf) -> Result<Arc<Worker>, Failure> {
    let mut workers = on.secret_workers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(worker) = workers.get(&place) {
        return Ok(worker.clone());
    }
    // As a program that gives a secret has it: a vault is found and opened by the environment.
    let own = ["PATH", "HOME"].map(|name| (name.to_owned(), (on.host.env)(name)));
    let mut env: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| own.iter().all(|(other, _)| other != name)).collect();
    env.extend(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let described = describe(&place, &[COMMAND], &env)?;
    let worker = Arc::new(Worker::new(place.clone(), described.commands, env));
    workers.insert(place, worker.clone());
    Ok(worker)
}
