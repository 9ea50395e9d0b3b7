//! Owns running what the documents show: their `nu` blocks in the real `nu`, compared with the output they print.
//!
//! The blocks of a document run in order in one project folder, each in a `nu` of its own. A comment
//! `<!-- file: infra.ncl -->` before a block writes it to a file; one `<!-- not run: reason -->` leaves it out; the word
//! `fails` after `nu` says that it must fail. A `text` block straight after is what it prints.

use crate::{nu, process, workspace};
use regex::Regex;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The documents whose blocks run.
pub const DOCUMENTS: [&str; 10] = [
    "README.md",
    "docs/guide.md",
    "docs/nickel.md",
    "docs/policy.md",
    "docs/secrets.md",
    "docs/drift.md",
    "docs/state.md",
    "docs/lifecycle.md",
    "docs/nushell-provider.md",
    "docs/local.md",
];

const LIMIT: Duration = Duration::from_secs(120);

/// A fenced block.
#[derive(Debug, PartialEq)]
struct Block {
    /// The words after the fence.
    info: String,
    /// `file: …` or `not run: …` of the comment before it.
    note: Option<String>,
    text: String,
    /// The first line of the text, from 1, and the line after the last one.
    lines: (usize, usize),
}

/// What became of a document.
pub struct Outcome {
    /// Blocks that ran and were as they should be.
    pub passed: usize,
    /// What was not, one text each.
    pub wrong: Vec<String>,
    /// The document with the outputs of this run.
    pub written: String,
}

/// Runs a document.
pub fn run(document: &str, nu: &Path, plugins: &[PathBuf]) -> Result<Outcome, String> {
    let text = workspace::read(document)?;
    let blocks = blocks(&text);
    let home = process::scratch()?;
    let session = Session::new(home.path(), nu, plugins)?;
    let mut outcome = Outcome { passed: 0, wrong: Vec::new(), written: String::new() };
    let mut replaced: Vec<((usize, usize), String)> = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{document}:{}", block.lines.0);
        let mut words = block.info.split_whitespace();
        if let Some(file) = block.note.as_deref().and_then(|note| note.strip_prefix("file:")) {
            session.write(file.trim(), &block.text)?;
            continue;
        }
        if words.next() != Some("nu") || block.note.as_deref().is_some_and(|note| note.starts_with("not run:")) {
            continue;
        }
        let fails = words.next() == Some("fails");
        let said = session.nu(&block.text)?;
        let printed = if fails { said.stderr.clone() } else { said.stdout.clone() };
        if said.success == fails {
            outcome.wrong.push(format!(
                "{place} {}\n{}{}",
                if fails { "did not fail" } else { "failed" },
                said.stdout,
                said.stderr
            ));
            continue;
        }
        let shown = blocks.get(at + 1).filter(|next| next.info == "text" && next.lines.0 <= block.lines.1 + 4);
        if let Some(shown) = shown {
            let printed = tidy(&printed);
            if normal(&printed)? != normal(&shown.text)? {
                outcome.wrong.push(format!("{place} prints something else than is shown; it printed\n{printed}"));
                replaced.push((shown.lines, printed));
                continue;
            }
        }
        outcome.passed += 1;
    }
    session.end();
    outcome.written = with_outputs(&text, &replaced);
    Ok(outcome)
}

/// The home, the project and the `nu` of one document.
struct Session<'a> {
    home: &'a Path,
    nu: &'a Path,
    plugins: &'a [PathBuf],
}

impl<'a> Session<'a> {
    fn new(home: &'a Path, nu: &'a Path, plugins: &'a [PathBuf]) -> Result<Self, String> {
        let session = Self { home, nu, plugins };
        std::fs::create_dir_all(session.project()).map_err(|error| error.to_string())?;
        let library = workspace::root().join("nu-lib/nu-lib");
        // A sandbox that a block started is there for the blocks that follow, as in a reader's session.
        let config = format!(
            "$env.config.show_banner = false\n$env.config.use_ansi_coloring = false\n\
             if (provision sandbox status).running {{ provision sandbox start | get env | load-env }}\n\
             use '{}'\n",
            library.display()
        );
        for (name, text) in [("config.nu", config.as_str()), ("env.nu", "")] {
            std::fs::write(home.join(name), text).map_err(|error| error.to_string())?;
        }
        Ok(session)
    }

