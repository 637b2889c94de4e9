//! The state of all steps: what each commit knows of it, and where its segments are written and read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::segment::{self, InPack, PartitionState, STATE, Segment};
use super::storage::Storage;
use super::unwritten::{Object, Unwritten};
use super::{Records, record};
use crate::batch::{self, name_of};
use crate::error::Failure;
use crate::ids::{Epoch, Generation, NodeName, PartitionId};

/// What every step of a pipeline remembers, after an epoch.
pub type Manifest = BTreeMap<NodeName, NodeState>;

/// What one step remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The key's columns.
    pub keys: Vec<ColumnRecord>,
    /// The state's columns, by the number of their meaning; older numbers may still be in segments.
    pub versions: BTreeMap<u32, Vec<ColumnRecord>>,
    /// By partition; one that never had any state is not there.
    pub partitions: BTreeMap<PartitionId, PartitionState>,
}

/// A column of a key or state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRecord {
    /// Its name.
    pub name: String,
    /// Its type, as plugins call it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

impl ColumnRecord {
    /// Those of a schema.
    pub fn of(schema: &Schema) -> Vec<Self> {
        let fields = schema.fields().iter();
        fields
            .map(|field| Self {
                name: field.name().clone(),
                data_type: name_of(field),
                nullable: field.is_nullable(),
            })
            .collect()
    }

    /// The pane of a window, which stands before its key.
    pub fn of_window(length: i64, slide: i64) -> Self {
        Self {
            name: "pane".to_owned(),
            data_type: format!("window of {length} ms every {slide} ms"),
            nullable: false,
        }
    }
}

/// What a step of the pipeline as it is now remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    /// The key's columns.
    pub keys: Vec<ColumnRecord>,
    /// The state's columns.
    pub columns: Vec<ColumnRecord>,
    /// The number of their meaning.
    pub version: u32,
    /// Older numbers that it can make today's state of.
    pub migrates_from: Vec<u32>,
}

impl StateRecord {
    /// Why what is kept cannot be used by this step.
    pub fn refuses(&self, kept: &NodeState) -> Option<String> {
        if kept.keys != self.keys {
            let differs = difference(&kept.keys, &self.keys);
            return Some(format!("its state is kept by another key: {differs}"));
        }
        let needed = kept.partitions.values().flat_map(|state| &state.segments);
        let needed: BTreeSet<u32> = needed.map(|segment| segment.version).collect();
        for version in needed {
            let columns = kept.versions.get(&version).map_or(&[][..], Vec::as_slice);
            if version == self.version && columns != self.columns {
                let differs = difference(columns, &self.columns);
                return Some(format!(
                    "its state of version {version} has other columns than the plugin's of the same version: {differs}"
                ));
            }
            if version != self.version && !self.migrates_from.contains(&version) {
                let differs = difference(columns, &self.columns);
                return Some(format!(
                    "its state is of version {version}, the plugin's is {}, and the plugin does not migrate it: {differs}",
                    self.version
                ));
            }
        }
        None
    }
}

/// Leaves of the state what the steps of the pipeline can go on with, as they keep it.
pub(super) fn adapt(
    records: &Records,
    state: &mut Manifest,
    states: &BTreeMap<NodeName, StateRecord>,
    accept_changes: bool,
) -> Result<(), Failure> {
    for (node, kept) in std::mem::take(state) {
        let refusal = match states.get(&node) {
            _ if kept.partitions.is_empty() => continue,
            None => Some("it remembered something, and does not any more".to_owned()),
            Some(now) => now.refuses(&kept),
        };
        match refusal {
            None => drop(state.insert(node, kept)),
            Some(_) if accept_changes => {}
            Some(reason) => {
                let path = &records.location;
                let message = format!("the checkpoint in `{path}` cannot be used: {reason}");
                return Err(Failure::user(message).at_node(&node).help(
                    "use the plugin's earlier version, give it a `migrate`, or confirm with --accept-changes: the step's state is then forgotten",
                ));
            }
        }
    }
    for (node, now) in states {
        let kept = state.entry(node.clone()).or_default();
        kept.keys.clone_from(&now.keys);
        kept.versions.insert(now.version, now.columns.clone());
    }
    Ok(())
}

/// How columns differ, for a person.
fn difference(kept: &[ColumnRecord], now: &[ColumnRecord]) -> String {
    let shown = |column: &ColumnRecord| {
        let null = if column.nullable { "?" } else { "" };
        format!("`{}: {}{null}`", column.name, column.data_type)
    };
    let only = |these: &[ColumnRecord], those: &[ColumnRecord]| -> Vec<String> {
        let of_these = these.iter().filter(|column| !those.contains(column));
        of_these.map(shown).collect()
    };
    let (gone, new) = (only(kept, now), only(now, kept));
    match (gone.is_empty(), new.is_empty()) {
        (true, true) => "the columns are in another order".to_owned(),
        (false, true) => format!("{} is gone", gone.join(", ")),
        (true, false) => format!("{} is new", new.join(", ")),
        (false, false) => format!("{} is gone, {} is new", gone.join(", "), new.join(", ")),
    }
}

