//! Owns which licences the dependencies may have.

use serde_json::Value;

/// Licences under which the suite may be handed on as MIT.
const ALLOWED: [&str; 19] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC-PDDC",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MITNFA",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages whose licence is not on the list, with the reason why they may stay.
const EXCEPTIONS: &[(&[&str], &str)] = &[(
    &["malachite", "malachite-base", "malachite-float", "malachite-nz", "malachite-q"],
    "LGPL-3.0; Nickel's numbers are made of it. A binary that is handed on must come with its source or the means to \
     link another version; ours is open and builds with `cargo build`",
)];

/// The packages that stay by exception, with the reason.
pub fn exceptions() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    EXCEPTIONS.iter().copied()
}

/// Packages whose licence is not allowed, one sentence each.
pub fn check(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if EXCEPTIONS.iter().any(|(packages, _)| packages.contains(&name)) {
            continue;
        }
        match package["license"].as_str() {
            Some(expression) if allowed(expression) => {}
            Some(expression) => wrong.push(format!("{name} has the licence `{expression}`")),
            None => wrong.push(format!("{name} names no licence")),
        }
    }
    wrong
}

/// Whether an SPDX expression can be met from the list: `OR` needs one side, `AND` both, parentheses group.
fn allowed(expression: &str) -> bool {
    // Old manifests write `/` for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = either(&tokens, &mut at);
    met && at == tokens.len()
}

fn either(tokens: &[&str], at: &mut usize) -> bool {
    let mut met = both(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        // Not `||`: the tokens must be consumed in any case.
        met |= both(tokens, at);
    }
    met
}

fn both(tokens: &[&str], at: &mut usize) -> bool {
    let mut met = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let met = either(tokens, at);
        let closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    if tokens.get(*at) == Some(&"WITH") {
        let exception = tokens.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return ALLOWED.contains(&format!("{token} WITH {exception}").as_str()) || ALLOWED.contains(token);
    }
    ALLOWED.contains(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;
    use serde_json::json;

    #[test]
    fn every_dependency_may_be_handed_on() {
        assert_eq!(check(&workspace::metadata().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn expressions_are_read() {
        for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "MIT AND (Zlib)"] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", ""] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_foreign_licence_and_none_are_found() {
        let metadata = json!({"packages": [
            {"name": "a", "license": "MIT"}, {"name": "b", "license": "AGPL-3.0"}, {"name": "c", "license": null},
        ]});
        assert_eq!(check(&metadata), ["b has the licence `AGPL-3.0`", "c names no licence"]);
    }
}
