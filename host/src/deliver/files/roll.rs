//! When the files of a `files` sink end: a pure decision over plain data.

use std::time::Duration;

use toml::Spanned;

use crate::config::Table;
use crate::ids::BatchTime;

/// The rows of how many epochs go into one file of each partition. All files of a sink begin and end with the same epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll {
    /// So many epochs that have rows.
    epochs: Option<u64>,
    /// As many as it takes for a file of so many bytes.
    bytes: Option<u64>,
    /// Those of so long a batch time.
    interval: Option<Duration>,
}

/// The epochs that are in a roll so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// How many there are.
    pub epochs: u64,
    /// Of the largest file.
    pub bytes: u64,
    /// The batch time of the first.
    pub since: BatchTime,
}

impl Roll {
    /// Every epoch has files of its own.
    pub const EVERY_EPOCH: Self = Self {
        epochs: Some(1),
        bytes: None,
        interval: None,
    };

    /// Reads the table `roll`, if it is there. What comes first of several settings ends a roll.
    pub fn from_table(table: &mut Table) -> Self {
        let Some(mut roll) = table.table("roll", "`roll`") else {
            return Self::EVERY_EPOCH;
        };
        if !["epochs", "bytes", "interval"]
            .iter()
            .any(|key| roll.has(key))
        {
            let help = "write roll = { epochs = 10 }, { bytes = \"128MiB\" }, { interval = \"10m\" } or several of them";
            roll.problem(
                roll.span(),
                "`roll` does not say when",
                Some(help.to_owned()),
            );
        }
        let written = Self {
            epochs: roll.integer("epochs", 1).map(Spanned::into_inner),
            bytes: roll.size("bytes").map(Spanned::into_inner),
            interval: roll.duration("interval").map(Spanned::into_inner),
        };
        roll.finish();
        written
    }

    /// Whether a roll ends with an epoch of the time `now`, which may have added rows to it.
    pub fn is_over(&self, rolling: Rolling, now: BatchTime) -> bool {
        let Self { epochs, bytes, .. } = self;
        epochs.is_some_and(|epochs| rolling.epochs >= epochs)
            || bytes.is_some_and(|bytes| rolling.bytes >= bytes)
            || self.due(rolling.since).is_some_and(|due| now >= due)
    }

    /// When a roll that began at `since` ends if nothing ends it before.
    pub fn due(&self, since: BatchTime) -> Option<BatchTime> {
        let millis = i64::try_from(self.interval?.as_millis()).unwrap_or(i64::MAX);
        Some(BatchTime(since.0.saturating_add(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Roll = Roll {
        epochs: None,
        bytes: None,
        interval: None,
    };

    #[test]
    fn a_roll_ends_with_the_first_of_its_limits() {
        let roll = Roll {
            epochs: Some(3),
            bytes: Some(100),
            interval: Some(Duration::from_secs(1)),
        };
        let rolling = |epochs, bytes| Rolling {
            epochs,
            bytes,
            since: BatchTime(5000),
        };
        assert!(!roll.is_over(rolling(2, 99), BatchTime(5999)));
        assert!(roll.is_over(rolling(3, 0), BatchTime(5000)));
        assert!(roll.is_over(rolling(1, 100), BatchTime(5000)));
        assert!(roll.is_over(rolling(1, 0), BatchTime(6000)));
        assert_eq!(roll.due(BatchTime(5000)), Some(BatchTime(6000)));
        assert!(!NEVER.is_over(rolling(u64::MAX, u64::MAX), BatchTime(i64::MAX)));
        assert_eq!(NEVER.due(BatchTime(0)), None);
        assert!(Roll::EVERY_EPOCH.is_over(rolling(1, 0), BatchTime(5000)));
    }
}
