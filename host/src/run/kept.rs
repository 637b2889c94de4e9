//! How much the steps of several runs may remember together.
//!
//! What counts is what a commit would keep: the bytes of all segments that the state after an epoch is made of. An epoch that would make it
//! more than there may be is not committed; its run ends, and the next one does it again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::config::format_size;
use crate::error::Failure;
use crate::ids::PipelineName;

/// Shared by the runs of a tenant; without a limit unless one is set.
#[derive(Debug, Default)]
pub struct StatePool(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    most: Option<u64>,
    /// Bytes by pipeline; those of one whose run is over stay.
    pipelines: BTreeMap<PipelineName, u64>,
}

impl StatePool {
    /// Lets all of them keep so many bytes from now on; `None` is any number.
    pub fn set(&self, most: Option<u64>) {
        self.kept().most = most;
    }

    /// Notes what a pipeline has kept already.
    pub fn note(&self, pipeline: &PipelineName, bytes: u64) {
        self.kept().pipelines.insert(pipeline.clone(), bytes);
    }

    /// Notes what a pipeline would keep now.
    ///
    /// # Errors
    /// When that is more than before, and too much for all of them together.
    pub fn keep(&self, pipeline: &PipelineName, bytes: u64) -> Result<(), Failure> {
        let mut kept = self.kept();
        let before = kept.pipelines.get(pipeline).copied().unwrap_or_default();
        let others = kept.pipelines.iter().filter(|(name, _)| *name != pipeline);
        let all = others.map(|(_, bytes)| bytes).sum::<u64>() + bytes;
        if let Some(most) = kept.most
            && all > most
            && bytes > before
        {
            let most = format_size(most);
            return Err(Failure::external(format!(
                "the pipelines of the tenant would remember {all} bytes, and may remember {most}"
            ))
            .help("nothing is lost, and it is tried again by itself; let steps forget sooner, remove a pipeline, or ask who runs the server for a larger quota"));
        }
        kept.pipelines.insert(pipeline.clone(), bytes);
        Ok(())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn pipelines_share_what_there_is_and_who_shrinks_goes_on() {
        let pool = StatePool::default();
        let [one, other] = ["one", "other"].map(PipelineName::from);
        pool.keep(&one, 900).unwrap();
        pool.set(Some(1024));
        pool.keep(&other, 124).unwrap();
        let failure = pool.keep(&one, 901).unwrap_err();
        assert_eq!(failure.fault, Fault::External, "it is tried again");
        assert!(failure.message.contains("1025 bytes"), "{failure}");
        assert!(failure.message.contains("1KiB"), "{failure}");
        pool.set(Some(100));
        pool.keep(&one, 899).unwrap();
        pool.keep(&one, 899).unwrap();
        assert!(pool.keep(&other, 125).is_err());
        pool.note(&one, 0);
        assert!(pool.keep(&other, 125).is_err(), "by itself it is too much");
        pool.keep(&other, 101).unwrap();
    }
}
