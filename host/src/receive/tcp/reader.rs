//! Decodes a block that the receiver has offered; in process 0, once.

use std::iter;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::buffer::{Buffer, Segment};
use crate::error::Failure;
use crate::format::{Decoder, Numbering, RecordFormat};
use crate::receive::{Parts, Range, Reader};

/// The reader of a `tcp` source.
#[derive(Debug)]
pub struct TcpReader {
    format: RecordFormat,
    schema: SchemaRef,
    provenance: bool,
    buffer: Arc<Buffer>,
}

impl TcpReader {
    /// For blocks of `buffer`.
    pub fn new(format: RecordFormat, provenance: bool, buffer: Arc<Buffer>) -> Self {
        let schema = format.schema();
        Self {
            format,
            schema,
            provenance,
            buffer,
        }
    }
}

impl Reader for TcpReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn read(&self, range: &Range) -> Result<Parts, Failure> {
        let Range::Held { block, bytes, .. } = range else {
            return Err(Failure::internal(format!(
                "a tcp source was given {range:?} to read"
            )));
        };
        let segments = self.buffer.take(*block).ok_or_else(|| {
            Failure::internal(format!(
                "block {block} of a tcp source is not held in this process"
            ))
        })?;
        let buffer = self.buffer.clone();
        let origin = Box::new(move |position| buffer.origin(position));
        let mut decoder = Decoder::new(&self.format, *bytes, self.provenance, origin);
        let mut segments = segments.into_iter();
        Ok(Box::new(iter::from_fn(move || {
            loop {
                if let Some(part) = decoder.part() {
                    return Some(Ok(part));
                }
                match segments.next() {
                    Some(Segment::Lines { first, bytes, .. }) => {
                        decoder.lines(&bytes, Numbering::Lines(first.pack()));
                    }
                    Some(Segment::TooLong { at, head }) => decoder.too_long(&head, at.pack()),
                    None => {
                        decoder.finish();
                        return decoder.part().map(Ok);
                    }
                }
            }
        })))
    }

    fn load(&self, range: &Range, saved: &[u8]) -> Result<(), Failure> {
        let block = range.block().expect("a tcp source offers blocks alone");
        self.buffer.load(block, saved)
    }

    fn origin(&self, _range: &Range, position: u64) -> String {
        self.buffer.origin(position)
    }
}
