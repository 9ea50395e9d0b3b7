//! Owns nesting: the library's parser and our walks recurse, so text is measured first and then read on a deep stack.

/// Brackets may be nested so deep.
const BRACKETS: usize = 400;

/// A policy may have so many operators, each of which may be inside the one before.
const OPERATORS: usize = 5_000;

/// What is left of the stack when a deeper one is taken.
const LEFT: usize = 24 << 20;

/// The deeper stack; only what is used of it is ever memory.
const DEEP: usize = 256 << 20;

/// Runs what may recurse as deep as [`too_deep`] allows.
pub(crate) fn on_deep_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEFT, DEEP, work)
}

/// Where Cedar text, or the JSON form of it, is nested deeper than can be read, in bytes.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut brackets, mut operators) = (0_usize, 0_usize);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                // To the end of the string; one without an end is the parser's to tell.
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while bytes.get(at).is_some_and(|byte| *byte != b'\n') {
                    at += 1;
                }
            }
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b';' => operators = 0,
            b'&' | b'|' | b'!' | b'-' | b'+' | b'*' | b'.' => operators += 1,
            b'i' if bytes.get(at..at + 2) == Some(b"if") => operators += 1,
            _ => {}
        }
        if brackets > BRACKETS || operators > 2 * OPERATORS {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authorizer, PolicySet, PolicySource, Question};
    use provision_diagnostic::Code;
    use std::sync::Arc;

    fn policy(condition: &str) -> String {
        format!("permit(principal, action, resource) when {{ {condition} }};")
    }

    fn read(text: String) -> Result<PolicySet, provision_diagnostic::Failure> {
        PolicySet::parse(&[PolicySource { name: "p".into(), text }])
    }

    #[test]
    fn what_is_too_deep_is_an_error_with_a_place_and_the_rest_is_decided_and_explained() {
        let deep = policy(&format!("{}true{}", "(".repeat(3000), ")".repeat(3000)));
        let failure = read(deep).unwrap_err();
        assert_eq!(failure.code(), Code::PolicyParse);
        assert!(failure.first.position.is_some());
        assert!(read(policy(&format!("{}true", "context.a && ".repeat(20_000)))).is_err());
        assert!(too_deep(&policy(&format!("\"{}\" == \"x\" // {}", "(".repeat(900), "(".repeat(900)))).is_none());
        for condition in [
            format!("{}true{}", "(".repeat(390), ")".repeat(390)),
            format!("{}true", "context.a && ".repeat(2000)),
            format!("{}0 == 0", "context.n + ".repeat(2000)),
            format!("{}true", "if context.a then true else ".repeat(900)),
            format!("{}true", "!".repeat(4)),
        ] {
            let set = Arc::new(read(policy(&condition)).unwrap());
            let authorizer = Authorizer::new(set, None, &[]).unwrap();
            let question: Question = serde_json::from_value(serde_json::json!({
                "principal": "U::\"a\"", "action": "Action::\"b\"", "resource": "R::\"c\"", "context": {"a": true, "n": 0},
            }))
            .unwrap();
            authorizer.decide(&question).unwrap();
            authorizer.explain(&question).unwrap();
        }
    }
}
