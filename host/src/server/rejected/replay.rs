//! Gives rows back to the node that has rejected them: a file of its own for the source that reads such rows, once.
//!
//! First the catalog says, in one transaction, which rows a replay has; from then on they are given back. Then its file is written, aside, and
//! named by the replay. A crash in between leaves a replay without a file, which the next look at the pipeline writes: neither lost nor twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::row::{Choice, RowId, RowState, Taker};
use super::table::Rejecting;
use super::{Open, marks, must_be_made, no_rows, plural};
use crate::error::unless_missing;
use crate::ids::{PipelineName, TenantId};
use crate::receive::FilesSource;
use crate::server::Service;
use crate::server::catalog::audit::{self, Change};
use crate::server::catalog::rejected::{self as catalog, ReplayId, Stage};
use crate::server::catalog::token::Caller;
use crate::server::folder;
use crate::server::refusal::Refusal;

/// Rows that cannot be given back and are named; the others are counted.
const NAMED: usize = 20;

/// Rows that come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GivenBack {
    /// How many.
    pub rows: u64,
    /// How many were meant and cannot come again; they stay.
    pub left_out: u64,
    /// Some of these, and why.
    pub why: Vec<LeftOut>,
}

/// A row that cannot come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeftOut {
    /// The row.
    #[schema(value_type = String)]
    pub id: RowId,
    /// Why.
    pub reason: String,
}

impl Service {
    /// Gives open rows back to the nodes that have rejected them.
    ///
    /// # Errors
    /// When there is no such pipeline, or no rows are meant that can come again.
    pub fn give_back(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
        choice: &Choice,
    ) -> Result<GivenBack, Refusal> {
        must_be_made(choice)?;
        let said = self.rejecting(tenant, name)?;
        let store = self.store(tenant, name)?;
        let mut open = self.open(tenant, name, &store)?;
        open.finish_replays()?;
        let Picked {
            by_taker: picked,
            left_out,
            why,
        } = open.pick(choice, &said)?;
        let rows = picked.values().map(|rows| rows.len() as u64).sum();
        match why.first() {
            _ if rows > 0 => {}
            None => return Err(no_rows()),
            Some(LeftOut { id, reason }) => {
                let message = format!("none of these rows can come again; of {id}: {reason}");
                return Err(Refusal::conflict(message).help(
                    "`wasmill rejected show` has what was kept of a row, to be mended by hand",
                ));
            }
        }
        self.catalog.change(|db| {
            for (taker, rows) in &picked {
                let replay = catalog::begin(db, tenant, name, &taker.to_string())?;
                catalog::add(db, tenant, name, &marks::ranges(rows, Some(replay)))?;
            }
            let line = Change {
                after: Some(&plural(rows)),
                ..Change::of(caller, tenant, "rejected replay", name.as_str())
            };
            audit::write(db, &line)
        })?;
        crate::abort::crash_point!("replay-begun");
        open.see_marks()?;
        open.finish_replays()?;
        Ok(GivenBack {
            rows,
            left_out,
            why,
        })
    }
}

/// Rows that are meant.
#[derive(Default)]
struct Picked {
    /// Those that can come again, by who takes them.
    by_taker: BTreeMap<Taker, Vec<RowId>>,
    left_out: u64,
    why: Vec<LeftOut>,
}

impl Open<'_> {
    fn pick(&mut self, choice: &Choice, said: &Rejecting) -> Result<Picked, Refusal> {
        let mut picked = Picked::default();
        for file in self.files()? {
            if !choice.may_be_in(file.id) {
                continue;
            }
            self.read(&file, |id, state, row| {
                if state != RowState::Open || !choice.means(id, &row) {
                    return Ok(());
                }
                match row.taker(said).and_then(|taker| row.line().map(|_| taker)) {
                    Ok(taker) => picked.by_taker.entry(taker).or_default().push(id),
                    Err(reason) => {
                        picked.left_out += 1;
                        if picked.why.len() < NAMED {
                            let reason = reason.to_owned();
                            picked.why.push(LeftOut { id, reason });
                        }
                    }
                }
                Ok(())
            })?;
        }
        Ok(picked)
    }

    /// Writes the files of replays that have none.
    pub(super) fn finish_replays(&mut self) -> Result<(), Refusal> {
        let service = self.service;
        let begun = service
            .catalog
            .read(|db| catalog::at(db, self.tenant, self.name, Stage::Begun))?;
        for (replay, taker) in begun {
            let path = self.path(replay, &taker);
            // Whole files alone have their names.
            if !path.exists() {
                self.write(replay, &path)?;
            }
            crate::abort::crash_point!("replay-written");
            (service.catalog).change(|db| catalog::set(db, replay, Stage::Written))?;
        }
        Ok(())
    }

    fn path(&self, replay: ReplayId, taker: &str) -> PathBuf {
        let again = self.service.folder.again(self.tenant, self.name);
        again.join(taker).join(format!("{:08}", replay.0))
    }

    /// Writes a file with the rows of a replay, in their order.
    fn write(&mut self, replay: ReplayId, path: &Path) -> Result<(), Refusal> {
        let mine = self.marks.files_of(replay);
        let files = self.files()?;
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)?;
        // Sources pass over names that end so.
        let aside = path.with_extension("tmp");
        let mut out = BufWriter::new(File::create(&aside)?);
        for file in files.iter().filter(|file| mine.contains(&file.id)) {
            self.store.read(file, |line, row| {
                let id = RowId {
                    file: file.id,
                    line,
                };
                match row.line() {
                    Ok(mut row) if self.marks.replay_of(id) == Some(replay) => {
                        row.push(b'\n');
                        out.write_all(&row)
                    }
                    _ => Ok(()),
                }
            })?;
        }
        out.into_inner().map_err(io::Error::from)?.sync_all()?;
        fs::rename(&aside, path)?;
        // The folders may be new.
        for folder in folder.ancestors().take(4) {
            folder::sync(folder)?;
        }
        Ok(())
    }

    /// Removes the files of replays whose rows the pipeline has read for good.
    pub(super) fn forget_read_replays(&mut self) -> Result<(), Refusal> {
        let service = self.service;
        let written = service
            .catalog
            .read(|db| catalog::at(db, self.tenant, self.name, Stage::Written))?;
        if written.is_empty() {
            return Ok(());
        }
        let stand = service
            .records(self.tenant, self.name)?
            .oldest_positions()?;
        for (replay, taker) in written {
            let path = self.path(replay, &taker);
            let position = stand.get(&Taker::from(taker.as_str()).source());
            if position.is_some_and(|position| FilesSource::has_read(position, &path)) {
                // First the file: what has gone is not looked for again, and is never read again either.
                unless_missing(fs::remove_file(&path))?;
                (service.catalog).change(|db| catalog::set(db, replay, Stage::Read))?;
            }
        }
        Ok(())
    }
}
