//! Owns Nushell value ⇄ JSON, without loss either way for everything that is data.
//!
//! What JSON has no form for crosses as `{"$nu": KIND, "value": …}`: `datetime` as RFC 3339 text, `duration` in
//! nanoseconds, `filesize` in bytes, `binary` as base64. A record that has a `$nu` field of its own is wrapped as
//! `{"$nu": "record", "value": …}`, so that it is never taken for one of these.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use data_encoding::BASE64;
use nu_protocol::{LabeledError, Record, ShellError, Signals, Span, Value};
use provision_diagnostic::Code;
use serde::Serialize;
use serde_json::{Map, Value as Json};

const TAG: &str = "$nu";
const VALUE: &str = "value";

/// The JSON form of a value. What is no data (a closure, an infinity, …) is an error that names its path.
pub fn to_json(value: &Value) -> Result<Json, ShellError> {
    convert(value, &mut Vec::new())
}

fn convert(value: &Value, path: &mut Vec<String>) -> Result<Json, ShellError> {
    Ok(match value {
        Value::Nothing { .. } => Json::Null,
        Value::Bool { val, .. } => Json::Bool(*val),
        Value::Int { val, .. } => Json::from(*val),
        Value::Float { val, .. } => match serde_json::Number::from_f64(*val) {
            Some(number) => Json::Number(number),
            None if val.is_nan() => return Err(not_data("not a number (NaN)", value, path)),
            None => return Err(not_data("infinite", value, path)),
        },
        Value::String { val, .. } | Value::Glob { val, .. } => Json::from(val.as_str()),
        Value::Date { val, .. } => tagged("datetime", Json::from(date_text(val))),
        Value::Duration { val, .. } => tagged("duration", Json::from(*val)),
        Value::Filesize { val, .. } => tagged("filesize", Json::from(val.get())),
        Value::Binary { val, .. } => tagged("binary", Json::from(BASE64.encode(val))),
        Value::List { vals, .. } => {
            let mut items = Vec::with_capacity(vals.len());
            for (index, item) in vals.iter().enumerate() {
                path.push(index.to_string());
                items.push(convert(item, path)?);
                path.pop();
            }
            Json::Array(items)
        }
        Value::Record { val, .. } => {
            let mut map = Map::with_capacity(val.len());
            for (name, field) in val.iter() {
                path.push(name.clone());
                map.insert(name.clone(), convert(field, path)?);
                path.pop();
            }
            if map.contains_key(TAG) { tagged("record", Json::Object(map)) } else { Json::Object(map) }
        }
        Value::Error { error, .. } => return Err((**error).clone()),
        Value::Closure { .. } => return Err(not_data("a closure", value, path)),
        Value::Range { val, .. } => match val.is_bounded() {
            true => {
                let items = val.into_range_iter(value.span(), Signals::empty());
                Json::Array(items.map(|item| convert(&item, path)).collect::<Result<_, _>>()?)
            }
            false => return Err(not_data("a range without an end", value, path)),
        },
        Value::CellPath { .. } => return Err(not_data("a cell path", value, path)),
        Value::Custom { .. } => return Err(not_data("a custom value", value, path)),
    })
}

/// RFC 3339 knows offsets in whole minutes only; the rare others keep their instant.
fn date_text(date: &DateTime<FixedOffset>) -> String {
    if date.offset().local_minus_utc() % 60 == 0 {
        date.to_rfc3339_opts(SecondsFormat::AutoSi, false)
    } else {
        date.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::AutoSi, false)
    }
}

fn tagged(kind: &str, value: Json) -> Json {
    let mut map = Map::with_capacity(2);
    map.insert(TAG.to_owned(), Json::from(kind));
    map.insert(VALUE.to_owned(), value);
    Json::Object(map)
}

fn not_data(kind: &str, value: &Value, path: &[String]) -> ShellError {
    let at = if path.is_empty() { "the value".to_owned() } else { format!("`{}`", path.join(".")) };
    LabeledError::new(format!("{at} is {kind}, not data"))
        .with_label("comes from here", value.span())
        .with_code(Code::NickelEvalNotSerializable.as_str())
        .with_help(
            "Give text, numbers, booleans, dates, durations, sizes, binary, null, and lists and records of them.",
        )
        .into()
}

