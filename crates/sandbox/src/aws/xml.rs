//! Owns EC2's XML: data to elements, sets of items, and errors.

use crate::call::Reply;
use serde_json::Value;

/// The namespace of every answer.
pub const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// An answer to an action: `<ActionResponse>` with a request id and the fields.
pub fn response(action: &str, fields: &Value) -> Reply {
    let mut body = String::with_capacity(512);
    body.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    body.push_str(&format!("<{action}Response xmlns=\"{NAMESPACE}\"><requestId>{}</requestId>", request_id()));
    inner(&mut body, fields);
    body.push_str(&format!("</{action}Response>"));
    Reply::xml(200, body)
}

/// An error in EC2's shape.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    let mut text = String::new();
    escape(&mut text, message);
    Reply::xml(
        status,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message>\
             </Error></Errors><RequestID>{}</RequestID></Response>",
            request_id()
        ),
    )
}

fn request_id() -> String {
    super::uuid()
}

/// Fields become elements, lists become `<item>`s, null and what starts with `_` is left out.
fn inner(out: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, value)| !name.starts_with('_') && !value.is_null()) {
                out.push('<');
                out.push_str(name);
                out.push('>');
                inner(out, value);
                out.push_str("</");
                out.push_str(name);
                out.push('>');
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str("<item>");
                inner(out, item);
                out.push_str("</item>");
            }
        }
        Value::String(text) => escape(out, text),
        Value::Null => {}
        other => out.push_str(&other.to_string()),
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write these.
            c if (c as u32) < 0x20 && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_becomes_elements_and_items() {
        let mut out = String::new();
        inner(&mut out, &json!({"aSet": [{"k": "<&"}, "x"], "none": null, "_own": 1, "yes": true, "empty": []}));
        assert_eq!(out, "<aSet><item><k>&lt;&amp;</k></item><item>x</item></aSet><yes>true</yes><empty></empty>");
    }
}
