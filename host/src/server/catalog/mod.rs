//! The catalog: one SQLite file that says which tenants there are, what they have pushed and what should run.
//!
//! Each table has a file with plain functions over a connection, from types to rows and back. [`Catalog`] gives them one: to
//! read, or within a transaction that is kept as a whole or not at all, together with the line of the [`audit`] about it.

pub mod audit;
pub mod pipeline;
pub mod plugin;
pub mod rejected;
mod schema;
pub mod secret;
pub mod tenant;
pub mod token;
pub mod trial;
pub mod usage;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, TransactionBehavior};

use super::refusal::Refusal;
use crate::error::Failure;

/// A catalog that is open. One connection: SQLite has one writer, and what is read takes microseconds.
#[derive(Debug)]
pub struct Catalog {
    connection: Mutex<Connection>,
}

impl Catalog {
    /// Opens the file, makes it if it is not there, and brings it to this program's version.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer program.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::external(format!(
                "the catalog {} cannot be opened: {error}",
                path.display()
            ))
            .help("a catalog that a newer wasmill has written is not read by an older one")
        };
        let mut connection = Connection::open(path).map_err(|error| failed(&error))?;
        prepare(&connection).map_err(|error| failed(&error))?;
        schema::migrations()
            .to_latest(&mut connection)
            .map_err(|error| failed(&error))?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Reads.
    ///
    /// # Errors
    /// What `read` says.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        read(&self.lock())
    }

    /// Changes it, durably, or not at all.
    ///
    /// # Errors
    /// What `change` says, and then nothing is changed.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)?;
        transaction.commit()?;
        Ok(changed)
    }

    /// Writes a copy to a file that is not there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn copy_to(&self, file: &Path) -> Result<(), Refusal> {
        let name = file.to_string_lossy();
        self.lock().execute("VACUUM INTO ?", [name])?;
        Ok(())
    }

    /// A panic under the lock has rolled its transaction back.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Someone may look into the file with another program meanwhile.
const BUSY: Duration = Duration::from_secs(5);

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A change that was answered survives the machine's crash.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// A moment as a column holds it.
fn milliseconds(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// Reads what [`milliseconds`] wrote.
fn timestamp(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    moment(row.get(column)?)
}

fn moment(milliseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|error| unreadable(Type::Integer, error))
}

/// Reads a column that another type is written into as text.
fn text<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: TryFrom<String>,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let text: String = row.get(column)?;
    T::try_from(text).map_err(|error| unreadable(Type::Text, error))
}

/// Reads a column that holds JSON.
fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(Type::Text, error))
}

/// Writes what [`json`] reads.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("rows hold nothing that JSON cannot")
}

fn unreadable(
    stored: Type,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, stored, error.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An empty catalog in memory.
    pub fn empty() -> Catalog {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&connection).unwrap();
        schema::migrations().to_latest(&mut connection).unwrap();
        Catalog {
            connection: Mutex::new(connection),
        }
    }

    #[test]
    fn the_migrations_are_valid() {
        schema::migrations().validate().unwrap();
    }

    #[test]
    fn a_change_that_is_refused_leaves_nothing_behind() {
        let catalog = empty();
        let acme = crate::ids::TenantId::parse("acme").unwrap();
        let refused: Result<(), _> = catalog.change(|db| {
            tenant::create(db, &acme, &tenant::Policy::default())?;
            Err(Refusal::conflict("changed its mind"))
        });
        assert!(refused.is_err());
        let there = catalog.read(|db| tenant::find(db, &acme)).unwrap();
        assert_eq!(there, None);
    }

    #[test]
    fn a_catalog_of_a_newer_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        drop(Catalog::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let failure = Catalog::open(&path).unwrap_err();
        assert!(failure.help.unwrap().contains("newer"));
    }
}
