//! Rejected rows of hosted pipelines: looked at, given back, discarded, and kept within a limit.
//!
//! A pipeline that rejects and does not say where to writes to its [`store`], by the [`table`] that the server adds to its file. What was done
//! about a row is in the catalog as [`marks`], so a crash neither forgets it nor does it twice. [`replay`] gives rows back.

mod marks;
mod replay;
mod row;
mod store;
pub(super) mod table;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Service;
use super::catalog::audit::{self, Change};
use super::catalog::pipeline;
use super::catalog::rejected as catalog;
use super::catalog::token::Caller;
use super::refusal::Refusal;
use crate::ids::{PipelineName, TenantId};
use marks::{Kept, Marks};
pub use replay::{GivenBack, LeftOut};
pub use row::{Choice, Group, RejectedRow, RowId, RowState};
use row::{Groups, Written};
use store::{Store, StoredFile};
use table::Rejecting;
pub(super) use watch::watch;

/// Groups that are told apart; the others are counted.
const GROUPS: usize = 200;

type Opened = BTreeMap<(TenantId, PipelineName), Arc<Mutex<Store>>>;

/// The stores of all pipelines that anyone has looked at, each for one at a time.
#[derive(Debug)]
pub struct Stores {
    all: Mutex<Opened>,
    /// Bytes that the files of a pipeline may take.
    limit: u64,
}

impl Stores {
    /// None yet; each may take so many bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            all: Mutex::default(),
            limit,
        }
    }

    /// The store of a pipeline.
    pub fn of(&self, tenant: &TenantId, name: &PipelineName, root: PathBuf) -> Arc<Mutex<Store>> {
        let mut stores = self.all();
        let store = stores.entry((tenant.clone(), name.clone()));
        let store = store.or_insert_with(|| Arc::new(Mutex::new(Store::new(root))));
        store.clone()
    }

    /// Forgets a store of a pipeline that is removed, unless someone waits for it.
    pub fn forget(&self, tenant: &TenantId, name: &PipelineName) {
        let mut stores = self.all();
        let key = (tenant.clone(), name.clone());
        if stores
            .get(&key)
            .is_some_and(|store| Arc::strong_count(store) == 1)
        {
            stores.remove(&key);
        }
    }

    fn all(&self) -> MutexGuard<'_, Opened> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rejected rows of a pipeline, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rejected {
    /// By what they have in common, those with the most open rows first.
    pub groups: Vec<Group>,
    /// How many other groups there are.
    pub more_groups: u64,
    /// Rows that wait for someone to do something about them.
    pub open: u64,
    /// Rows that were given back.
    pub given_back: u64,
    /// Rows that were dropped, not being given back, to keep within the limit.
    pub dropped: u64,
    /// The room that all of it takes.
    pub bytes: u64,
    /// The limit.
    pub limit: u64,
}

/// Rows that are gone for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Discarded {
    /// How many.
    pub rows: u64,
    /// The room that has come back: that of files of which nothing is left.
    pub bytes: u64,
}

/// A pipeline's rejected rows, to oneself.
struct Open<'a> {
    service: &'a Service,
    tenant: &'a TenantId,
    name: &'a PipelineName,
    store: MutexGuard<'a, Store>,
    marks: Marks,
}

impl Service {
    /// Counts a pipeline's rejected rows.
    ///
    /// # Errors
    /// When there is no such pipeline, or it writes them elsewhere.
    pub fn rejected(&self, tenant: &TenantId, name: &PipelineName) -> Result<Rejected, Refusal> {
        let store = self.store(tenant, name)?;
        let mut open = self.open(tenant, name, &store)?;
        open.tidy()?;
        let (mut groups, mut bytes) = (Groups::default(), 0);
        let (mut waiting, mut given_back) = (0, 0);
        let files = open.files()?;
        for file in &files {
            bytes += file.bytes;
            open.read(file, |_, state, row| {
                match state {
                    RowState::Open => waiting += 1,
                    RowState::GivenBack => given_back += 1,
                }
                groups.add(row, state);
                Ok(())
            })?;
        }
        if files.is_empty() && self.rejecting(tenant, name)?.has_own {
            let message = format!("pipeline `{name}` writes its rejected rows itself");
            let help =
                "they are where its `[rejected]` says; without that table the server keeps them";
            return Err(Refusal::conflict(message).help(help));
        }
        let (groups, more_groups) = groups.largest(GROUPS);
        Ok(Rejected {
            groups,
            more_groups,
            open: waiting,
            given_back,
            dropped: self.catalog.read(|db| catalog::dropped(db, tenant, name))?,
            bytes,
            limit: self.stores.limit,
        })
    }

