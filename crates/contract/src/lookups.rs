//! Owns the check of what a manifest lets look up: its example finds one thing, with every column, and each filter filters.

use crate::bench::Bench;
use crate::{CheckRow, Verdict};
use provision_model::{Json, Map, NEWEST};
use provision_registry::LookupSpec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A value that nothing in a cloud has.
const NONE: &str = "no-such-thing-4b1d";

/// All look-ups of a manifest.
pub fn all(bench: &Bench<'_>, stop: &AtomicBool, tell: &mut dyn FnMut(CheckRow)) {
    for (name, spec) in &bench.manifest.lookups {
        let begun = Instant::now();
        let (result, message) = match stop.load(Ordering::SeqCst) {
            true => (Verdict::Skipped, Some("stopped".to_owned())),
            false if spec.example.is_empty() => (Verdict::Skipped, Some("it has no example".to_owned())),
            false => match check(bench, name, spec) {
                Ok(()) => (Verdict::Passed, None),
                Err(why) => (Verdict::Failed, Some(why)),
            },
        };
        let duration = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let kind = format!("{}.{name}", bench.manifest.name);
        tell(CheckRow { kind, check: "look-up".to_owned(), result, message, duration });
    }
}

fn check(bench: &Bench<'_>, name: &str, spec: &LookupSpec) -> Result<(), String> {
    let mut filter = spec.example.clone();
    let newest = filter.shift_remove(NEWEST);
    let rows = found(bench, name, &filter)?;
    let Some(first) = rows.first() else { return Err("nothing is as its example says".to_owned()) };
    if newest.is_none() && rows.len() > 1 {
        return Err(format!("{} are as its example says", rows.len()));
    }
    let lacking = spec.columns.keys().filter(|column| first.get(*column).is_none_or(Json::is_null));
    let lacking: Vec<&str> = lacking.map(String::as_str).collect();
    if !lacking.is_empty() {
        return Err(format!("the cloud does not show {}", lacking.join(", ")));
    }
    for key in filter.keys() {
        let mut other = filter.clone();
        other.insert(key.clone(), Json::from(NONE));
        if !found(bench, name, &other).is_ok_and(|rows| rows.is_empty()) {
            return Err(format!("whatever `{key}` is, something is found"));
        }
    }
    Ok(())
}

fn found(bench: &Bench<'_>, name: &str, filter: &Map) -> Result<Vec<Map>, String> {
    bench.past(|account, control| {
        let found = account.provider.look_up(name, account.region.as_deref(), filter, control);
        found.map_err(|error| error.to_string())
    })
}
