//! Owns the check that what the documents name is there: paths, links and crates.

use crate::{arrows, workspace};
use regex::Regex;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The documents: every Markdown file of the workspace.
pub fn documents() -> Vec<PathBuf> {
    let all = workspace::files(".").into_iter();
    all.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Names that lead nowhere, one sentence each.
pub fn check(metadata: &Value) -> Result<Vec<String>, String> {
    let crates: Vec<&str> = arrows::members(metadata).into_keys().collect();
    let tops = tops();
    let mut wrong = Vec::new();
    for document in documents() {
        let text = workspace::read(&document)?;
        wrong.extend(missing(&document, &text, &crates, &tops)?);
    }
    Ok(wrong)
}

/// Folders a path may start with.
fn tops() -> Vec<String> {
    let entries = std::fs::read_dir(workspace::root()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target" && name != ".git")
        .collect();
    // Named here too, so that a folder that has gone is still taken for one.
    names.extend(["crates", "docs", "examples", "extensions", "schemas", "tests", "xtask"].map(String::from));
    names
}

fn missing(document: &Path, text: &str, crates: &[&str], tops: &[String]) -> Result<Vec<String>, String> {
    let code = Regex::new("`([^`\n]+)`").map_err(|error| error.to_string())?;
    let link = Regex::new(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)").map_err(|error| error.to_string())?;
    let shown = document.display();
    let folder = document.parent().unwrap_or(Path::new(""));
    let mut wrong = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let at = number + 1;
        for found in code.captures_iter(line) {
            let name = found[1].trim_end_matches('/');
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let top = name.split('/').next().unwrap_or_default();
            // In capitals: a placeholder, as in `extensions/providers/NAME`.
            let placeholder =
                name.split('/').any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
            let path = plain && name.contains('/') && tops.iter().any(|known| known == top) && !placeholder;
            if path && !workspace::root().join(name).exists() {
                wrong.push(format!("{shown}:{at} names `{name}`, which is not there"));
            }
            let package = name.starts_with("provision-") || name.starts_with("nu_plugin_");
            let word = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
            if package && word && !crates.contains(&name) {
                wrong.push(format!("{shown}:{at} names the crate `{name}`, which the workspace does not have"));
            }
        }
        for found in link.captures_iter(line) {
            if !workspace::root().join(folder).join(&found[1]).exists() {
                wrong.push(format!("{shown}:{at} links to {}, which is not there", &found[1]));
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_documents_name_is_there() {
        assert_eq!(check(&workspace::metadata().unwrap()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn names_that_lead_nowhere_are_found() {
        let text = "See `xtask/src/main.rs`, `crates/gone/src`, `provision-model`, `provision-gone`,\n\
                    [a](guide.md), [b](gone.md), `extensions/providers/NAME/manifest.ncl`, `a/b`, `crates/*`.\n\
                    ```\n`crates/gone`\n```\n";
        let crates = ["provision-model"];
        let tops = ["crates".to_owned(), "xtask".to_owned(), "extensions".to_owned()];
        assert_eq!(
            missing(Path::new("docs/x.md"), text, &crates, &tops).unwrap(),
            [
                "docs/x.md:1 names `crates/gone/src`, which is not there",
                "docs/x.md:1 names the crate `provision-gone`, which the workspace does not have",
                "docs/x.md:2 links to gone.md, which is not there",
            ]
        );
    }
}