/// Where a process writes and reads the state of its partitions. Every partition has one writer.
#[derive(Debug)]
pub struct StateStore {
    records: Records,
    generation: Generation,
}

impl StateStore {
    /// That of a checkpoint; what is written belongs to this start.
    pub(super) fn new(records: Records, generation: Generation) -> Self {
        Self {
            records,
            generation,
        }
    }

    /// Adds what the epoch changed of a table of the step, and puts small segments together. `keys` is how many columns the key has.
    ///
    /// # Errors
    /// When a segment to be put together cannot be read.
    pub fn add(
        &self,
        unwritten: &mut Unwritten,
        partition: PartitionId,
        segments: &mut Vec<Segment>,
        delta: &RecordBatch,
        version: u32,
        keys: usize,
    ) -> Result<(), Failure> {
        let (node, epoch) = (unwritten.node.clone(), unwritten.epoch);
        let place = (&node, partition);
        let of = |first, last, batch: &RecordBatch| Segment {
            first,
            last,
            generation: self.generation,
            version,
            pane: None,
            rows: batch.num_rows() as u64,
            bytes: 0,
            pack: None,
        };
        let mut newest = delta.clone();
        segments.push(of(epoch, epoch, &newest));
        while segment::should_merge(segments) {
            let [.., older, newer] = segments.as_slice() else {
                break;
            };
            let (first, last) = (older.first, newer.last);
            let older = self.read(place, older)?;
            let below = segments.len() > 2;
            newest = segment::merge(&older, &newest, keys, below).map_err(bug)?;
            segments.truncate(segments.len() - 2);
            segments.push(of(first, last, &newest));
        }
        // Only the last one: no commit would name the others, and nobody remove them.
        let last = segments.pop().expect("it was just added");
        segments.push(self.put(unwritten, partition, last, &newest)?);
        Ok(())
    }

    /// Adds parts that are new; after them `all` is what there is.
    ///
    /// # Errors
    /// When `all` has one that is neither new nor was there.
    pub fn replace(
        &self,
        unwritten: &mut Unwritten,
        partition: PartitionId,
        segments: &mut Vec<Segment>,
        new: Vec<(Segment, RecordBatch)>,
        all: Vec<Segment>,
    ) -> Result<(), Failure> {
        for (segment, batch) in new {
            segments.push(self.put(unwritten, partition, segment, &batch)?);
        }
        let written = std::mem::take(segments);
        for one in all {
            let known = |other: &&Segment| (other.first, other.last) == (one.first, one.last);
            let known = written.iter().find(known).ok_or_else(|| {
                let (first, last) = (one.first.0, one.last.0);
                Failure::internal(format!(
                    "the state of epochs {first} to {last} was never kept"
                ))
            })?;
            segments.push(known.clone());
        }
        Ok(())
    }

    /// A segment of this start, as it is when it is written.
    fn put(
        &self,
        unwritten: &mut Unwritten,
        partition: PartitionId,
        segment: Segment,
        batch: &RecordBatch,
    ) -> Result<Segment, Failure> {
        let bytes = record::sealed(batch::encode(batch).map_err(bug)?);
        let mut segment = Segment {
            generation: self.generation,
            rows: batch.num_rows() as u64,
            ..segment
        };
        unwritten.put(partition, &mut segment, bytes);
        Ok(segment)
    }

    /// Writes all of it, one folder after the other.
    ///
    /// # Errors
    /// When that fails.
    pub fn write_all(&self, unwritten: Unwritten) -> Result<(), Failure> {
        let folders = unwritten.folders();
        folders.values().try_for_each(|folder| self.write(folder))
    }

    /// Writes what is for a partition's folder. Only this process writes its partitions' segments of this generation: nobody else's is replaced.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, folder: &[Object]) -> Result<(), Failure> {
        folder.iter().try_for_each(|object| {
            let written = self.records.storage.put(&object.name, &object.bytes);
            self.records.on_disk(written)
        })
    }

    /// The rows of a segment.
    ///
    /// # Errors
    /// When it is not there as it was.
    pub fn read(
        &self,
        place: (&NodeName, PartitionId),
        segment: &Segment,
    ) -> Result<RecordBatch, Failure> {
        let (name, content) = content(&self.records, place, segment)?;
        batch::decode(content).map_err(|wrong| self.records.damaged(&format!("`{name}` {wrong}")))
    }

    /// The keys of a partition that are live, each with its timer, its key and its state, as `keys` columns of key: the newest
    /// segment's first. Of a window, the parts of its panes.
    ///
    /// # Errors
    /// When a segment is not there as it was.
    pub fn rows(
        &self,
        place: (&NodeName, PartitionId),
        state: &PartitionState,
        keys: usize,
    ) -> Result<Vec<(Segment, RecordBatch)>, Failure> {
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        for segment in state.segments.iter().rev() {
            let batch = self.read(place, segment)?;
            let batch = match segment.pane {
                Some(_) => batch,
                None => segment::unseen(&batch, keys, &mut seen).map_err(bug)?,
            };
            rows.push((segment.clone(), batch));
        }
        Ok(rows)
    }
}

