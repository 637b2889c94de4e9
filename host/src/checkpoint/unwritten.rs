//! What a step's state becomes on its way to the storage: segments come in, encoded and sealed, and objects with names go out.

use std::collections::BTreeMap;

use super::segment::{InPack, Segment};
use crate::ids::{Epoch, NodeName, PartitionId};

/// A segment of more bytes is an object of its own: what lies with others is kept for as long as one of them is needed.
const PACKED_BYTES: usize = 64 << 10;
/// A pack of more bytes takes no more segments.
const PACK_BYTES: usize = 1 << 20;

/// What is to be written of a step and an epoch. Small segments are packed into one object: a disk syncs each file for itself, and a bucket answers
/// each request for itself.
#[derive(Debug)]
#[must_use = "a commit that names it is of no use without it"]
pub struct Unwritten {
    pub(super) node: NodeName,
    pub(super) epoch: Epoch,
    objects: BTreeMap<PartitionId, Vec<Object>>,
    pack: Option<Pack>,
}

/// Sealed bytes and their name.
#[derive(Debug)]
pub struct Object {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
struct Pack {
    first: PartitionId,
    last: PartitionId,
    object: Object,
}

impl Unwritten {
    /// Nothing yet.
    pub fn new(node: &NodeName, epoch: Epoch) -> Self {
        Self {
            node: node.clone(),
            epoch,
            objects: BTreeMap::new(),
            pack: None,
        }
    }

    /// Bytes of it.
    pub fn bytes(&self) -> usize {
        let packed = self.pack.iter().map(|pack| &pack.object);
        let objects = self.objects.values().flatten().chain(packed);
        objects.map(|object| object.bytes.len()).sum()
    }

    /// What is to be written. Each folder is a partition's, and has one writer at a time.
    pub fn folders(mut self) -> BTreeMap<PartitionId, Vec<Object>> {
        self.close();
        self.objects
    }

    /// Puts a segment into an object. All of a partition come one after the other.
    pub(super) fn put(&mut self, partition: PartitionId, segment: &mut Segment, bytes: Vec<u8>) {
        segment.bytes = bytes.len() as u64;
        // Which pack it is in can be seen by its last epoch.
        if bytes.len() > PACKED_BYTES || segment.last != self.epoch {
            let name = segment.object((&self.node, partition));
            let folder = self.objects.entry(partition).or_default();
            folder.push(Object { name, bytes });
            return;
        }
        let is_full = |pack: &Pack| pack.object.bytes.len() > PACK_BYTES;
        // Two packs never begin with the same partition.
        if self
            .pack
            .as_ref()
            .is_some_and(|pack| is_full(pack) && pack.last != partition)
        {
            self.close();
        }
        let (first, offset) = match &self.pack {
            Some(pack) => (pack.first, pack.object.bytes.len() as u64),
            None => (partition, 0),
        };
        segment.pack = Some(InPack { first, offset });
        let pack = self.pack.get_or_insert_with(|| Pack {
            first,
            last: partition,
            object: Object {
                name: segment.object((&self.node, partition)),
                bytes: Vec::new(),
            },
        });
        pack.last = partition;
        pack.object.bytes.extend(bytes);
    }

    fn close(&mut self) {
        if let Some(pack) = self.pack.take() {
            let folder = self.objects.entry(pack.first).or_default();
            folder.push(pack.object);
        }
    }
}
