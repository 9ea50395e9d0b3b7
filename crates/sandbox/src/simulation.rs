//! Owns the clouds without a socket: requests are answered in the caller's own process, at the time the caller says.

use crate::call::{Call, Cloud};
use crate::chance;
use crate::faults::Faults;
use crate::journal::Request;
use crate::world::{Options, World};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// Simulated clouds that nothing but their caller moves.
pub struct Simulation {
    world: World,
    dice: StdRng,
}

/// An answer as it would have come over HTTP.
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Simulation {
    /// New clouds, in memory. The ids that they give are those of the seed.
    pub fn new(options: Options, seed: u64) -> Result<Self, String> {
        Ok(Self { world: World::open(options)?, dice: StdRng::seed_from_u64(seed) })
    }

    /// Orders faults.
    pub fn faults(&mut self, faults: Faults) -> Result<(), String> {
        self.world.faults.set(faults)
    }

    /// Answers a request at a time in milliseconds since the epoch; `None` for a connection that is closed without an
    /// answer. Header names are in lower case.
    pub fn answer(
        &mut self,
        method: &str,
        path_and_query: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        now: i64,
    ) -> Option<Answered> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let cloud = Cloud::of(path)?;
        let call = Call::new(method, path, query, headers, body, now).entering(cloud);
        let (world, dice) = (&mut self.world, &mut self.dice);
        let reply = chance::with(dice, || world.answer(cloud, call))?;
        let mut headers: Vec<(String, String)> =
            reply.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        headers.push(("content-type".to_owned(), reply.content_type.to_owned()));
        Some(Answered { status: reply.status, headers, body: reply.body })
    }

    /// What the clouds hold that somebody made: scope, kind, id, and the resource in the vendor's own shape.
    pub fn held(&self, now: i64) -> Vec<(String, String, String, Value)> {
        crate::admin::held(&self.world, now)
    }

    /// The requests so far.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.world.journal.requests.iter()
    }
}
