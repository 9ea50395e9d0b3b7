//! Owns writing data as Nickel text that evaluates to the same data.

use serde_json::Value;

/// Words that cannot name a field without quotes. Quoting too many does no harm.
const KEYWORDS: [&str; 28] = [
    "Array",
    "Bool",
    "Dyn",
    "Number",
    "String",
    "_",
    "as",
    "default",
    "doc",
    "else",
    "false",
    "forall",
    "force",
    "fun",
    "if",
    "import",
    "in",
    "include",
    "let",
    "match",
    "not_exported",
    "null",
    "optional",
    "or",
    "priority",
    "rec",
    "then",
    "true",
];

/// Nickel text of the data, indented by two spaces, ending with a line end. Strings of several lines are written as
/// such; whatever a name or a text holds is quoted as it must be.
pub fn to_ncl(data: &Value) -> String {
    let mut out = String::new();
    value(data, 0, &mut out);
    out.push('\n');
    out
}

fn value(data: &Value, indent: usize, out: &mut String) {
    match data {
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&data.to_string()),
        Value::String(text) => string(text, indent, out),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push_str("[\n");
            for item in items {
                pad(indent + 2, out);
                value(item, indent + 2, out);
                out.push_str(",\n");
            }
            pad(indent, out);
            out.push(']');
        }
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            out.push_str("{\n");
            for (key, item) in map {
                pad(indent + 2, out);
                name(key, out);
                out.push_str(" = ");
                value(item, indent + 2, out);
                out.push_str(",\n");
            }
            pad(indent, out);
            out.push('}');
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn name(name: &str, out: &mut String) {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
    let plain = first && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '\''));
    if plain && !KEYWORDS.contains(&name) {
        out.push_str(name);
    } else {
        out.push_str(&quoted(name));
    }
}

/// A text as several lines where that shows every letter as it is, else in quotes.
fn string(text: &str, indent: usize, out: &mut String) {
    let lines: Vec<&str> = text.split('\n').collect();
    // The form takes away common indentation, a first line that is blank and the blanks of the last.
    let holds = lines.len() > 1
        && !text.contains(['\r', '\t', '\0'])
        && !text.contains("\"%")
        && !text.contains("%{")
        && lines.iter().all(|line| !line.starts_with(' ') && !line.ends_with(' ') && !line.ends_with('"'))
        && lines.first().is_some_and(|line| !line.is_empty())
        && lines.last().is_some_and(|line| !line.is_empty());
    if !holds {
        out.push_str(&quoted(text));
        return;
    }
    out.push_str("m%\"\n");
    for line in lines {
        if !line.is_empty() {
            pad(indent + 2, out);
            out.push_str(line);
        }
        out.push('\n');
    }
    pad(indent, out);
    out.push_str("\"%");
}

/// A Nickel string literal on one line.
pub fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => literal.extend(['\\', letter]),
            '%' => literal.push_str("\\%"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            other if other.is_control() => literal.push_str(&format!("\\u{{{:x}}}", other as u32)),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evaluator, Request, Source};
    use proptest::prelude::*;
    use serde_json::json;

    fn back(text: &str) -> Value {
        let source = Source::Text { name: "t.ncl".into(), folder: "/".into(), text: text.into() };
        thread_local! { static EVALUATOR: Evaluator = Evaluator::default(); }
        let request = Request { sources: vec![source], ..Request::default() };
        let evaluated = EVALUATOR.with(|evaluator| evaluator.eval(&request));
        evaluated.unwrap_or_else(|failure| panic!("{failure}\n{text}")).value.clone()
    }

    #[test]
    fn names_are_quoted_only_where_they_must_be() {
        let data = json!({"a-b": 1, "let": -2, "": [], "x y": {}, "é": "two\nlines", "%": "%{x}"});
        let text = to_ncl(&data);
        assert_eq!(
            text,
            "{\n  a-b = 1,\n  \"let\" = -2,\n  \"\" = [],\n  \"x y\" = {},\n  \"é\" = m%\"\n    two\n    lines\n  \"%,\n  \"\\%\" = \"\\%{x}\",\n}\n"
        );
        assert_eq!(back(&text), json!({"": [], "%": "%{x}", "a-b": 1, "let": -2, "x y": {}, "é": "two\nlines"}));
    }

    fn any_data() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[a\"%{}\\\\ \n\t]{0,12}", Just("\r\n\0".to_owned())];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Numbers compare by value: 1.0 may come back as 1.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
            }
            _ => a == b,
        }
    }

    proptest! {
        #[test]
        fn any_data_comes_back(data in any_data()) {
            let text = to_ncl(&data);
            let again = back(&text);
            prop_assert!(same(&data, &again), "{text}\n{again}");
        }
    }
}
