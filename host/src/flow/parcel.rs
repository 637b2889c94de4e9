//! What moves along the edges of the data plane: a batch with its address, and its encoding between processes.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

use super::context::Charge;
use crate::error::Failure;
use crate::ids::{BatchTime, PartitionId, WorkerIndex};
use crate::receive::{Range, Readers};

/// Rows of one partition of one epoch (the epoch is the timely time they travel at).
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The worker it goes to, where it goes over an exchange.
    pub target: WorkerIndex,
    /// The partition it belongs to.
    pub partition: PartitionId,
    /// The partition it was made from; differs from `partition` only across an exchange.
    pub from: PartitionId,
    /// Counts the parcels of one `from` on one edge.
    pub sequence: u32,
    /// Whether it is the last of its partition. A last parcel may be empty.
    pub last: bool,
    /// The epoch's batch time.
    pub time: BatchTime,
    /// The rows.
    pub batch: RecordBatch,
    /// Where the rows come from; kept only where rows may be rejected, lost at an exchange.
    pub provenance: Option<Provenance>,
    /// Holds the batch's bytes on the gauge of live bytes.
    pub charge: Option<Arc<Charge>>,
}

/// Where the rows of a parcel come from.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The source node, by index in the plan.
    pub source: usize,
    /// The range of its input.
    pub range: Arc<Range>,
    /// One position a row, as the source's reader counts.
    pub positions: ArrayRef,
}

impl Provenance {
    /// Where a row was found, for a person.
    pub fn origin(&self, readers: &Readers, row: usize) -> Option<String> {
        let position = self.positions.as_primitive_opt::<UInt64Type>()?.value(row);
        Some(readers.get(&self.source)?.origin(&self.range, position))
    }
}

impl Parcel {
    /// Where a row was found, for a person.
    pub fn origin(&self, readers: &Readers, row: usize) -> Option<String> {
        self.provenance.as_ref()?.origin(readers, row)
    }

    /// A failure over these rows, of which `before` came earlier in the partition, with its row's place in the partition
    /// and where that row was found.
    pub fn placed(&self, mut failure: Failure, readers: &Readers, before: u64) -> Failure {
        if let Some(row) = &mut failure.place.row {
            failure.place.origin = self.origin(readers, *row as usize);
            *row += before;
        }
        failure
    }

    /// An empty parcel that ends its partition.
    pub fn end_of(
        partition: PartitionId,
        time: BatchTime,
        sequence: u32,
        batch: RecordBatch,
    ) -> Self {
        Self {
            target: WorkerIndex(0),
            partition,
            from: partition,
            sequence,
            last: true,
            time,
            batch,
            provenance: None,
            charge: None,
        }
    }
}

/// Parcels as timely's container.
#[derive(Debug, Default)]
pub struct Parcels {
    items: Vec<Parcel>,
    /// timely asks for the length before it asks for the bytes: encode once.
    encoded: OnceCell<Vec<u8>>,
}

impl Parcels {
    /// A container of one.
    pub fn one(parcel: Parcel) -> Self {
        Self::from(vec![parcel])
    }

    /// Takes the parcels out.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Parcel> {
        self.encoded.take();
        self.items.drain(..)
    }
}

impl From<Vec<Parcel>> for Parcels {
    fn from(items: Vec<Parcel>) -> Self {
        Self {
            items,
            encoded: OnceCell::new(),
        }
    }
}

impl Clone for Parcels {
    fn clone(&self) -> Self {
        Self::from(self.items.clone())
    }
}

impl Accountable for Parcels {
    fn record_count(&self) -> i64 {
        self.items.len() as i64
    }
}

/// Bytes of a parcel's header on the wire, all little-endian: target u32, partition u32, from u32, sequence u32, last u32,
/// reserved u32, time i64, length of the Arrow IPC stream u64.
const HEADER: usize = 6 * 4 + 8 + 8;

impl ContainerBytes for Parcels {
    fn from_bytes(bytes: Bytes) -> Self {
        // timely gives no way to report an error here. The bytes come from our own encoder over a checked
        // connection, so a failure is a bug, and a panic ends the run with a message.
        Self::from(decode(&bytes).expect("a peer of the same version encoded these parcels"))
    }