/// The objects that starts before `own` wrote of epochs after `committed`, which they never committed.
pub(super) fn orphans(
    storage: &dyn Storage,
    own: Generation,
    committed: Option<Epoch>,
) -> io::Result<Vec<String>> {
    let mut orphans = Vec::new();
    for node in storage.list(STATE)? {
        for below in storage.list(&format!("{STATE}/{node}"))? {
            let folder = format!("{STATE}/{node}/{below}");
            let objects = storage.list(&folder)?.into_iter();
            let is_orphan = |name: &String| {
                let written = Segment::written(name);
                written.is_some_and(|(epoch, by)| {
                    by < own && committed.is_none_or(|last| epoch > last)
                })
            };
            let found = objects.filter(is_orphan);
            orphans.extend(found.map(|name| format!("{folder}/{name}")));
        }
    }
    Ok(orphans)
}

/// The same state in segments of a start's own, which are written here.
pub(super) fn copied(
    records: &Records,
    mut state: Manifest,
    own: Generation,
) -> Result<Manifest, Failure> {
    for (node, kept) in &mut state {
        for (partition, of_partition) in &mut kept.partitions {
            for segment in &mut of_partition.segments {
                let place = (node, *partition);
                let (_, bytes) = content(records, place, segment)?;
                (segment.generation, segment.pack) = (own, None);
                let name = segment.object(place);
                records.on_disk(records.storage.put(&name, &record::sealed(bytes)))?;
            }
        }
    }
    Ok(state)
}

/// The objects of a manifest that a later one does not need.
pub(super) fn superseded(before: &Manifest, after: &Manifest) -> Vec<String> {
    let (mut names, needed) = (names(before), names(after));
    names.retain(|name| !needed.contains(name));
    names.into_iter().collect()
}

/// The names of all objects of a manifest.
pub(super) fn names(manifest: &Manifest) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (node, state) in manifest {
        for (partition, state) in &state.partitions {
            let segments = state.segments.iter();
            names.extend(segments.map(|segment| segment.object((node, *partition))));
        }
    }
    names
}

/// What a segment holds, and the name of its object.
fn content(
    records: &Records,
    place: (&NodeName, PartitionId),
    segment: &Segment,
) -> Result<(String, Vec<u8>), Failure> {
    let name = segment.object(place);
    let content = match segment.pack {
        None => records.content(&name)?,
        Some(InPack { offset, .. }) => {
            records.part(&name, offset..offset.saturating_add(segment.bytes))?
        }
    };
    Ok((name, content))
}

fn bug(error: ArrowError) -> Failure {
    Failure::internal(format!("state could not be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, &str)]) -> Vec<ColumnRecord> {
        let columns = columns.iter().map(|(name, data_type)| ColumnRecord {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
            nullable: false,
        });
        columns.collect()
    }

    fn kept(version: u32) -> NodeState {
        let segment = Segment {
            first: Epoch(0),
            last: Epoch(0),
            generation: Generation(1),
            version,
            pane: None,
            rows: 1,
            bytes: 1,
            pack: None,
        };
        let state = PartitionState {
            segments: vec![segment],
            next_timer: None,
        };
        NodeState {
            keys: columns(&[("word", "utf8")]),
            versions: BTreeMap::from([(version, columns(&[("n", "int64")]))]),
            partitions: BTreeMap::from([(PartitionId(0), state)]),
        }
    }

    #[test]
    fn state_goes_on_where_it_is_the_same_or_migrated_and_is_refused_by_name_where_not() {
        let now = |state: &[(&str, &str)], version, migrates_from: &[u32]| StateRecord {
            keys: columns(&[("word", "utf8")]),
            columns: columns(state),
            version,
            migrates_from: migrates_from.to_vec(),
        };
        let same = now(&[("n", "int64")], 1, &[]);
        assert_eq!(same.refuses(&kept(1)), None);
        let migrating = now(&[("total", "float64")], 2, &[1]);
        assert_eq!(migrating.refuses(&kept(1)), None);
        let other = now(&[("total", "float64")], 2, &[])
            .refuses(&kept(1))
            .unwrap();
        assert!(
            other.contains("`n: int64` is gone, `total: float64` is new"),
            "{other}"
        );
        let unraised = now(&[("n", "float64")], 1, &[]).refuses(&kept(1)).unwrap();
        assert!(unraised.contains("other columns"), "{unraised}");
        let rekeyed = StateRecord {
            keys: columns(&[("user", "utf8")]),
            ..same
        };
        assert!(rekeyed.refuses(&kept(1)).unwrap().contains("another key"));
    }
}
