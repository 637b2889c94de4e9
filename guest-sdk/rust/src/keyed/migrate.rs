//! States of an earlier version as states of today.

use serde_json::Map;

use super::{Inputs, Selection, State};
use crate::builder::Size;
use crate::emit::Ports;
use crate::record::{self, Builders, Made, Readable, Record, Row};
use crate::transform::Done;
use crate::wit::{Buffers, Field};
use crate::{Batch, Error};

/// The old states as `fn(Old) -> New` reads them: the columns of its record, found by name.
///
/// # Errors
/// A column that the old states do not have, or have with another type.
pub fn old<'a, O: Row<'a>, N: Made>(
    _: impl Fn(O) -> N,
    columns: &[Field],
    rows: u32,
    state: &[Buffers],
) -> Result<Batch, Error> {
    Ok(Selection::new(&O::wanted(), &Map::new(), columns)?.batch(rows as usize, state))
}

/// Runs `fn(Old) -> New` over the old states; the new ones must be those of the plugin's function.
///
/// # Errors
/// The function's own.
pub fn migrate<'a, S, K, I, T, P, D, O, N>(
    _: impl Fn(&S, K, I, &mut State<'a, T>, &mut P) -> D,
    old: &'a Batch,
    each: impl Fn(O) -> N,
) -> Result<Vec<Buffers>, Error>
where
    K: Row<'a>,
    I: Inputs<'a>,
    T: Readable,
    P: Ports,
    D: Done,
    O: Row<'a>,
    N: Made,
    N::Output: Record<Builders = T::Builders>,
{
    let readers = O::readers(old);
    let mut builders = T::Builders::new(
        &[],
        Size {
            rows: old.rows(),
            bytes: old.data_bytes(),
        },
    );
    for row in 0..old.rows() {
        let state = O::read(&readers, row)
            .map_err(|column| Error::fatal(record::null_in(&old.columns()[column]).reason))?;
        each(state).made()?.write(&mut builders);
    }
    Ok(builders.finish())
}

/// There is no way from states of that number.
///
/// # Errors
/// Always.
pub fn no_migration(from_version: u32) -> Result<Vec<Buffers>, Error> {
    Err(Error::fatal(format!(
        "the plugin cannot take over state of version {from_version}"
    )))
}
