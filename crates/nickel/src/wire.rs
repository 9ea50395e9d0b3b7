//! Owns the frames between a plugin and its evaluating process: a length of eight bytes, then MessagePack.

use crate::request::{Library, Options};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Frames larger than this are taken for noise.
const LARGEST: u64 = 8 << 30;

/// What the process is told first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    pub stack_bytes: usize,
    pub memory_limit: Option<u64>,
}

impl From<&Options> for Hello {
    fn from(options: &Options) -> Self {
        Self { stack_bytes: options.stack_bytes, memory_limit: options.memory_limit }
    }
}

/// One job with what does not cross inside its request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Errand<J> {
    pub job: J,
    pub library: Option<Arc<Library>>,
}

/// The bytes of a message.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec(message).map_err(io::Error::other)
}

/// A message of its bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(io::Error::other)
}

/// Writes one frame.
pub fn send(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// Reads one frame; `None` at the end.
pub fn receive(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u64::from_le_bytes(length);
    if length > LARGEST {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(Some(bytes)) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_a_cut_one_is_the_end() {
        let mut pipe = Vec::new();
        send(&mut pipe, b"one").unwrap();
        send(&mut pipe, b"").unwrap();
        let mut from = &pipe[..];
        assert_eq!(receive(&mut from).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(receive(&mut from).unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(receive(&mut from).unwrap(), None);
        assert_eq!(receive(&mut &pipe[..9]).unwrap(), None);
        assert!(receive(&mut &[0xff; 8][..]).is_err());
    }
}
