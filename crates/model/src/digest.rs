//! Owns digests: one canonical text for equal data, whatever order its fields were written in.

use crate::{Json, Map};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// JSON text with object keys sorted; equal data has equal text.
pub fn canonical(value: &Json) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Json, out: &mut String) {
    match value {
        Json::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                // Writing to a String cannot fail.
                let _ = write!(out, "{}:", Json::from(key.as_str()));
                write_canonical(&map[key], out);
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// SHA-256 of the canonical text, lower-case hexadecimal.
pub fn digest(value: &Json) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(canonical(value).as_bytes()))
}

/// The digest of an object that has the list `items` in its field `field` too, which are never all held at once.
pub fn digest_of_many(object: &Map, field: &str, items: impl Iterator<Item = Json>) -> String {
    let mut keys: Vec<&str> = object.keys().map(String::as_str).filter(|key| *key != field).chain([field]).collect();
    keys.sort_unstable();
    let mut hash = Sha256::new();
    let mut items = Some(items);
    for (at, key) in keys.into_iter().enumerate() {
        hash.update(if at == 0 { "{" } else { "," });
        hash.update(format!("{}:", Json::from(key)));
        match items.take_if(|_| key == field) {
            Some(items) => {
                hash.update("[");
                for (at, item) in items.enumerate() {
                    hash.update(if at == 0 { "" } else { "," });
                    hash.update(canonical(&item));
                }
                hash.update("]");
            }
            None => hash.update(canonical(&object[key])),
        }
    }
    hash.update("}");
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

/// The first `length` characters of a lower-case base32 SHA-256: fits labels, tags and tokens of every cloud.
pub fn short_hash(text: &str, length: usize) -> String {
    let mut encoded = BASE32_NOPAD.encode(&Sha256::digest(text.as_bytes())).to_ascii_lowercase();
    encoded.truncate(length);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn field_order_does_not_matter() {
        assert_eq!(digest(&json!({"a": 1, "b": [true, null]})), digest(&json!({"b": [true, null], "a": 1})));
        assert_ne!(digest(&json!([1, 2])), digest(&json!([2, 1])));
        let whole = json!({"z": 1, "rows": [{"b": 1, "a": 2}, "x"], "a": null});
        let items = whole["rows"].as_array().unwrap().clone().into_iter();
        assert_eq!(digest_of_many(whole.as_object().unwrap(), "rows", items), digest(&whole));
    }
}
