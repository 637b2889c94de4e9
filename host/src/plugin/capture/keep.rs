//! Which failed calls of a run get a file: of each place, as a partition of a step's epoch is one, that with the fewest rows.
//!
//! A step that looks for the rows at fault calls the plugin again and again with fewer rows; the last of these calls that fails is
//! the one that its author wants to see.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Capture, is_lasting};
use crate::error::Failure;
use crate::ids::NodeName;
use crate::plugin::call::CallError;

/// Files that one run may leave behind: a file holds a component, and the first few failures say what there is to say.
const FILES: usize = 100;

/// A folder for captures.
#[derive(Debug)]
pub struct Captures {
    folder: PathBuf,
    /// Rows of what was kept.
    kept: Mutex<BTreeMap<Place, usize>>,
}

/// A node, and what of it was called where.
type Place = (NodeName, String);

/// What to do with a failed call.
#[derive(Debug, PartialEq, Eq)]
enum Worth {
    Nothing,
    /// Of its place the first, or one that needs fewer rows to fail.
    First,
    Smaller,
}

impl Captures {
    /// Keeps captures in `folder`, made if it is not there.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(folder).map_err(|error| {
            let folder = folder.display();
            Failure::external(format!("failed calls cannot be kept in {folder}: {error}"))
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            kept: Mutex::default(),
        })
    }

    /// Keeps the call that failed with `error`, if it is worth it. A capture that cannot be written is a warning: the failure itself
    /// is what the user has to hear of.
    pub fn keep(
        &self,
        error: &CallError,
        place: Place,
        rows: usize,
        capture: impl FnOnce() -> Result<Capture, Failure>,
    ) {
        if !is_lasting(error) {
            return;
        }
        // Held while the file is written: of two threads the one with fewer rows wins.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let worth = worth(&kept, &place, rows);
        if worth == Worth::Nothing {
            return;
        }
        let (node, call) = &place;
        let file = self.folder.join(format!("{node}-{call}.capture"));
        let written = capture().and_then(|capture| {
            let written = capture.write(&file);
            written.map_err(|error| Failure::external(error.to_string()))
        });
        match written {
            Ok(()) => {
                if worth == Worth::First {
                    tracing::warn!(%node, call, file = %file.display(),
                        "the failed call was captured; `wasmill plugin replay FILE` makes it again");
                }
                kept.insert(place, rows);
            }
            Err(error) => {
                tracing::warn!(%node, call, %error, "the failed call cannot be captured");
            }
        }
    }
}

fn worth(kept: &BTreeMap<Place, usize>, place: &Place, rows: usize) -> Worth {
    match kept.get(place) {
        Some(before) if rows < *before => Worth::Smaller,
        Some(_) => Worth::Nothing,
        None if kept.len() < FILES => Worth::First,
        None => Worth::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u64) -> Place {
        ("step".into(), format!("epoch-{epoch}"))
    }

    #[test]
    fn of_a_place_the_call_with_the_fewest_rows_is_kept() {
        let mut kept = BTreeMap::new();
        assert_eq!(worth(&kept, &place(1), 8), Worth::First);
        kept.insert(place(1), 8);
        assert_eq!(worth(&kept, &place(1), 8), Worth::Nothing);
        assert_eq!(worth(&kept, &place(1), 4), Worth::Smaller);
        assert_eq!(worth(&kept, &place(2), 100), Worth::First);
    }

    #[test]
    fn a_run_of_failures_leaves_a_bounded_number_of_files() {
        let kept: BTreeMap<_, _> = (0..FILES as u64).map(|epoch| (place(epoch), 8)).collect();
        assert_eq!(worth(&kept, &place(1_000), 8), Worth::Nothing);
        assert_eq!(worth(&kept, &place(7), 1), Worth::Smaller);
    }
}