    fn length_in_bytes(&self) -> usize {
        self.encoded.get_or_init(|| encode(&self.items)).len()
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        writer
            .write_all(self.encoded.get_or_init(|| encode(&self.items)))
            .expect("timely's buffers take what they were sized for");
    }
}

fn encode(items: &[Parcel]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        for word in [
            item.target.0 as u32,
            item.partition.0,
            item.from.0,
            item.sequence,
            u32::from(item.last),
            0,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&item.time.0.to_le_bytes());
        let length_at = bytes.len();
        bytes.extend_from_slice(&[0; 8]);
        let start = bytes.len();
        let mut writer = StreamWriter::try_new(&mut bytes, item.batch.schema_ref())
            .expect("every schema of the data plane has an IPC form");
        writer
            .write(&item.batch)
            .expect("writing to memory does not fail");
        writer.finish().expect("writing to memory does not fail");
        drop(writer);
        let length = (bytes.len() - start) as u64;
        bytes[length_at..start].copy_from_slice(&length.to_le_bytes());
        // timely wants multiples of eight; IPC pads to them as well.
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<Vec<Parcel>, String> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let header = bytes.get(at..at + HEADER).ok_or("a header is cut off")?;
        let word = |index: usize| {
            u32::from_le_bytes(
                header[index * 4..index * 4 + 4]
                    .try_into()
                    .expect("four bytes"),
            )
        };
        let wide = |offset: usize| {
            u64::from_le_bytes(header[offset..offset + 8].try_into().expect("eight bytes"))
        };
        let length = wide(32) as usize;
        let start = at + HEADER;
        let stream = bytes
            .get(start..start + length)
            .ok_or("a batch is cut off")?;
        let batch = StreamReader::try_new(stream, None)
            .and_then(|mut reader| reader.next().transpose())
            .map_err(|error| error.to_string())?
            .ok_or("a batch is missing")?;
        items.push(Parcel {
            target: WorkerIndex(word(0) as usize),
            partition: PartitionId(word(1)),
            from: PartitionId(word(2)),
            sequence: word(3),
            last: word(4) != 0,
            time: BatchTime(wide(24) as i64),
            batch,
            provenance: None,
            charge: None,
        });
        at = (start + length).next_multiple_of(8);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn parcels_survive_the_wire() {
        let batch = |words: Vec<Option<&str>>| {
            let numbers = Int64Array::from_iter_values(0..words.len() as i64);
            RecordBatch::try_from_iter_with_nullable([
                ("word", Arc::new(StringArray::from(words)) as ArrayRef, true),
                ("n", Arc::new(numbers) as ArrayRef, false),
            ])
            .unwrap()
        };
        let parcels: Vec<Parcel> = [vec![Some("a"), None, Some("ccc")], vec![]]
            .into_iter()
            .enumerate()
            .map(|(index, words)| Parcel {
                target: WorkerIndex(index + 3),
                partition: PartitionId(7),
                from: PartitionId(9),
                sequence: index as u32,
                last: index == 1,
                time: BatchTime(-5),
                batch: batch(words),
                provenance: None,
                charge: None,
            })
            .collect();
        let sent = Parcels::from(parcels.clone());
        let mut wire = Vec::new();
        assert_eq!(sent.length_in_bytes() % 8, 0);
        sent.into_bytes(&mut wire);
        assert_eq!(wire.len(), sent.length_in_bytes());
        let received = decode(&wire).unwrap();
        assert_eq!(received.len(), 2);
        for (received, sent) in received.iter().zip(&parcels) {
            assert_eq!(received.target, sent.target);
            assert_eq!(received.partition, sent.partition);
            assert_eq!(received.from, sent.from);
            assert_eq!(received.sequence, sent.sequence);
            assert_eq!(received.last, sent.last);
            assert_eq!(received.time, sent.time);
            assert_eq!(received.batch, sent.batch);
        }
    }
}
