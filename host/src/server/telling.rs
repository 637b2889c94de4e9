//! What is said to the jobs of a pipeline, or of a tenant, is said by one at a time, so that the last that is said is the last that the catalog has.

use std::array;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Enough that one pipeline seldom waits for another, whose state may just be copied.
const LOCKS: usize = 64;

/// The locks: of things that share one, one waits for the other.
#[derive(Debug)]
pub struct Telling([Mutex<()>; LOCKS]);

impl Default for Telling {
    fn default() -> Self {
        Self(array::from_fn(|_| Mutex::default()))
    }
}

impl Telling {
    /// Waits until nobody else says anything of it.
    pub fn of(&self, what: impl Hash) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(what);
        let lock = &self.0[(hash % LOCKS as u64) as usize];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