    /// At most `limit` of a pipeline's rejected rows, the latest first; those that were given back only if they are asked for.
    ///
    /// # Errors
    /// When there is no such pipeline.
    pub fn rejected_rows(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        choice: &Choice,
        limit: usize,
        given_back: bool,
    ) -> Result<Vec<RejectedRow>, Refusal> {
        let store = self.store(tenant, name)?;
        let mut open = self.open(tenant, name, &store)?;
        let mut rows = Vec::new();
        for file in open.files()?.iter().rev() {
            if rows.len() >= limit || !choice.may_be_in(file.id) {
                continue;
            }
            let left = limit - rows.len();
            let mut latest = VecDeque::new();
            open.read(file, |id, state, row| {
                if choice.means(id, &row) && (given_back || state == RowState::Open) {
                    if latest.len() == left {
                        latest.pop_front();
                    }
                    latest.push_back(self.shown(tenant, name, id, state, row));
                }
                Ok(())
            })?;
            rows.extend(latest.into_iter().rev());
        }
        Ok(rows)
    }

    /// One row.
    ///
    /// # Errors
    /// When it is not there.
    pub fn rejected_row(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        id: RowId,
    ) -> Result<RejectedRow, Refusal> {
        let choice = Choice {
            ids: BTreeSet::from([id]),
            ..Choice::default()
        };
        let rows = self.rejected_rows(tenant, name, &choice, 1, true)?;
        let missing = || Refusal::not_found("rejected row", &id.to_string());
        rows.into_iter().next().ok_or_else(missing)
    }

    /// Removes rows for good, those too that were given back.
    ///
    /// # Errors
    /// When there is no such pipeline, or no rows are meant.
    pub fn discard(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        name: &PipelineName,
        choice: &Choice,
    ) -> Result<Discarded, Refusal> {
        must_be_made(choice)?;
        let store = self.store(tenant, name)?;
        let mut open = self.open(tenant, name, &store)?;
        // What is being given back is read from here.
        open.finish_replays()?;
        let mut gone = Vec::new();
        for file in open.files()? {
            if choice.may_be_in(file.id) {
                open.read(&file, |id, _, row| {
                    gone.extend(choice.means(id, &row).then_some(id));
                    Ok(())
                })?;
            }
        }
        if gone.is_empty() {
            return Err(no_rows());
        }
        let rows = gone.len() as u64;
        self.catalog.change(|db| {
            catalog::add(db, tenant, name, &marks::ranges(&gone, None))?;
            let line = Change {
                before: Some(&plural(rows)),
                ..Change::of(caller, tenant, "rejected discard", name.as_str())
            };
            audit::write(db, &line)
        })?;
        let bytes = open.bury()?;
        Ok(Discarded { rows, bytes })
    }

    /// Finishes what a crash has left, and keeps within the limit.
    pub(super) fn tidy_rejected(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
    ) -> Result<(), Refusal> {
        let store = self.store(tenant, name)?;
        self.open(tenant, name, &store)?.tidy()
    }

    /// Has a pipeline removed while nobody has its store; what is known of its rows goes with it.
    pub(super) fn without_rejected<T>(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        remove: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let store = self.store(tenant, name)?;
        let mut open = store.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = remove()?;
        *open = Store::new(self.folder.rejected(tenant, name));
        drop(open);
        drop(store);
        self.stores.forget(tenant, name);
        Ok(removed)
    }

    /// The table that is added to a pipeline's file, if it needs one.
    pub(super) fn rejected_table(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        text: &str,
    ) -> String {
        let (rejected, again) = (
            self.folder.rejected(tenant, name),
            self.folder.again(tenant, name),
        );
        table::appendix(text, &rejected, &again)
    }

    /// What the current version says of rejected rows.
    fn rejecting(&self, tenant: &TenantId, name: &PipelineName) -> Result<Rejecting, Refusal> {
        let version = self.catalog.read(|db| {
            let current = pipeline::get(db, tenant, name)?.version;
            pipeline::version(db, tenant, name, current)
        })?;
        Ok(table::rejecting(&version.text))
    }

    fn store(&self, tenant: &TenantId, name: &PipelineName) -> Result<Arc<Mutex<Store>>, Refusal> {
        self.catalog.read(|db| pipeline::get(db, tenant, name))?;
        let root = self.folder.rejected(tenant, name);
        Ok(self.stores.of(tenant, name, root))
    }

