//! Input that its sources could not give again, kept until its epochs are forgotten. The parts of an epoch lie behind one another in few objects, each
//! sealed for itself: a source cuts an epoch into many small ones, and each object is two syncs of a disk or a request to a bucket.

use super::record::{EpochRecord, KeptInput, sealed};
use super::records::{Records, input_name};
use crate::error::Failure;
use crate::ids::{Epoch, Generation, PartitionId};

/// An object is begun anew before it is larger than this, unless one part alone is.
const OBJECT_BYTES: usize = 16 << 20;

/// What is being kept of an epoch. All of it is durable when it is [finished](Self::finish).
#[derive(Debug)]
pub struct Keeping<'a> {
    records: &'a Records,
    epoch: Epoch,
    generation: Generation,
    /// The object that is being filled.
    object: u32,
    bytes: Vec<u8>,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(records: &'a Records, epoch: Epoch, generation: Generation) -> Self {
        Self {
            records,
            epoch,
            generation,
            object: 0,
            bytes: Vec::new(),
        }
    }

    /// Keeps a partition's input; the plan says where.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, content: Vec<u8>) -> Result<KeptInput, Failure> {
        let part = sealed(content);
        if !self.bytes.is_empty() && self.bytes.len() + part.len() > OBJECT_BYTES {
            self.write()?;
            self.object += 1;
            self.bytes.clear();
        }
        let kept = KeptInput {
            object: self.object,
            offset: self.bytes.len() as u64,
            bytes: part.len() as u64,
        };
        self.bytes.extend(part);
        Ok(kept)
    }

    /// Makes all of it durable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => self.write(),
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let name = input_name(self.epoch, self.generation, self.object);
        let written = self.records.storage.put(&name, &self.bytes);
        self.records.on_disk(written)
    }
}

impl Records {
    /// What was kept of a partition of a plan.
    pub(super) fn input(
        &self,
        plan: &EpochRecord,
        partition: PartitionId,
    ) -> Result<Vec<u8>, Failure> {
        let read = plan.reads.get(partition.0 as usize);
        let kept = read.and_then(|read| read.kept).ok_or_else(|| {
            Failure::external("its plan does not say where its input is kept")
                .at(plan.epoch, partition)
        })?;
        let name = input_name(plan.epoch, plan.generation, kept.object);
        self.part(&name, kept.offset..kept.offset.saturating_add(kept.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checkpoint::record::RecordedRead;
    use crate::checkpoint::records::{INPUT, name};
    use crate::checkpoint::storage::Location;
    use crate::ids::{BatchTime, Digest};
    use crate::receive::Range;

    const EPOCH: Epoch = Epoch(7);
    const GENERATION: Generation = Generation(2);

    /// The plan of an epoch of these parts, all kept.
    fn keep(records: &Records, parts: &[Vec<u8>]) -> EpochRecord {
        let mut keeping = Keeping::new(records, EPOCH, GENERATION);
        let reads = (0..).zip(parts).map(|(block, part)| RecordedRead {
            source: "in".into(),
            range: Range::Held {
                block,
                rows: 1,
                bytes: part.len() as u64,
            },
            kept: Some(keeping.add(part.clone()).unwrap()),
        });
        let reads = reads.collect();
        keeping.finish().unwrap();
        EpochRecord {
            epoch: EPOCH,
            generation: GENERATION,
            time: BatchTime(0),
            pipeline: Digest([0; 32]),
            reads,
            positions: BTreeMap::new(),
            state: None,
        }
    }

    fn objects(records: &Records) -> usize {
        records.storage.list(&name(INPUT, EPOCH)).unwrap().len()
    }

    fn content(records: &Records, plan: &EpochRecord) -> Result<Vec<Vec<u8>>, Failure> {
        let partitions = (0..plan.reads.len() as u32).map(PartitionId);
        partitions
            .map(|partition| records.input(plan, partition))
            .collect()
    }

    #[test]
    fn many_small_parts_of_an_epoch_are_one_object_and_large_ones_have_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::at(&Location::Folder(folder.path().into())).unwrap();
        let plan = keep(&records, &[]);
        assert_eq!((objects(&records), plan.reads.len()), (0, 0));
        let small: Vec<Vec<u8>> = (0..100).map(|part| vec![part; part as usize]).collect();
        let plan = keep(&records, &small);
        assert_eq!(objects(&records), 1);
        assert_eq!(content(&records, &plan).unwrap(), small);

        let large = [
            vec![1; 10],
            vec![2; OBJECT_BYTES + 1],
            vec![3; 10],
            vec![4; 20],
        ];
        let plan = keep(&records, &large);
        assert_eq!(objects(&records), 3);
        assert_eq!(content(&records, &plan).unwrap(), large);
    }

    #[test]
    fn what_is_not_as_it_was_kept_is_no_input() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::at(&Location::Folder(folder.path().into())).unwrap();
        let mut plan = keep(&records, &[b"one".to_vec(), b"two".to_vec()]);
        let object = input_name(EPOCH, GENERATION, 0);
        let whole = records.storage.get(&object).unwrap().unwrap();
        let mut damaged = whole.clone();
        damaged[0] ^= 1;
        records.storage.put(&object, &damaged).unwrap();
        assert!(records.input(&plan, PartitionId(0)).is_err());
        assert_eq!(records.input(&plan, PartitionId(1)).unwrap(), b"two");
        records
            .storage
            .put(&object, &whole[..whole.len() - 1])
            .unwrap();
        assert!(records.input(&plan, PartitionId(1)).is_err());
        plan.reads[0].kept = None;
        let said = records
            .input(&plan, PartitionId(0))
            .unwrap_err()
            .to_string();
        assert!(said.contains("does not say where"), "{said}");
    }
}
