//! Owns giving the columns of domain rows Nushell's own types: times, durations, sizes.

use crate::from_json;
use chrono::DateTime;
use nu_protocol::{Span, Value};
use serde_json::Value as Json;

/// What a column is in Nushell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From RFC 3339 text.
    Date,
    /// From nanoseconds.
    DurationNanos,
    /// From milliseconds.
    DurationMillis,
    /// From bytes.
    Filesize,
}

/// A value of this kind; null stays null, and what does not have the expected form stays as it is.
pub fn typed(json: &Json, span: Span, kind: Kind) -> Value {
    let made = match kind {
        Kind::Date => {
            json.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|at| Value::date(at, span))
        }
        Kind::DurationNanos => json.as_i64().map(|nanos| Value::duration(nanos, span)),
        Kind::DurationMillis => {
            json.as_i64().and_then(|millis| millis.checked_mul(1_000_000)).map(|nanos| Value::duration(nanos, span))
        }
        Kind::Filesize => json.as_i64().map(|bytes| Value::filesize(bytes, span)),
    };
    made.unwrap_or_else(|| from_json(json, span))
}

/// A domain row as a record whose named columns have the given kinds.
pub fn row(json: &Json, span: Span, columns: &[(&str, Kind)]) -> Value {
    let Json::Object(map) = json else { return from_json(json, span) };
    let fields = map.iter().map(|(name, field)| {
        let value = match columns.iter().find(|(column, _)| column == name) {
            Some((_, kind)) => typed(field, span, *kind),
            None => from_json(field, span),
        };
        (name.clone(), value)
    });
    Value::record(fields.collect(), span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn named_columns_get_their_type_and_null_stays() {
        let json = json!({"time": "2026-01-02T03:04:05Z", "elapsed": 1500, "size": 7, "end": null, "name": "x"});
        let columns =
            [("time", Kind::Date), ("elapsed", Kind::DurationMillis), ("size", Kind::Filesize), ("end", Kind::Date)];
        let value = row(&json, Span::test_data(), &columns);
        let record = value.as_record().unwrap();
        assert_eq!(record.get("time").unwrap().as_date().unwrap().timestamp(), 1_767_323_045);
        assert_eq!(record.get("elapsed").unwrap(), &Value::test_duration(1_500_000_000));
        assert_eq!(record.get("size").unwrap(), &Value::test_filesize(7));
        assert!(record.get("end").unwrap().is_nothing());
        assert_eq!(record.get("name").unwrap(), &Value::test_string("x"));
    }
}
