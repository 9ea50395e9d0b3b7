//! Owns the promises about source files that a compiler does not check.

use crate::workspace;
use std::path::Path;

/// No source file is longer.
const LINES: usize = 600;

/// Longer ones, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("schemas/provider_contract.ncl", "generated from the contract of manifests"),
    ("extensions/providers/aws/manifest.ncl", "a provider is one file of data, and EC2 has many types"),
    ("extensions/providers/hetzner/manifest.ncl", "a provider is one file of data, and Hetzner has many types"),
    ("extensions/providers/upcloud/manifest.ncl", "a provider is one file of data, and UpCloud has many types"),
];

/// What is untidy, one sentence each.
pub fn check() -> Vec<String> {
    let mut wrong = Vec::new();
    for file in workspace::files(".") {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        // Blanks are what some programs of the corpus are about.
        if !["rs", "nu", "ncl"].contains(&extension) || file.starts_with("tests/corpus") {
            continue;
        }
        match workspace::read(&file) {
            Ok(text) => wrong.extend(file_problems(&file, extension, &text)),
            Err(message) => wrong.push(message),
        }
    }
    for (file, _) in EXCEPTIONS {
        if workspace::read(file).map_or(0, |text| text.lines().count()) <= LINES {
            wrong.push(format!("{file} needs no exception any more; take it off the list in xtask/src/tidy.rs"));
        }
    }
    wrong
}

fn file_problems(file: &Path, extension: &str, text: &str) -> Vec<String> {
    let shown = file.display().to_string();
    let mut wrong = Vec::new();
    if extension == "rs" && !text.starts_with("//! ") {
        wrong.push(format!("{shown} does not open with a `//!` sentence that says what it owns"));
    }
    let lines = text.lines().count();
    if lines > LINES && !EXCEPTIONS.iter().any(|(name, _)| *name == shown) {
        wrong.push(format!("{shown} has {lines} lines, more than {LINES}"));
    }
    if let Some((at, _)) = text.lines().enumerate().find(|(_, line)| line.ends_with([' ', '\t'])) {
        wrong.push(format!("{shown}:{} ends with a blank", at + 1));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_files_are_tidy() {
        assert_eq!(check(), Vec::<String>::new());
    }

    #[test]
    fn what_is_untidy_is_found() {
        let long = "x\n".repeat(LINES + 1);
        assert_eq!(file_problems(Path::new("a.rs"), "rs", "//! Owns a.\n"), Vec::<String>::new());
        assert_eq!(file_problems(Path::new("a.rs"), "rs", &long).len(), 2);
        assert_eq!(file_problems(Path::new("a.nu"), "nu", "ls \n"), ["a.nu:1 ends with a blank"]);
    }
}
