//! Owns which wing of the engine may know which, and the check that none does otherwise.

use crate::workspace;
use std::collections::BTreeSet;
use std::path::Path;

/// The wings from the lowest to the highest: each may import itself and those before it, and what everybody stands on.
const WINGS: [&str; 6] = ["configuration", "observation", "planning", "policy", "operations", "commands"];

/// What a wing must not know besides, by the words that its imports would have.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("configuration", &["provision_policy", "Control", "CallError", "Lease", "PlanRow"]),
    ("observation", &["provision_policy", "Lease", "PlanRow"]),
    ("planning", &["provision_policy", "Control", "CallError", "Lease"]),
    ("policy", &["provision_providers", "Entry"]),
    ("operations", &["provision_nickel", "Evaluator", "std::fs", "std::process", "PathBuf"]),
];

/// Where a story must be told by its seed: nobody asks the machine for these but who is named.
const AMBIENT: &[&str] = &["rand::random", "SystemTime::now", "Instant::now", "std::env::var"];

/// Where the wings are.
const ENGINE: &str = "crates/engine/src";

/// What is wrong with the wings, one sentence each.
pub fn check() -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for file in workspace::files(ENGINE).into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        let text = std::fs::read_to_string(workspace::root().join(&file))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        wrong.extend(faults(file.strip_prefix(ENGINE).unwrap_or(&file), &text));
    }
    Ok(wrong)
}

/// The place of a wing in their order; 0 is what everybody stands on.
fn height(wing: &str) -> usize {
    WINGS.iter().position(|name| *name == wing).map_or(0, |at| at + 1)
}

fn faults(name: &Path, text: &str) -> Vec<String> {
    let shown = name.display();
    let mut parts = name.iter().filter_map(|part| part.to_str());
    let own = match (parts.next(), parts.next()) {
        (Some("lib.rs"), _) => return Vec::new(),
        (Some(wing), Some(_)) => wing,
        _ => "the ground",
    };
    // Tests may look at everything.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut wrong = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let to: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if height(&to) > height(own) {
            wrong.insert(format!("{shown}: {own} → {to} is not an allowed arrow between wings"));
        }
        if to.starts_with(|c: char| c.is_ascii_uppercase()) {
            wrong.insert(format!("{shown} imports `{to}` past its wing: name the module it is in"));
        }
    }
    for word in FORBIDDEN.iter().filter(|(wing, _)| *wing == own).flat_map(|(_, words)| *words) {
        if has_word(&code, word) {
            wrong.insert(format!("{shown}: {own} must not know `{word}`"));
        }
    }
    if name != Path::new("host.rs") {
        for word in AMBIENT.iter().filter(|word| has_word(&code, word)) {
            wrong.insert(format!("{shown} asks the machine by `{word}`: ask the `Host`"));
        }
    }
    wrong.into_iter().collect()
}

/// Whether a path or a name stands in a text by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        faults(Path::new(name), text)
    }

    #[test]
    fn arrows_between_wings_point_down() {
        assert_eq!(check().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_up_a_forbidden_word_and_the_machines_clock_are_found() {
        let up = "use crate::operations::send::Sent;\nuse crate::host::Host;\nuse crate::planning::graph::Node;\n";
        assert_eq!(
            found("planning/graph.rs", up),
            ["planning/graph.rs: planning → operations is not an allowed arrow between wings"]
        );
        assert_eq!(found("operations/send.rs", up), Vec::<String>::new());
        assert_eq!(found("host.rs", up).len(), 2);
        let text = "// crate::commands\nlet leased = Leases;\n// Lease\n#[cfg(test)]\nuse crate::commands::Session;";
        assert_eq!(found("planning/graph.rs", text), Vec::<String>::new());
        let text = "fn f(lease: &Lease) { Instant::now(); crate::Session::open() }";
        assert_eq!(found("observation/drift.rs", text).len(), 3);
    }
}
