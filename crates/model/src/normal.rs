//! Owns the one form of values that people and clouds write in several: both sides are brought to it before they are
//! compared, sent or kept, so that another way to write the same is no change.

use crate::{FieldSpec, FieldType, Json};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How a text is brought to its one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normal {
    /// In lower case.
    Lower,
    /// A network without host bits, IPv6 in its shortest form (RFC 4632, RFC 5952); an address alone is its own network.
    Cidr,
}

impl Normal {
    /// The one form of a text; the text itself where it is none of its kind, which the cloud will say.
    fn of(self, text: &str) -> String {
        match self {
            Normal::Lower => text.to_lowercase(),
            Normal::Cidr => network(text).unwrap_or_else(|| text.to_owned()),
        }
    }
}

/// A value of a field in its one form.
pub fn normalised(spec: &FieldSpec, value: Json) -> Json {
    match of_kind(&spec.kind, spec, value) {
        Json::Array(items) if !spec.split.is_empty() => Json::Array(split(&spec.split, items)),
        value => value,
    }
}

fn of_kind(kind: &FieldType, spec: &FieldSpec, value: Json) -> Json {
    match (kind, value) {
        (FieldType::List(inner), Json::Array(items)) => {
            items.into_iter().map(|item| of_kind(inner, spec, item)).collect()
        }
        (FieldType::Map(inner), Json::Object(map)) => {
            Json::Object(map.into_iter().map(|(key, item)| (key, of_kind(inner, spec, item))).collect())
        }
        (FieldType::Record(fields), Json::Object(map)) => {
            let one = |(key, item): (String, Json)| match fields.get(&key) {
                Some(spec) => (key, normalised(spec, item)),
                None => (key, item),
            };
            Json::Object(map.into_iter().map(one).collect())
        }
        (FieldType::String, Json::String(text)) => {
            let text = match spec.normalise {
                Some(normal) => normal.of(&text),
                None => text,
            };
            Json::String(spec.spellings.get(&text).cloned().unwrap_or(text))
        }
        (_, value) => value,
    }
}

/// As many items as the lists of these names have members, with one member each; what is there twice is there once. An item
/// with a list that is known only later stays whole.
fn split(lists: &[String], items: Vec<Json>) -> Vec<Json> {
    let mut out: Vec<Json> = Vec::new();
    for item in items {
        let mut parts = Vec::new();
        if let Json::Object(map) = &item
            && lists.iter().filter_map(|name| map.get(name)).all(|list| list.is_array() || list.is_null())
        {
            for name in lists {
                for member in map.get(name).and_then(Json::as_array).into_iter().flatten() {
                    let mut one = map.clone();
                    one.retain(|key, _| key == name || !lists.contains(key));
                    one.insert(name.clone(), Json::Array(vec![member.clone()]));
                    parts.push(Json::Object(one));
                }
            }
        }
        if parts.is_empty() {
            parts.push(item);
        }
        for part in parts {
            if !out.contains(&part) {
                out.push(part);
            }
        }
    }
    out
}

/// `10.0.0.0/16` of `10.0.1.2/16`.
fn network(text: &str) -> Option<String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (text, None),
    };
    match address.trim().parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => {
            let length = length.unwrap_or(32);
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
            Some(format!("{}/{length}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask)))
        }
        IpAddr::V6(address) => {
            let length = length.unwrap_or(128);
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or(0);
            Some(format!("{}/{length}", std::net::Ipv6Addr::from_bits(address.to_bits() & mask)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn networks_have_one_form() {
        for (written, form) in [
            ("10.0.1.2/16", "10.0.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8:0:0::1/64", "2001:db8::/64"),
            ("::/0", "::/0"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("anywhere", "anywhere"),
        ] {
            assert_eq!(Normal::Cidr.of(written), form);
        }
    }

    #[test]
    fn what_is_inside_is_reached_and_what_is_no_text_is_left() {
        let spec: FieldSpec = serde_json::from_value(json!({
            "type": {"list": {"record": {
                "ranges": {"type": {"list": "string"}, "normalise": "cidr"},
                "protocol": {"type": "string", "normalise": "lower"},
                "note": {"type": "string"},
            }}},
        }))
        .unwrap();
        let given = json!([{"ranges": ["10.1.1.1/8", {"$ref": {}}], "protocol": "TCP", "note": "10.1.1.1/8"}, null]);
        let wanted = json!([{"ranges": ["10.0.0.0/8", {"$ref": {}}], "protocol": "tcp", "note": "10.1.1.1/8"}, null]);
        assert_eq!(normalised(&spec, given), wanted);
    }
}
