//! What was done about the rejected rows of pipelines: which were given back, which are gone.

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, PartitionId, PipelineName, TenantId};
use crate::server::refusal::Refusal;

/// Rows that were given back to a node, or an input of one, together; the server never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplayId(pub i64);

/// Rows of a file of rejected rows, from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The file.
    pub file: (Epoch, PartitionId),
    /// The first line.
    pub first: u64,
    /// The last line.
    pub last: u64,
    /// By which they were given back; nothing if they are gone.
    pub replay: Option<ReplayId>,
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its rows are its own, and its file may not be there.
    Begun,
    /// Its file is there.
    Written,
    /// Its rows were read for good, and its file may go.
    Read,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Written => "written",
            Self::Read => "read",
        }
    }
}

/// All marks of a pipeline.
///
/// # Errors
/// When the catalog cannot be read.
pub fn marks(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
) -> Result<Vec<Mark>, Refusal> {
    let mut query =
        db.prepare_cached("SELECT * FROM rejected_mark WHERE tenant = ? AND pipeline = ?")?;
    let marks = query.query_map([tenant.as_str(), name.as_str()], mark)?;
    Ok(marks.collect::<Result<_, _>>()?)
}

fn mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    Ok(Mark {
        file: (
            Epoch(number(row, "epoch")?),
            PartitionId(row.get("partition")?),
        ),
        first: number(row, "first")?,
        last: number(row, "last")?,
        replay: row.get::<_, Option<i64>>("replay")?.map(ReplayId),
    })
}

/// SQLite's numbers have a sign, and ours do not need it.
fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

/// Adds marks.
///
/// # Errors
/// When the catalog cannot be written.
pub fn add(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    marks: &[Mark],
) -> Result<(), Refusal> {
    let mut query = db.prepare_cached("INSERT INTO rejected_mark VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    for mark in marks {
        let (epoch, partition) = mark.file;
        query.execute(params![
            tenant.as_str(),
            name.as_str(),
            epoch.0.cast_signed(),
            partition.0,
            mark.first.cast_signed(),
            mark.last.cast_signed(),
            mark.replay.map(|replay| replay.0),
        ])?;
    }
    Ok(())
}

/// Forgets the marks of a file that is not there any more.
///
/// # Errors
/// When the catalog cannot be written.
pub fn forget(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    (epoch, partition): (Epoch, PartitionId),
) -> Result<(), Refusal> {
    let query = "DELETE FROM rejected_mark WHERE tenant = ? AND pipeline = ? AND epoch = ? AND partition = ?";
    db.execute(
        query,
        params![
            tenant.as_str(),
            name.as_str(),
            epoch.0.cast_signed(),
            partition.0
        ],
    )?;
    Ok(())
}

/// Begins a replay of rows to who takes them, a node or an input of one.
///
/// # Errors
/// When the catalog cannot be written.
pub fn begin(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    taker: &str,
) -> Result<ReplayId, Refusal> {
    db.execute(
        "INSERT INTO replay (tenant, pipeline, node, state) VALUES (?, ?, ?, ?)",
        [tenant.as_str(), name.as_str(), taker, Stage::Begun.word()],
    )?;
    Ok(ReplayId(db.last_insert_rowid()))
}

/// Notes how far a replay has come.
///
/// # Errors
/// When the catalog cannot be written.
pub fn set(db: &Connection, replay: ReplayId, stage: Stage) -> Result<(), Refusal> {
    let query = "UPDATE replay SET state = ? WHERE id = ?";
    db.execute(query, params![stage.word(), replay.0])?;
    Ok(())
}

/// The replays of a pipeline that have come so far, in their order, each with who takes its rows.
///
/// # Errors
/// When the catalog cannot be read.
pub fn at(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    stage: Stage,
) -> Result<Vec<(ReplayId, String)>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT id, node FROM replay WHERE tenant = ? AND pipeline = ? AND state = ? ORDER BY id",
    )?;
    let found = query.query_map([tenant.as_str(), name.as_str(), stage.word()], |row| {
        Ok((ReplayId(row.get("id")?), row.get("node")?))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// How many rows were dropped to keep within the limit.
///
/// # Errors
/// When the catalog cannot be read.
pub fn dropped(db: &Connection, tenant: &TenantId, name: &PipelineName) -> Result<u64, Refusal> {
    let query =
        "SELECT coalesce(sum(rows), 0) FROM rejected_dropped WHERE tenant = ? AND pipeline = ?";
    let rows = db.query_row(query, [tenant.as_str(), name.as_str()], |row| {
        row.get::<_, i64>(0)
    });
    Ok(rows?.cast_unsigned())
}

/// Counts further ones.
///
/// # Errors
/// When the catalog cannot be written.
pub fn add_dropped(
    db: &Connection,
    tenant: &TenantId,
    name: &PipelineName,
    rows: u64,
) -> Result<(), Refusal> {
    db.execute(
        "INSERT INTO rejected_dropped VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
        params![tenant.as_str(), name.as_str(), rows.cast_signed()],
    )?;
    Ok(())
}

/// Forgets all that is about files, which another machine had.
///
/// # Errors
/// When the catalog cannot be written.
pub fn forget_files(db: &Connection) -> Result<(), Refusal> {
    for table in ["replay", "rejected_mark", "rejected_dropped"] {
        db.execute(&format!("DELETE FROM {table}"), [])?;
    }
    Ok(())
}
