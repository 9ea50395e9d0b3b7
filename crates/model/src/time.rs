//! Owns instants of the day's clock, as everything that is kept or told has them.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

/// An instant in UTC, to the microsecond; the beginning of 1970 where nobody knows better. Written down it is RFC 3339: `2026-03-01T12:00:00.000000Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(DateTime<Utc>);

impl Time {
    /// The instant of a text in RFC 3339.
    pub fn parse(text: &str) -> Option<Time> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| Time(time.to_utc().trunc_subsecs(6)))
    }

    /// So many seconds after the beginning of 1970; `None` for what no calendar has.
    pub fn of_seconds(seconds: i64) -> Option<Time> {
        DateTime::from_timestamp(seconds, 0).map(Time)
    }

    /// How long after another one it is; nothing where it is before that.
    pub fn since(self, before: Time) -> Duration {
        (self.0 - before.0).to_std().unwrap_or_default()
    }

    /// So long after it; `None` where no calendar goes that far.
    pub fn after(self, time: Duration) -> Option<Time> {
        self.0.checked_add_signed(chrono::Duration::from_std(time).ok()?).map(Time)
    }

    /// With milliseconds, the finest that Cedar's `datetime` has.
    pub fn to_millis(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        Time(DateTime::<Utc>::from(time).trunc_subsecs(6))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        Time::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no time in RFC 3339")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written() {
        let text = "2026-03-01T12:00:00.123456Z";
        let time = Time::parse(text).unwrap();
        assert_eq!(time.to_string(), text);
        assert_eq!(serde_json::from_value::<Time>(serde_json::json!(text)).unwrap(), time);
        assert_eq!(serde_json::json!(time), text);
        assert_eq!(Time::parse("2026-03-01T13:00:00.1234567+01:00"), Some(time));
        assert_eq!(time.to_millis(), "2026-03-01T12:00:00.123Z");
        let read = |text: &str| serde_json::from_value::<Time>(serde_json::json!(text));
        assert!(read("yesterday").unwrap_err().to_string().contains("`yesterday` is no time"));
    }

    #[test]
    fn times_are_counted_from_each_other() {
        let first = Time::of_seconds(1_000).unwrap();
        let hour = Duration::from_secs(3_600);
        let then = first.after(hour).unwrap();
        assert_eq!((then.since(first), first.since(then)), (hour, Duration::ZERO));
        assert_eq!(first.after(Duration::MAX), None);
        let system = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(Time::from(system), first);
    }
}
