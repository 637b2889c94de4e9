//! Decodes a block that the receiver has offered; in process 0, once.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::buffer::{Buffer, Segment};
use crate::error::Failure;
use crate::format::{Decoder, Numbering, Read, RecordFormat};
use crate::receive::{Range, Reader};

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

    fn read(
        &self,
        range: &Range,
        emit: &mut dyn FnMut(Read) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
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
        let origin = |position| self.buffer.origin(position);
        let mut decoder = Decoder::new(&self.format, *bytes, self.provenance, &origin, emit);
        for segment in segments {
            let decoded = match segment {
                Segment::Lines { first, bytes, .. } => {
                    decoder.lines(&bytes, Numbering::Lines(first.pack()))
                }
                Segment::TooLong { at, head } => decoder.too_long(&head, at.pack()),
            };
            if decoded.is_break() {
                return Ok(());
            }
        }
        // Whether the run is ending or not, there is no more.
        let _ = decoder.finish();
        Ok(())
    }

    fn load(&self, range: &Range, saved: &[u8]) -> Result<(), Failure> {
        let block = range.block().expect("a tcp source offers blocks alone");
        self.buffer.load(block, saved)
    }

    fn origin(&self, _range: &Range, position: u64) -> String {
        self.buffer.origin(position)
    }
}
