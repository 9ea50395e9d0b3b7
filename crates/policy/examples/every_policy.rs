//! What a request costs where the library tries every policy: microseconds, on standard output. The peer of
//! `cargo xtask bench policy`.
//!
//! `every_policy POLICIES ENTITIES REQUESTS`: Cedar text, Cedar JSON rows, and rows with the parts of a question.

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use std::error::Error;
use std::str::FromStr;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = std::env::args().skip(1);
    let mut next = || -> Result<String, Box<dyn Error>> {
        Ok(std::fs::read_to_string(files.next().ok_or("POLICIES ENTITIES REQUESTS")?)?)
    };
    let policies = PolicySet::from_str(&next()?)?;
    let entities = Entities::from_json_str(&next()?, None)?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&next()?)?;
    let authorizer = Authorizer::new();
    let start = Instant::now();
    let mut allowed = 0;
    for row in &rows {
        let uid = |part: &str| EntityUid::from_str(row[part].as_str().unwrap_or_default()).map_err(Box::new);
        let context = Context::from_json_value(row["context"].clone(), None)?;
        let request = Request::new(uid("principal")?, uid("action")?, uid("resource")?, context, None)?;
        let response = authorizer.is_authorized(&request, &policies, &entities);
        allowed += usize::from(response.decision() == cedar_policy::Decision::Allow);
    }
    let micros = start.elapsed().as_secs_f64() * 1e6 / rows.len().max(1) as f64;
    eprintln!("{allowed} of {} allowed", rows.len());
    println!("{micros:.2}");
    Ok(())
}
