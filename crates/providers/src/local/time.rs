//! Owns lengths of time as users write them, and times as they are shown.

use chrono::{DateTime, SecondsFormat};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a length of time is written.
pub const FORM: &str = "Write a number and a unit, for example `90s`, `30min`, `8760h` or `365day`.";

/// The longest that makes sense: a thousand years.
const MOST: u64 = 1000 * 366 * 86_400;

/// `90s`, `1h 30min`, `365day`; `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let number: u64 = number.parse().ok()?;
        let seconds = match unit {
            "ms" => {
                whole = whole.checked_add(Duration::from_millis(number))?;
                0
            }
            "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" | "hr" => 3600,
            "d" | "day" => 86_400,
            "w" | "wk" => 7 * 86_400,
            _ => return None,
        };
        whole = whole.checked_add(Duration::from_secs(number.checked_mul(seconds)?))?;
        rest = tail.trim_start();
    }
    (whole.as_secs() <= MOST).then_some(whole)
}

/// A time as RFC 3339 in UTC, whole seconds.
pub fn show(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Seconds since the epoch.
pub fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Seconds since the epoch of an RFC 3339 text.
pub fn read(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_sums_of_numbers_with_units() {
        let days = |count: u64| Some(Duration::from_secs(count * 86_400));
        for (text, found) in [
            ("90s", Some(Duration::from_secs(90))),
            ("1h 30min", Some(Duration::from_secs(5400))),
            ("1hr30min", Some(Duration::from_secs(5400))),
            ("250ms", Some(Duration::from_millis(250))),
            ("8760h", days(365)),
            ("365day", days(365)),
            ("2wk", days(14)),
            ("0s", Some(Duration::ZERO)),
            ("", None),
            ("90", None),
            ("s", None),
            ("-1s", None),
            ("1.5h", None),
            ("1 h", None),
            ("3months", None),
            ("99999999999999999999s", None),
            ("18446744073709551615w", None),
            ("1001000day", None),
        ] {
            assert_eq!(parse(text), found, "{text}");
        }
    }
}
