//! Owns making Nickel values of data.

use crate::number;
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::identifier::LocIdent;
use nickel_lang_core::position::PosIdx;
use nickel_lang_core::term::record::{Field, RecordData};
use serde_json::Value;

/// The Nickel value of data, without a position.
pub fn value(data: &Value) -> NickelValue {
    match data {
        Value::Null => NickelValue::null(),
        Value::Bool(truth) => NickelValue::bool_value_posless(*truth),
        Value::Number(number) => NickelValue::number_posless(number::rational(number)),
        Value::String(text) => NickelValue::string_posless(text.as_str()),
        Value::Array(items) => {
            let items = items.iter().map(value).collect();
            NickelValue::array(items, Vec::new(), PosIdx::NONE)
        }
        Value::Object(map) => {
            let fields = map.iter().map(|(name, item)| (LocIdent::from(name.as_str()), Field::from(value(item))));
            NickelValue::record_posless(RecordData { fields: fields.collect(), ..RecordData::default() })
        }
    }
}