    fn open<'a>(
        &'a self,
        tenant: &'a TenantId,
        name: &'a PipelineName,
        store: &'a Mutex<Store>,
    ) -> Result<Open<'a>, Refusal> {
        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been removed while someone else had the store.
        self.catalog.read(|db| pipeline::get(db, tenant, name))?;
        let mut open = Open {
            service: self,
            tenant,
            name,
            store,
            marks: Marks::default(),
        };
        open.see_marks()?;
        Ok(open)
    }

    fn shown(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        id: RowId,
        state: RowState,
        row: Written,
    ) -> RejectedRow {
        // Where the server keeps it all is nobody's business.
        let pipeline = self.folder.pipeline(tenant, name);
        let folders = [self.folder.files(tenant).ok(), Some(pipeline)];
        let inside = folders.iter().flatten().find_map(|folder| {
            let rest = row.origin.strip_prefix(folder.to_str()?)?;
            rest.strip_prefix('/')
        });
        RejectedRow {
            id,
            state,
            time: row.batch_time,
            origin: inside.unwrap_or(&row.origin).to_owned(),
            node: row.node,
            input: row.input,
            plugin: row.plugin,
            reason: row.reason,
            row: row.row,
            bytes: row.bytes,
            cut: row.cut,
        }
    }
}

impl Open<'_> {
    fn files(&mut self) -> Result<Vec<StoredFile>, Refusal> {
        Ok(self.store.files()?)
    }

    /// Gives each row of a file that is not gone.
    fn read(
        &self,
        file: &StoredFile,
        mut each: impl FnMut(RowId, RowState, Written) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.store.read(file, |line, row| {
            let id = RowId {
                file: file.id,
                line,
            };
            match self.marks.state(id) {
                Some(state) => each(id, state, row),
                None => Ok(()),
            }
        })
    }

    fn see_marks(&mut self) -> Result<(), Refusal> {
        let marks = self
            .service
            .catalog
            .read(|db| catalog::marks(db, self.tenant, self.name))?;
        self.marks = Marks::of(marks);
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), Refusal> {
        self.finish_replays()?;
        self.forget_read_replays()?;
        self.keep_within(self.service.stores.limit)?;
        self.bury().map(drop)
    }

    /// Drops files until the others keep within the limit, and counts the rows that nobody has done anything about.
    fn keep_within(&mut self, limit: u64) -> Result<(), Refusal> {
        let files = self.files()?;
        if files.iter().map(|file| file.bytes).sum::<u64>() <= limit {
            return Ok(());
        }
        let open = |file: &StoredFile| self.marks.open(file.id, file.rows);
        let kept = files.iter().map(|file| Kept {
            file: file.id,
            bytes: file.bytes,
            has_open: open(file) > 0,
        });
        let surplus = marks::surplus(kept.collect(), limit);
        let surplus = files.iter().filter(|file| surplus.contains(&file.id));
        let (mut gone, mut dropped) = (Vec::new(), 0);
        for file in surplus {
            dropped += open(file);
            let rows = (0..file.rows).map(|line| RowId {
                file: file.id,
                line,
            });
            let left = rows.filter(|id| self.marks.state(*id).is_some());
            gone.extend(marks::ranges(&left.collect::<Vec<_>>(), None));
        }
        let (tenant, name) = (self.tenant, self.name);
        self.service.catalog.change(|db| {
            catalog::add(db, tenant, name, &gone)?;
            match dropped {
                0 => Ok(()),
                rows => catalog::add_dropped(db, tenant, name, rows),
            }
        })?;
        if dropped > 0 {
            tracing::warn!(%tenant, pipeline = %name, "{dropped} rejected rows were dropped to keep within {limit} bytes");
        }
        Ok(())
    }

    /// Removes files of which no row is left, and then what is known of them; gives the room that they took.
    fn bury(&mut self) -> Result<u64, Refusal> {
        self.see_marks()?;
        let mut gone = self.files()?;
        gone.retain(|file| self.marks.is_gone(file.id, file.rows));
        self.store.remove(&gone)?;
        let (tenant, name) = (self.tenant, self.name);
        if !gone.is_empty() {
            self.service.catalog.change(|db| {
                let mut files = gone.iter();
                files.try_for_each(|file| catalog::forget(db, tenant, name, file.id))
            })?;
            self.see_marks()?;
        }
        Ok(gone.iter().map(|file| file.bytes).sum())
    }
}

/// What is done to rows is done to those that somebody names.
fn must_be_made(choice: &Choice) -> Result<(), Refusal> {
    if choice.is_made() {
        return Ok(());
    }
    Err(Refusal::invalid("it is not said which rows are meant")
        .help("name rows, a node or a time, or say that all are meant: `--all`, `\"all\": true`"))
}

fn no_rows() -> Refusal {
    Refusal::conflict("there are no such rows")
        .help("`wasmill rejected ls` and `show` say which there are")
}

fn plural(rows: u64) -> String {
    match rows {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}
