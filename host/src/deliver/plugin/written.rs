//! What a partition was given, to be given again: in memory up to a size and in a temporary file above it, since the live
//! bytes of the data plane no longer count it.

use std::io::{Seek, SeekFrom};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use tempfile::SpooledTempFile;

/// What a partition may hold in memory; there can be hundreds of them.
const SPOOL_BYTES: usize = 256 << 10;

/// The batches of one partition, in order.
#[derive(Default)]
pub struct Written(Option<StreamWriter<SpooledTempFile>>);

impl Written {
    /// Keeps a batch behind the others.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if self.0.is_none() {
            let file = SpooledTempFile::new(SPOOL_BYTES);
            self.0 = Some(StreamWriter::try_new(file, &batch.schema())?);
        }
        let writer = self.0.as_mut().expect("just made");
        writer.write(batch)
    }

    /// Gives all batches to `give`, until it fails.
    pub fn give<E: From<ArrowError>>(
        &mut self,
        give: impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(writer) = &mut self.0 else {
            return Ok(());
        };
        let file = writer.get_mut();
        let given = read(file, give);
        // Whatever came of it, what is added later belongs at the end.
        file.seek(SeekFrom::End(0)).map_err(ArrowError::from)?;
        given
    }
}

fn read<E: From<ArrowError>>(
    file: &mut SpooledTempFile,
    mut give: impl FnMut(RecordBatch) -> Result<(), E>,
) -> Result<(), E> {
    file.rewind().map_err(ArrowError::from)?;
    for batch in StreamReader::try_new(file, None)? {
        give(batch?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(numbers: std::ops::Range<i64>) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    fn given(written: &mut Written) -> Vec<RecordBatch> {
        let mut given = Vec::new();
        let all = written.give(|batch| {
            given.push(batch);
            Ok::<_, ArrowError>(())
        });
        all.unwrap();
        given
    }

    #[test]
    fn what_was_added_is_given_again_and_again_however_large() {
        let mut written = Written::default();
        assert_eq!(given(&mut written), []);
        let mut expected = Vec::new();
        for size in [1, 0, 100_000, 7] {
            // A part of a batch is kept as that part.
            let batch = batch(0..size + 2).slice(1, size as usize);
            written.add(&batch).unwrap();
            expected.push(batch);
            assert_eq!(given(&mut written), expected);
            assert_eq!(given(&mut written), expected);
        }
    }

    #[test]
    fn what_is_added_after_a_failure_comes_behind_the_rest() {
        let mut written = Written::default();
        let batches = [batch(0..3), batch(3..5), batch(5..6)];
        written.add(&batches[0]).unwrap();
        written.add(&batches[1]).unwrap();
        let failed = written.give(|_| Err(ArrowError::ComputeError("no".into())));
        assert!(failed.is_err());
        written.add(&batches[2]).unwrap();
        assert_eq!(given(&mut written), batches);
    }
}
