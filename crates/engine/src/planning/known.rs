//! Owns which values of a plan are known only later. Pure.

use provision_model::{Json, is_later};

pub(crate) fn is_unknown(value: &Json) -> bool {
    ["$unknown", "$sealed", "$secret"].iter().any(|mark| value.get(mark).is_some())
}

pub(crate) fn holds_unknown(value: &Json) -> bool {
    match value {
        _ if is_later(value) || is_unknown(value) => true,
        Json::Object(map) => map.values().any(holds_unknown),
        Json::Array(items) => items.iter().any(holds_unknown),
        _ => false,
    }
}
