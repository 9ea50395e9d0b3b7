//! Owns `cargo xtask docs`: generated pages and shown outputs, written or checked.

use crate::{nu, reference, snippets, workspace};
use clap::Args;
use std::path::{Path, PathBuf};

/// The flags.
#[derive(Args)]
pub struct Docs {
    /// Write nothing; fail when something is not current.
    #[arg(long)]
    check: bool,
    /// Use what is built already.
    #[arg(long)]
    built: bool,
}

impl Docs {
    /// Writes the pages, or checks them.
    pub fn run(self) -> Result<(), String> {
        let nu = nu::get()?;
        if !self.built {
            workspace::build()?;
        }
        let plugins = workspace::plugins("debug")?;
        let mut wrong = Vec::new();
        for (page, text) in pages(&nu, &plugins)? {
            if workspace::read(page).is_ok_and(|current| current == text) {
                continue;
            }
            if self.check {
                wrong.push(stale(page));
            } else {
                write(page, &text)?;
            }
        }
        for document in snippets::DOCUMENTS {
            let outcome = snippets::run(document, &nu, &plugins)?;
            if !self.check && outcome.written != workspace::read(document)? {
                write(document, &outcome.written)?;
                // What is only shown differently has been mended; what fails has not.
                wrong.extend(snippets::run(document, &nu, &plugins)?.wrong);
            } else {
                wrong.extend(outcome.wrong);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

/// The generated pages and what they must say.
pub fn pages(nu: &Path, plugins: &[PathBuf]) -> Result<[(&'static str, String); 2], String> {
    Ok([(reference::ERRORS, reference::errors()), (reference::COMMANDS, reference::commands(nu, plugins)?)])
}

/// The sentence about a page that is not what it must be.
pub fn stale(page: &str) -> String {
    format!("{page} is not current; run `cargo xtask docs`")
}

fn write(page: &str, text: &str) -> Result<(), String> {
    std::fs::write(workspace::root().join(page), text).map_err(|error| format!("{page}: {error}"))?;
    println!("wrote {page}");
    Ok(())
}
