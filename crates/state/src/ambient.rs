//! Owns what a state takes from the machine: the time of day, and names that nothing else has.

use provision_model::Time;
use std::time::SystemTime;

/// The machine, or what stands for it in a story that is told again.
pub trait Ambient: Send + Sync {
    /// The time of day.
    fn now(&self) -> Time {
        Time::from(SystemTime::now())
    }

    /// Ten bytes that nobody can guess.
    fn random(&self) -> [u8; 10] {
        rand::random()
    }

    /// A name that nothing else has.
    fn id(&self) -> String {
        data_encoding::BASE32_NOPAD.encode(&self.random()).to_ascii_lowercase()
    }
}

/// The machine itself.
pub struct Machine;

impl Ambient for Machine {}
