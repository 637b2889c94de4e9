//! Batches that a step remembers: in memory, or, once all that is remembered is too much, in files.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use tempfile::TempPath;

use super::disk::Spill;
use super::memory::{Share, StateMemory};
use crate::batch::{decode, encode};
use crate::error::Failure;

/// A batch that is remembered. A clone is the same one, and does not go where the other goes.
#[derive(Clone, Debug)]
pub struct Batch {
    num_rows: usize,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// And how many bytes of it.
    Memory(RecordBatch, u64),
    /// From a byte to before another.
    File(Arc<Written>, u64, u64),
}

/// Batches behind one another in a file, which goes with the last of them.
#[derive(Debug)]
struct Written {
    path: TempPath,
    /// Where its folder is.
    store: Arc<Spill>,
}

impl Batch {
    /// In memory.
    pub fn new(rows: RecordBatch) -> Self {
        let columns = rows.columns().iter();
        // A column of a type whose size nobody knows is of no bytes: there are none in the data plane.
        let bytes = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        let bytes = bytes.sum::<usize>() as u64;
        Self {
            num_rows: rows.num_rows(),
            place: Place::Memory(rows, bytes),
        }
    }

    /// How many rows it has.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// The rows, read if they are in a file.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn rows(&self) -> Result<RecordBatch, Failure> {
        match &self.place {
            Place::Memory(rows, _) => Ok(rows.clone()),
            Place::File(file, start, end) => file.store.done(file.read(*start, *end)),
        }
    }

    /// How many bytes of memory it takes.
    fn bytes(&self) -> u64 {
        match self.place {
            Place::Memory(_, bytes) => bytes,
            Place::File(..) => 0,
        }
    }
}

impl Written {
    fn read(&self, start: u64, end: u64) -> Result<RecordBatch, ArrowError> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact(&mut bytes)?;
        decode(bytes)
    }
}

/// What one owner remembers.
#[derive(Debug)]
pub struct Batches(Share);

impl Batches {
    /// None yet; they are counted with all else in `memory`.
    pub fn new(memory: Arc<StateMemory>) -> Self {
        Self(Share::new(memory))
    }

    /// Counts all of them, and writes them to a file if they are too much for memory.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn settle<'a>(&mut self, all: impl Iterator<Item = &'a mut Batch>) -> Result<(), Failure> {
        let mut in_memory: Vec<_> = all.filter(|batch| batch.bytes() > 0).collect();
        let bytes = in_memory.iter().map(|batch| batch.bytes()).sum();
        if let Some(store) = self.0.resize(bytes)? {
            let written = write(&store, &mut in_memory);
            store.done(written)?;
            self.0.resize(0)?;
        }
        Ok(())
    }
}

/// Puts batches that are all in memory into a file.
fn write(store: &Arc<Spill>, batches: &mut [&mut Batch]) -> io::Result<()> {
    let file = tempfile::Builder::new()
        .prefix("batches-")
        .tempfile_in(store.folder())?;
    let mut writer = BufWriter::new(&file);
    let mut ends = vec![0];
    for batch in &*batches {
        if let Place::Memory(rows, _) = &batch.place {
            let bytes = encode(rows).map_err(io::Error::other)?;
            writer.write_all(&bytes)?;
            ends.push(ends.last().unwrap_or(&0) + bytes.len() as u64);
        }
    }
    writer.flush()?;
    drop(writer);
    let written = Arc::new(Written {
        path: file.into_temp_path(),
        store: store.clone(),
    });
    for (batch, span) in batches.iter_mut().zip(ends.windows(2)) {
        batch.place = Place::File(written.clone(), span[0], span[1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::state::StateConfig;

    fn rows(first: i64, texts: &[Option<&str>]) -> RecordBatch {
        let fields = vec![
            Field::new("number", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ];
        let numbers = Int64Array::from_iter_values((first..).take(texts.len()));
        let texts = StringArray::from(texts.to_vec());
        let columns = vec![Arc::new(numbers) as _, Arc::new(texts) as _];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn memory(bytes: u64, folder: &std::path::Path) -> Arc<StateMemory> {
        Arc::new(StateMemory::new(StateConfig {
            memory: bytes,
            spill: Some(folder.to_owned()),
        }))
    }

    /// The files below a folder whose names begin so.
    fn files(folder: &std::path::Path) -> usize {
        let stores = std::fs::read_dir(folder).unwrap();
        let inside = stores.flat_map(|store| std::fs::read_dir(store.unwrap().path()).unwrap());
        let names = inside.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("batches-")).count()
    }

    #[test]
    fn what_is_too_much_is_read_from_a_file_that_goes_with_the_last_batch_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory(200, folder.path());
        let all = [rows(0, &[Some("a"), None]), rows(2, &[Some("longer")])];
        let mut held: Vec<Batch> = all.iter().cloned().map(Batch::new).collect();
        let mut batches = Batches::new(memory.clone());
        batches.settle(held.iter_mut()).unwrap();
        assert!(memory.used() > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let more = rows(3, &[Some(&"x".repeat(200))]);
        held.push(Batch::new(more.clone()));
        batches.settle(held.iter_mut()).unwrap();
        assert_eq!(memory.used(), 0);
        let read: Vec<_> = held.iter().map(|batch| batch.rows().unwrap()).collect();
        assert_eq!(read, [&all[..], &[more]].concat());
        assert_eq!(held.iter().map(Batch::num_rows).sum::<usize>(), 4);

        let last = held.pop();
        drop(held);
        assert_eq!(files(folder.path()), 1);
        drop(last);
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn a_file_that_is_gone_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let mut batch = Batch::new(rows(0, &[None]));
        let mut batches = Batches::new(memory(1, folder.path()));
        batches.settle(std::iter::once(&mut batch)).unwrap();
        let Place::File(file, ..) = &batch.place else {
            panic!("it is in memory");
        };
        std::fs::remove_file(&file.path).unwrap();
        let wrong = batch.rows().unwrap_err().to_string();
        assert!(wrong.contains("state cannot be kept in `"), "{wrong}");
    }
}
