//! Owns the numbers that ids are made of: the machine's, or in a simulation those that its seed gives.

use rand::Rng;
use rand::rngs::StdRng;
use std::cell::RefCell;

thread_local! {
    static DICE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// A number that nothing else has.
pub fn number() -> u128 {
    DICE.with_borrow_mut(|dice| match dice {
        Some(dice) => dice.random(),
        None => rand::rng().random(),
    })
}

/// Does something with these dice instead of the machine's.
pub fn with<T>(dice: &mut StdRng, body: impl FnOnce() -> T) -> T {
    DICE.set(Some(dice.clone()));
    let done = body();
    if let Some(mine) = DICE.take() {
        *dice = mine;
    }
    done
}