/// The value of a JSON form, with the kinds of [`to_json`] turned back.
pub fn from_json(json: &Json, span: Span) -> Value {
    match json {
        Json::Null => Value::nothing(span),
        Json::Bool(truth) => Value::bool(*truth, span),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::int(integer, span),
            None => Value::float(number.as_f64().unwrap_or(f64::NAN), span),
        },
        Json::String(text) => Value::string(text, span),
        Json::Array(items) => Value::list(items.iter().map(|item| from_json(item, span)).collect(), span),
        Json::Object(map) => untagged(map, span).unwrap_or_else(|| record(map, span)),
    }
}

fn record(map: &Map<String, Json>, span: Span) -> Value {
    let fields: Record = map.iter().map(|(name, field)| (name.clone(), from_json(field, span))).collect();
    Value::record(fields, span)
}

fn untagged(map: &Map<String, Json>, span: Span) -> Option<Value> {
    if map.len() != 2 {
        return None;
    }
    let value = map.get(VALUE)?;
    match map.get(TAG)?.as_str()? {
        "datetime" => Some(Value::date(DateTime::parse_from_rfc3339(value.as_str()?).ok()?, span)),
        "duration" => Some(Value::duration(value.as_i64()?, span)),
        "filesize" => Some(Value::filesize(value.as_i64()?, span)),
        "binary" => Some(Value::binary(BASE64.decode(value.as_str()?.as_bytes()).ok()?, span)),
        "record" => Some(record(value.as_object()?, span)),
        _ => None,
    }
}

/// The value of any domain type.
pub fn from_serialize(data: &impl Serialize, span: Span) -> Result<Value, ShellError> {
    match serde_json::to_value(data) {
        Ok(json) => Ok(from_json(&json, span)),
        Err(error) => Err(LabeledError::new(format!("a result cannot be shown as data: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::test_nothing()),
            any::<bool>().prop_map(Value::test_bool),
            any::<i64>().prop_map(Value::test_int),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::test_float),
            ".{0,12}".prop_map(Value::test_string),
            any::<i64>().prop_map(Value::test_duration),
            any::<i64>().prop_map(Value::test_filesize),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::test_binary),
            (-60_000_000_000_i64..200_000_000_000, 0_u32..1_000_000_000, -50_000..50_000).prop_map(|(s, n, offset)| {
                let zone = FixedOffset::east_opt(offset).unwrap();
                Value::test_date(DateTime::from_timestamp(s, n).unwrap().with_timezone(&zone))
            }),
        ];
        let name = prop_oneof![Just("$nu".to_owned()), Just("value".to_owned()), "[a-z$. ]{0,6}"];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::test_list),
                proptest::collection::vec((name.clone(), inner), 0..5).prop_map(|fields| {
                    let mut record = Record::new();
                    for (name, value) in fields {
                        record.insert(name, value);
                    }
                    Value::test_record(record)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in any_value()) {
            let json = to_json(&value).unwrap();
            // Through text, as a file or another program would have it.
            let json: Json = serde_json::from_str(&json.to_string()).unwrap();
            let back = from_json(&json, Span::test_data());
            prop_assert_eq!(&back, &value);
            prop_assert_eq!(to_json(&back).unwrap(), json);
        }
    }

    #[test]
    fn a_float_keeps_its_last_digit_through_text() {
        let value = Value::test_float(-1.6597961516290161e218);
        let json: Json = serde_json::from_str(&to_json(&value).unwrap().to_string()).unwrap();
        assert_eq!(from_json(&json, Span::test_data()), value);
    }

    #[test]
    fn a_record_that_looks_tagged_stays_a_record() {
        let mut inner = Record::new();
        inner.insert("$nu", Value::test_string("duration"));
        inner.insert("value", Value::test_int(5));
        let value = Value::test_record(inner);
        assert_eq!(from_json(&to_json(&value).unwrap(), Span::test_data()), value);
    }

    #[test]
    fn what_is_no_data_is_named_by_its_path() {
        let mut inner = Record::new();
        inner.insert("rate", Value::test_list(vec![Value::test_float(f64::NAN)]));
        let error = LabeledError::from(to_json(&Value::test_record(inner)).unwrap_err());
        assert_eq!(error.msg, "`rate.0` is not a number (NaN), not data");
        assert_eq!(error.code.as_deref(), Some(Code::NickelEvalNotSerializable.as_str()));
        assert!(to_json(&Value::test_float(f64::NEG_INFINITY)).is_err());
    }
}
