//! Which of all starts of a pipeline may write its records: the newest.
//!
//! A start claims the next number with create-if-absent, before it reads the records. From then on every older one finds, before it
//! writes a plan or a commit, that it has been taken over from. What an older one was about to write at that very moment is not
//! prevented by that but by the records themselves, which are written with create-if-absent too: docs/decisions/0008 has the whole argument.

use std::collections::BTreeSet;
use std::io;

use super::record::{self, GenerationRecord};
use super::records::{Records, new_id};
use crate::error::Failure;
use crate::ids::Generation;

pub(super) const GENERATIONS: &str = "generation";
/// So many of the newest stay, for a person who looks at what has happened. One would do.
const KEPT: usize = 4;

/// Claims the next generation.
pub fn claim(records: &Records) -> Result<Generation, Failure> {
    let newest = found(records)?.last().copied().unwrap_or_default();
    let own = Generation(newest.0 + 1);
    let claim = GenerationRecord {
        generation: own,
        id: new_id(),
    };
    let claimed = records.storage.put_new(&name(own), &record::encode(&claim));
    match claimed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let place = &records.location;
            let message = format!(
                "another process has started on the checkpoint in `{place}` at the same time"
            );
            return Err(Failure::user(message)
                .help("let one of them run, or give this pipeline a checkpoint of its own"));
        }
        claimed => records.on_disk(claimed)?,
    }
    // Whoever slept since it looked may have claimed a number that was removed by then.
    let generations = check(records, own)?;
    for old in generations.iter().rev().skip(KEPT) {
        records.on_disk(records.storage.delete(&name(*old)))?;
    }
    Ok(own)
}

/// Says who is there, and stops a start that is not the newest any more.
pub fn check(records: &Records, own: Generation) -> Result<BTreeSet<Generation>, Failure> {
    let generations = found(records)?;
    match generations.last() {
        Some(newest) if *newest > own => {
            let place = &records.location;
            let message = format!(
                "another process has taken over this pipeline: the checkpoint in `{place}` is of generation {newest}, and this process of {own}"
            );
            Err(Failure::external(message)
                .help("nothing is lost: the other one goes on; let only one run at a time"))
        }
        _ => Ok(generations),
    }
}

fn found(records: &Records) -> Result<BTreeSet<Generation>, Failure> {
    let names = records.on_disk(records.storage.list(GENERATIONS))?;
    let generations = names.iter().filter_map(|name| name.parse().ok());
    Ok(generations.map(Generation).collect())
}

fn name(generation: Generation) -> String {
    format!("{GENERATIONS}/{:020}", generation.0)
}
