//! Owns addresses: the path of a resource in `resources`, and the cloud name made from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `web`, `pool.0`, `pool.blue`: the path in `resources`, parts joined by dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// Wraps a text that is known to be an address (from the state or a plan).
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of the old one, in its generation, while the new one is there already: no declaration can have it.
    pub fn replaced(&self, generation: u64) -> Self {
        Self(format!("{}~{generation}", self.0))
    }

    /// Whether it is the address of such an old one, which nobody wrote.
    pub fn is_replaced(&self) -> bool {
        self.0.contains('~')
    }

    /// Whether one part is valid: `[a-z][a-z0-9_-]*` or a number.
    pub fn valid_part(part: &str) -> bool {
        let mut chars = part.chars();
        match chars.next() {
            Some(first) if first.is_ascii_lowercase() => {
                chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
            }
            Some(first) if first.is_ascii_digit() => chars.all(|c| c.is_ascii_digit()),
            _ => false,
        }
    }

    /// The name a cloud sees by default: `<project>-<address>` with what host names do not allow replaced by `-`,
    /// at most 63 characters.
    pub fn cloud_name(&self, project: &str) -> String {
        let text: String = format!("{project}-{}", self.0)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let text = text.trim_matches('-');
        if text.len() <= 63 {
            return text.to_owned();
        }
        // The hash keeps two long names apart.
        format!("{}-{}", text[..54].trim_end_matches('-'), crate::short_hash(text, 8))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Address {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_names_are_valid_host_names() {
        assert_eq!(Address::new("pool.0").cloud_name("My Shop"), "my-shop-pool-0");
        let long = Address::new("x".repeat(100)).cloud_name("shop");
        assert!(long.len() <= 63 && long.starts_with("shop-x"));
    }

    #[test]
    fn parts() {
        for good in ["web", "a-b_c9", "0", "12"] {
            assert!(Address::valid_part(good), "{good}");
        }
        for bad in ["", "Web", "1a", "a.b", "-a", "ä"] {
            assert!(!Address::valid_part(bad), "{bad}");
        }
    }
}
