//! Owns what is kept between calls: policies, schemas and authorizers, for as long as their texts are the same.

use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// So many of each are kept, the least recently used let go first.
const KEPT: usize = 16;

/// A digest of texts, their number and lengths included.
pub type Key = [u8; 32];

/// The key of some texts.
pub fn key<'a>(texts: impl IntoIterator<Item = &'a str>) -> Key {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// Values by the digest of what they were made of.
pub struct Keep<T> {
    all: Mutex<VecDeque<(Key, Arc<T>)>>,
}

impl<T> Default for Keep<T> {
    fn default() -> Self {
        Self { all: Mutex::new(VecDeque::new()) }
    }
}

impl<T> Keep<T> {
    /// The value kept under a key, or the one made now. Failures are not kept.
    pub fn get<E>(&self, key: Key, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let known = |all: &mut VecDeque<(Key, Arc<T>)>| {
            let at = all.iter().position(|(other, _)| *other == key)?;
            let found = all.remove(at)?;
            let value = found.1.clone();
            all.push_front(found);
            Some(value)
        };
        if let Some(value) = known(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(value);
        }
        // Made without the lock: others need not wait.
        let value = Arc::new(make()?);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_front((key, value.clone()));
        all.truncate(KEPT);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_texts_give_the_same_value_and_the_oldest_goes_first() {
        let keep = Keep::default();
        let get = |text: &str| keep.get(key([text]), || Ok::<String, ()>(text.to_owned())).unwrap();
        let first = get("0");
        assert!(Arc::ptr_eq(&first, &get("0")));
        (1..KEPT).for_each(|number| drop(get(&number.to_string())));
        assert!(Arc::ptr_eq(&first, &get("0")));
        drop(get("one more"));
        assert!(Arc::ptr_eq(&first, &get("0")));
        (0..KEPT).for_each(|number| drop(get(&format!("other {number}"))));
        assert!(!Arc::ptr_eq(&first, &get("0")));
        assert_ne!(key(["a", "b"]), key(["ab", ""]));
        assert!(keep.get(key(["bad"]), || Err(())).is_err());
    }
}
