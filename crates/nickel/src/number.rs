//! Owns the number rules: integers that fit become integers, others floats, and a float is only made silently where
//! its shortest decimal form is the exact value.

use crate::Inexact;
use malachite::base::num::conversion::traits::{FromSciString, RoundingFrom};
use malachite::base::rounding_modes::RoundingMode;
use malachite::rational::Rational;
use serde_json::Value;

/// The JSON form of a number; `Err` holds its exact text where it has none.
pub fn to_json(number: &Rational, inexact: Inexact) -> Result<Value, String> {
    if let Ok(integer) = i64::try_from(number) {
        return Ok(Value::from(integer));
    }
    let (float, _) = f64::rounding_from(number, RoundingMode::Nearest);
    if float.is_finite() && (inexact == Inexact::Float || is_shortest_form(float, number)) {
        return Ok(Value::from(float));
    }
    match inexact {
        Inexact::String => Ok(Value::from(number.to_string())),
        Inexact::Error | Inexact::Float => Err(number.to_string()),
    }
}

/// Whether `number` is what `float` is written as in its fewest digits. Two decimals of equal length may be equally near
/// to a float; the standard library then writes one and `serde_json` the other, and both are read back as that float.
fn is_shortest_form(float: f64, number: &Rational) -> bool {
    Rational::from_sci_string(&format!("{float:e}")).is_some_and(|written| written == *number)
        || serde_json::Number::from_f64(float).is_some_and(|written| rational(&written) == *number)
}

/// The exact number a decimal form stands for: of a float its shortest one, as a person wrote it.
pub fn rational(number: &serde_json::Number) -> Rational {
    if let Some(integer) = number.as_i64() {
        return Rational::from(integer);
    }
    if let Some(integer) = number.as_u64() {
        return Rational::from(integer);
    }
    Rational::from_sci_string(&number.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Rational {
        text.parse().unwrap()
    }

    #[test]
    fn integers_stay_integers_and_decimals_are_exact() {
        assert_eq!(to_json(&number("9223372036854775807"), Inexact::Error), Ok(Value::from(i64::MAX)));
        assert_eq!(to_json(&number("-3"), Inexact::Error), Ok(Value::from(-3)));
        assert_eq!(to_json(&number("1/10"), Inexact::Error), Ok(Value::from(0.1)));
        assert_eq!(to_json(&number("10000000000000000000000"), Inexact::Error), Ok(Value::from(1e22)));
        // …562 and …563 are equally near to this float, which is …5625.
        let between = Ok(Value::from(-28540365953965.562));
        assert_eq!(to_json(&number("-28540365953965562/1000"), Inexact::Error), between);
        assert_eq!(to_json(&number("-28540365953965563/1000"), Inexact::Error), between);
    }

    #[test]
    fn what_has_no_decimal_form_is_said_or_allowed() {
        assert_eq!(to_json(&number("1/3"), Inexact::Error), Err("1/3".to_owned()));
        assert_eq!(to_json(&number("1/3"), Inexact::Float), Ok(Value::from(1.0 / 3.0)));
        assert_eq!(to_json(&number("1/3"), Inexact::String), Ok(Value::from("1/3")));
        let wide = number("9223372036854775809");
        assert!(to_json(&wide, Inexact::Error).is_err());
    }
}
