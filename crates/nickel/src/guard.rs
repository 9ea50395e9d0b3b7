//! Owns stopping an evaluation from inside: Nickel's machine has no interrupt and no limits, but every thunk it enters
//! passes through its cache, so our cache looks at the flag and at the memory there and unwinds.

use nickel_lang_core::eval::Closure;
use nickel_lang_core::eval::cache::{BlackholedError, Cache, CacheImpl, CacheIndex};
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::identifier::Ident;
use nickel_lang_core::term::BindingType;
use nickel_lang_core::term::record::FieldDeps;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why an evaluation was unwound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Interrupted,
    Memory,
    Time,
    Stack,
}

/// Thunks entered between two looks at the interrupt flag.
const INTERRUPT_EVERY: u32 = 1 << 10;
/// Looks at the flag between two looks at the memory.
const MEMORY_EVERY: u32 = 1 << 6;

thread_local! {
    static FLAG: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    static LIMIT: Cell<Option<u64>> = const { Cell::new(None) };
    static STEPS: Cell<u32> = const { Cell::new(0) };
}

/// Sets what the next evaluation on this thread is stopped by.
pub fn arm(flag: Option<Arc<AtomicBool>>, memory_limit: Option<u64>) {
    FLAG.set(flag);
    LIMIT.set(memory_limit);
    STEPS.set(0);
}

/// Whether the flag is set; asked between fields too, where no thunk may be entered for long.
pub fn interrupted() -> bool {
    FLAG.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

fn step() {
    let steps = STEPS.get().wrapping_add(1);
    STEPS.set(steps);
    if !steps.is_multiple_of(INTERRUPT_EVERY) {
        return;
    }
    if interrupted() {
        std::panic::resume_unwind(Box::new(Stop::Interrupted));
    }
    if (steps / INTERRUPT_EVERY).is_multiple_of(MEMORY_EVERY)
        && let Some(limit) = LIMIT.get()
        && resident_bytes().is_some_and(|used| used > limit)
    {
        std::panic::resume_unwind(Box::new(Stop::Memory));
    }
}

/// Resident memory of this process, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// Nickel's own cache with the look inside.
#[derive(Clone)]
pub struct GuardedCache(CacheImpl);

impl Cache for GuardedCache {
    type UpdateIndex = <CacheImpl as Cache>::UpdateIndex;

    fn get(&self, idx: CacheIndex) -> Closure {
        self.0.get(idx)
    }

    fn get_update_index(&mut self, idx: &mut CacheIndex) -> Result<Option<Self::UpdateIndex>, BlackholedError> {
        step();
        self.0.get_update_index(idx)
    }

    fn add(&mut self, clos: Closure, bty: BindingType) -> CacheIndex {
        self.0.add(clos, bty)
    }

    fn patch<F: Fn(&mut Closure)>(&mut self, idx: CacheIndex, f: F) {
        self.0.patch(idx, f);
    }

    fn get_then<T, F: FnOnce(&Closure) -> T>(&self, idx: CacheIndex, f: F) -> T {
        self.0.get_then(idx, f)
    }

    fn update(&mut self, clos: Closure, idx: Self::UpdateIndex) {
        self.0.update(clos, idx);
    }

    fn new() -> Self {
        Self(CacheImpl::new())
    }

    fn reset_index_state(&mut self, idx: &mut Self::UpdateIndex) {
        self.0.reset_index_state(idx);
    }

    fn build_cached(&mut self, idx: &mut CacheIndex, rec_env: &[(Ident, CacheIndex)]) {
        self.0.build_cached(idx, rec_env);
    }

    fn saturate<I: DoubleEndedIterator<Item = Ident> + Clone>(&mut self, idx: CacheIndex, fields: I) -> NickelValue {
        self.0.saturate(idx, fields)
    }

    fn revert(&mut self, idx: &CacheIndex) -> CacheIndex {
        self.0.revert(idx)
    }

    fn deps(&self, idx: &CacheIndex) -> Option<FieldDeps> {
        self.0.deps(idx)
    }

    fn make_update_index(&mut self, idx: &mut CacheIndex) -> Result<Self::UpdateIndex, BlackholedError> {
        self.0.make_update_index(idx)
    }
}
