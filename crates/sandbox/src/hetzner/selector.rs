//! Owns label rules and label selectors: `k=v`, `k!=v`, `k`, `!k`, `k in (a,b)`, `k notin (a,b)`, joined by commas.

use serde_json::Value;

/// A parsed selector; every term must hold.
pub struct Selector(Vec<Term>);

enum Term {
    Has(String),
    Lacks(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Whether labels satisfy it.
    pub fn matches(&self, labels: &Value) -> bool {
        let get = |key: &str| labels.get(key).and_then(Value::as_str);
        self.0.iter().all(|term| match term {
            Term::Has(key) => get(key).is_some(),
            Term::Lacks(key) => get(key).is_none(),
            Term::In(key, values) => get(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Term::NotIn(key, values) => get(key).is_none_or(|value| values.iter().all(|one| one != value)),
        })
    }
}

/// Reads a selector; `None` when it is not one.
pub fn parse(text: &str) -> Option<Selector> {
    let mut terms = Vec::new();
    let mut depth = 0_u32;
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    if depth != 0 {
        return None;
    }
    for part in parts {
        terms.push(term(part.trim())?);
    }
    Some(Selector(terms))
}

fn term(text: &str) -> Option<Term> {
    let key = |key: &str| is_key(key.trim()).then(|| key.trim().to_owned());
    let value = |value: &str| is_value(value.trim()).then(|| value.trim().to_owned());
    if let Some((left, rest)) = text.split_once(" notin ").or_else(|| text.split_once(" notin(")) {
        return Some(Term::NotIn(key(left)?, set(rest)?));
    }
    if let Some((left, rest)) = text.split_once(" in ").or_else(|| text.split_once(" in(")) {
        return Some(Term::In(key(left)?, set(rest)?));
    }
    if let Some((left, right)) = text.split_once("!=") {
        return Some(Term::NotIn(key(left)?, vec![value(right)?]));
    }
    if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Term::In(key(left)?, vec![value(right)?]));
    }
    match text.strip_prefix('!') {
        Some(rest) => Some(Term::Lacks(key(rest)?)),
        None => Some(Term::Has(key(text)?)),
    }
}

fn set(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().trim_start_matches('(').strip_suffix(')')?;
    inner.split(',').map(|one| is_value(one.trim()).then(|| one.trim().to_owned())).collect()
}

/// Whether it may be a label's key: `[prefix/]name`, the prefix `hetzner.cloud` being the vendor's own.
pub fn is_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_ok = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix != "hetzner.cloud"
            && prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    });
    prefix_ok && !name.is_empty() && is_value(name)
}

/// Whether it may be a label's value: at most 63 of `[A-Za-z0-9._-]`, alphanumeric at both ends, or empty.
pub fn is_value(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && edge(value.chars().next())
        && edge(value.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_term_selects_what_it_says() {
        let labels = json!({"env": "prod", "tier": "web"});
        let yes = [
            "env=prod",
            "env==prod",
            "env",
            "!x",
            "env in (dev, prod)",
            "env notin (dev)",
            "env!=dev,tier=web",
            "x!=1",
        ];
        let no = ["env=dev", "!env", "x", "env in (dev)", "env notin (prod,dev)", "env=prod,tier=db"];
        for text in yes {
            assert!(parse(text).unwrap().matches(&labels), "{text}");
        }
        for text in no {
            assert!(!parse(text).unwrap().matches(&labels), "{text}");
        }
        for text in ["env in (a", "-x", "a=b c", "env=)"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