    fn project(&self) -> PathBuf {
        self.home.join("shop")
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.project().join(file);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| format!("{file}: {error}"))
    }

    fn nu(&self, script: &str) -> Result<process::Said, String> {
        let mut command = Command::new(self.nu);
        command
            .args(["--no-std-lib", "--config"])
            .arg(self.home.join("config.nu"))
            .arg("--env-config")
            .arg(self.home.join("env.nu"))
            .args(["--plugins", &nu::list(self.plugins), "-c", script])
            .current_dir(self.project());
        process::secluded(&mut command, self.home)
            .env("PROVISION_ACTOR", "env")
            .env("USER", "ada")
            .env("NO_COLOR", "1")
            .env_remove("COLUMNS");
        process::bounded(&mut command, LIMIT)
    }

    /// Stops what the document may have started; that none runs is the usual case.
    fn end(&self) {
        let _ = self.nu("provision sandbox stop | ignore");
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut note = None;
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(block), Some(_)) => {
                block.lines.1 = index + 1;
                found.extend(open.take());
            }
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(info)) => {
                let lines = (index + 2, index + 2);
                open = Some(Block { info: info.trim().to_owned(), note: note.take(), text: String::new(), lines });
            }
            (None, None) => {
                let comment = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
                if let Some(comment) = comment {
                    note = Some(comment.trim().to_owned());
                } else if !line.trim().is_empty() {
                    note = None;
                }
            }
        }
    }
    found
}

/// The document with some of its blocks replaced.
fn with_outputs(text: &str, replaced: &[((usize, usize), String)]) -> String {
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        // An empty block has no line of its own: the new text goes before the fence that closes it.
        if let Some((_, new)) = replaced.iter().find(|((first, _), _)| *first == number) {
            out.push_str(new);
        }
        if !replaced.iter().any(|((first, end), _)| (*first..*end).contains(&number)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Output as it is shown: no blanks at line ends, no empty lines round it.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(start, |at| at + 1);
    lines[start..end].iter().map(|line| format!("{line}\n")).collect()
}

/// What stays the same from run to run: times, durations, ports, digests and the widths they cause are made equal.
fn normal(text: &str) -> Result<String, String> {
    let rules = [
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.]*( ?[+-]\d\d:?\d\d|Z)?", "TIME"),
        (r"\b(now|in a moment|(a|an|\d+) (second|minute|hour)s? ago)\b", "TIME"),
        (r"\b\d+(\.\d+)?(ns|µs|ms|sec|min)( \d+(ns|µs|ms|sec))*\b", "DURATION"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
        (r"\b[0-9a-f]{16,}\b", "DIGEST"),
        (r"\b(i|vpc|subnet|sg|key|eni)-[0-9a-f]{8,}\b", "ID"),
        (r"127\.0\.0\.1:\d+", "LOOPBACK"),
        (r"(/[A-Za-z0-9_.-]+)+/nup[A-Za-z0-9]+", "FOLDER"),
        (r"[─━]+", "─"),
        (r"[ \t]+", " "),
    ];
    let mut text = tidy(text);
    for (pattern, with) in rules {
        let rule = Regex::new(pattern).map_err(|error| error.to_string())?;
        text = rule.replace_all(&text, with).into_owned();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "a\n\n<!-- file: x.ncl -->\n```nickel\n{}\n```\n\n```nu fails\nls x\n```\n\n```text\nold\n```\nb\n";

    #[test]
    fn blocks_have_their_notes_and_lines() {
        let found = blocks(TEXT);
        let seen: Vec<_> =
            found.iter().map(|block| (block.info.as_str(), block.note.as_deref(), block.lines)).collect();
        assert_eq!(
            seen,
            [("nickel", Some("file: x.ncl"), (5, 6)), ("nu fails", None, (9, 10)), ("text", None, (13, 14))]
        );
        assert_eq!(found[1].text, "ls x\n");
    }

    #[test]
    fn an_output_is_replaced_in_its_place() {
        let new = with_outputs(TEXT, &[((13, 14), "new\nlines\n".to_owned())]);
        assert_eq!(new, TEXT.replace("old", "new\nlines"));
        let empty = TEXT.replace("old\n", "");
        assert_eq!(with_outputs(&empty, &[((13, 13), "old\n".to_owned())]), TEXT);
    }

    #[test]
    fn what_changes_from_run_to_run_is_made_equal() {
        let one = "│ 2026-01-02T03:04:05.123Z │ 12ms 3µs │ http://127.0.0.1:4001/v1 │\n├──────┤";
        let two = "│ 2027-11-12 13:14:15 +00:00 │ 1sec │  http://127.0.0.1:50000/v1 │\n├────┤";
        assert_eq!(normal(one).unwrap(), normal(two).unwrap());
        assert_ne!(normal("create web").unwrap(), normal("delete web").unwrap());
    }
}
