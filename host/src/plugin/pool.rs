//! How much linear memory the plugins of an engine may have together, whatever each of them may have.
//!
//! An instance that would take more than there is ends with an error of its own kind: its rows are not to blame for it, so they are neither
//! skipped nor rejected, and the run ends to be tried again when there is room.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::format_size;

/// The memory of an engine's instances.
#[derive(Debug)]
pub struct MemoryPool {
    /// Bytes that there may be; all there is if it is `u64::MAX`.
    most: AtomicU64,
    /// Bytes that instances have.
    held: AtomicU64,
}

impl Default for MemoryPool {
    fn default() -> Self {
        Self {
            most: AtomicU64::new(u64::MAX),
            held: AtomicU64::new(0),
        }
    }
}

/// An instance has asked for more than all of them may have together; the message says how much that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of memory")]
pub(super) struct PoolEmpty(String);

impl MemoryPool {
    /// Lets instances have so many bytes from now on, together; `None` is all there is. What they have already they keep.
    pub fn set(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes that instances have now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes some for an instance, which gives it back when it ends.
    ///
    /// # Errors
    /// When there is not so much left.
    pub(super) fn take(&self, bytes: u64) -> Result<(), PoolEmpty> {
        let most = self.most.load(Ordering::Relaxed);
        let taken = self.held.fetch_add(bytes, Ordering::Relaxed);
        if bytes == 0 || taken.saturating_add(bytes) <= most {
            return Ok(());
        }
        self.give_back(bytes);
        Err(PoolEmpty(format_size(most)))
    }

    /// An instance has ended.
    pub(super) fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_no_more_is_taken_than_there_is() {
        let pool = MemoryPool::default();
        pool.take(1 << 40).unwrap();
        pool.give_back(1 << 40);
        pool.set(Some(4 << 20));
        pool.take(3 << 20).unwrap();
        let refused = pool.take(2 << 20).unwrap_err();
        assert_eq!(refused.to_string(), "4MiB of memory");
        assert_eq!(pool.held(), 3 << 20, "what was refused is not held");
        pool.set(Some(1 << 20));
        pool.take(0).unwrap();
        assert!(pool.take(1).is_err(), "what there is now counts");
        pool.give_back(3 << 20);
        pool.take(1 << 20).unwrap();
    }
}
