//! The keys of a table with what is kept of each: in memory, or, once that is too much, in a store on disk.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use fjall::Slice;
use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table};

use super::disk::OnDisk;
use super::memory::StateMemory;
use crate::error::Failure;

type Bytes = Box<[u8]>;

/// What an entry in memory takes beside its bytes: its slot in a table that is half full, and what the allocator adds.
const ENTRY: u64 = 64;
/// What a timer takes beside the key.
const TIMER: u64 = 64;
pub const TIMER_BYTES: usize = size_of::<i64>();

/// All keys of a table.
#[derive(Debug)]
pub struct Entries {
    place: Place,
    len: usize,
    memory: Arc<StateMemory>,
}

#[derive(Debug)]
enum Place {
    Memory(InMemory),
    Disk(OnDisk),
}

#[derive(Debug, Default)]
struct InMemory {
    slots: HashTable<Slot>,
    hasher: RandomState,
    timers: BTreeSet<(i64, Bytes)>,
    bytes: u64,
}

/// What is kept of a key.
#[derive(Debug)]
pub enum Entry<'a> {
    /// In memory.
    Slot(&'a Slot),
    /// Read from disk.
    Value(Slice),
}

/// A key with what is kept of it. There may be millions, so it is small, and its bytes are one allocation.
#[derive(Debug)]
pub struct Slot {
    /// The key, its state, and the time of its timer, if it has one.
    bytes: Bytes,
    key_bytes: u32,
    has_timer: bool,
}

impl Slot {
    fn new(key: &[u8], state: &[u8], timer: Option<i64>) -> Self {
        let timer = timer.map(i64::to_le_bytes);
        let timer_bytes = timer.as_ref().map_or(&[][..], |timer| timer);
        Self {
            bytes: [key, state, timer_bytes].concat().into(),
            key_bytes: u32::try_from(key.len()).expect("a key comes from an Arrow array"),
            has_timer: timer.is_some(),
        }
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_bytes as usize]
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.key_bytes as usize..]
    }

    fn size(&self) -> u64 {
        let timer = match self.has_timer {
            true => TIMER + u64::from(self.key_bytes),
            false => 0,
        };
        ENTRY + self.bytes.len() as u64 + timer
    }
}

impl Entry<'_> {
    /// Its state.
    pub fn state(&self) -> &[u8] {
        let (has_timer, rest) = self.parts();
        let end = rest.len() - if has_timer { TIMER_BYTES } else { 0 };
        &rest[..end]
    }

    /// When it is called without rows, in milliseconds since 1970.
    pub fn timer(&self) -> Option<i64> {
        let (has_timer, rest) = self.parts();
        let timer = rest.last_chunk().filter(|_| has_timer);
        timer.copied().map(i64::from_le_bytes)
    }

    /// Whether there is a timer, and the state with that behind it.
    fn parts(&self) -> (bool, &[u8]) {
        match self {
            Self::Slot(slot) => (slot.has_timer, slot.rest()),
            Self::Value(value) => {
                let (mark, rest) = value.split_first().expect("a mark stands before it");
                (*mark != 0, rest)
            }
        }
    }
}

/// What becomes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What becomes of its state: `Some(true)` takes the next state given, `Some(false)` has none any more.
    pub state: Option<bool>,
    /// What becomes of its timer. Only what has state has one.
    pub timer: Option<Option<i64>>,
}

/// How many keys a change has brought or taken.
pub type Difference = isize;

impl Entries {
    /// None; they are counted with all others in `memory`.
    pub fn new(memory: Arc<StateMemory>) -> Self {
        Self {
            place: Place::Memory(InMemory::default()),
            len: 0,
            memory,
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes room for the first keys.
    pub fn reserve(&mut self, keys: usize) {
        if let Place::Memory(memory) = &mut self.place
            && memory.slots.is_empty()
        {
            let hasher = &memory.hasher;
            memory
                .slots
                .reserve(keys, |slot| hasher.hash_one(slot.key()));
        }
    }

    /// What is kept of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry<'_>>, Failure> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.get(key).map(Entry::Slot)),
            Place::Disk(disk) => Ok(disk.get(key)?.map(Entry::Value)),
        }
    }

    /// Changes a key; `state` is what it is given.
    pub fn change(
        &mut self,
        key: &[u8],
        change: Change,
        state: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let difference = match &mut self.place {
            Place::Disk(disk) => disk.change(key, change, state)?,
            Place::Memory(memory) => {
                let before = memory.bytes;
                let difference = memory.change(key, change, state);
                let grown = memory.bytes.saturating_sub(before);
                self.memory.shrink(before.saturating_sub(memory.bytes));
                if grown > 0 && self.memory.grow(grown) {
                    self.spill()?;
                }
                difference
            }
        };
        self.len = self.len.saturating_add_signed(difference);
        Ok(())
    }

    /// When the first timer is due.
    pub fn next_timer(&self) -> Result<Option<i64>, Failure> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.timers.first().map(|(time, _)| *time)),
            Place::Disk(disk) => disk.next_timer(),
        }
    }

    /// The keys whose timers are due at a time, those due first first.
    pub fn due(&self, time: i64) -> Result<Vec<Cow<'_, [u8]>>, Failure> {
        match &self.place {
            Place::Memory(memory) => {
                let due = memory.timers.iter().take_while(|(due, _)| *due <= time);
                Ok(due.map(|(_, key)| Cow::Borrowed(key.as_ref())).collect())
            }
            Place::Disk(disk) => Ok(disk.due(time)?.into_iter().map(Cow::Owned).collect()),
        }
    }

    /// All keys, in no order.
    pub fn keys(&self) -> Result<Vec<Cow<'_, [u8]>>, Failure> {
        match &self.place {
            Place::Memory(memory) => {
                let slots = memory.slots.iter();
                Ok(slots.map(|slot| Cow::Borrowed(slot.key())).collect())
            }
            Place::Disk(disk) => disk.keys().map(|key| Ok(Cow::Owned(key?))).collect(),
        }
    }

    /// Moves all of it to disk, where it stays.
    fn spill(&mut self) -> Result<(), Failure> {
        let Place::Memory(memory) = &mut self.place else {
            return Ok(());
        };
        let InMemory { slots, bytes, .. } = std::mem::take(memory);
        let disk = OnDisk::new(self.memory.spill()?);
        for slot in slots {
            let entry = Entry::Slot(&slot);
            disk.put(slot.key(), None, Some((entry.state(), entry.timer())))?;
        }
        self.place = Place::Disk(disk);
        self.memory.shrink(bytes);
        Ok(())
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        if let Place::Memory(memory) = &self.place {
            self.memory.shrink(memory.bytes);
        }
    }
}

impl InMemory {
    fn get(&self, key: &[u8]) -> Option<&Slot> {
        let hash = self.hasher.hash_one(key);
        self.slots.find(hash, |slot| slot.key() == key)
    }

    fn change(&mut self, key: &[u8], change: Change, state: Option<&[u8]>) -> Difference {
        let (slots, hasher) = (&mut self.slots, &self.hasher);
        let hash_of = |slot: &Slot| hasher.hash_one(slot.key());
        let place = slots.entry(hasher.hash_one(key), |slot| slot.key() == key, hash_of);
        let before = match &place {
            hash_table::Entry::Occupied(slot) => Some(Entry::Slot(slot.get())),
            hash_table::Entry::Vacant(_) => None,
        };
        let timer_before = before.as_ref().and_then(Entry::timer);
        let after = becomes(before.as_ref(), change, state);
        let after = after.map(|(state, timer)| Slot::new(key, state, timer));
        let timer = after.as_ref().and_then(|slot| Entry::Slot(slot).timer());
        self.bytes += after.as_ref().map_or(0, Slot::size);
        let difference = match (place, after) {
            (hash_table::Entry::Occupied(slot), None) => {
                self.bytes -= slot.remove().0.size();
                -1
            }
            (hash_table::Entry::Occupied(mut slot), Some(after)) => {
                self.bytes -= std::mem::replace(slot.get_mut(), after).size();
                0
            }
            (hash_table::Entry::Vacant(place), Some(after)) => {
                place.insert(after);
                1
            }
            (hash_table::Entry::Vacant(_), None) => 0,
        };
        if timer != timer_before {
            if let Some(time) = timer_before {
                self.timers.remove(&(time, key.into()));
            }
            if let Some(time) = timer {
                self.timers.insert((time, key.into()));
            }
        }
        difference
    }
}

/// The state and the timer that a key has after a change; none if it goes, or is not there.
pub fn becomes<'a>(
    before: Option<&'a Entry<'_>>,
    change: Change,
    state: Option<&'a [u8]>,
) -> Option<(&'a [u8], Option<i64>)> {
    if change.state == Some(false) {
        return None;
    }
    let timer_before = before.and_then(Entry::timer);
    let state = state.or(before.map(Entry::state))?;
    Some((state, change.timer.unwrap_or(timer_before)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::state::StateConfig;
    use crate::state::disk::LONGEST_KEY;

    fn memory(bytes: u64) -> Arc<StateMemory> {
        Arc::new(StateMemory::new(StateConfig {
            memory: bytes,
            spill: None,
        }))
    }

    /// A key, and the state and timer that it is given, if it is not removed.
    type Step = (u8, Option<(Vec<u8>, Option<i64>)>);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // The twin is a map. The limit is crossed at any time, or from the beginning.
        #[test]
        fn it_makes_no_difference_when_entries_go_to_disk(
            limit in 0u64..4000,
            changes in prop::collection::vec(
                (0u8..20, prop::option::of((prop::collection::vec(any::<u8>(), 0..40), prop::option::of(-50i64..50)))),
                0..120,
            ),
        ) {
            let changes: Vec<Step> = changes;
            let memory = memory(limit);
            let mut entries = Entries::new(memory.clone());
            let mut twin = BTreeMap::new();
            for (number, (key, change)) in changes.into_iter().enumerate() {
                let key = vec![key; usize::from(key) + 1];
                match &change {
                    Some((state, timer)) => {
                        let put = Change { state: Some(true), timer: Some(*timer) };
                        entries.change(&key, put, Some(state)).unwrap();
                    }
                    None => {
                        let gone = Change { state: Some(false), timer: None };
                        entries.change(&key, gone, None).unwrap();
                    }
                }
                match change {
                    Some(entry) => drop(twin.insert(key, entry)),
                    None => drop(twin.remove(&key)),
                }
                if number % 10 != 0 {
                    continue;
                }
                prop_assert_eq!(entries.len(), twin.len());
                let mut keys: Vec<Vec<u8>> = entries.keys().unwrap().into_iter().map(Cow::into_owned).collect();
                keys.sort_unstable();
                prop_assert!(keys.iter().eq(twin.keys()));
                for (key, entry) in &twin {
                    let found = entries.get(key).unwrap();
                    let found = found.map(|found| (found.state().to_vec(), found.timer()));
                    prop_assert_eq!(found.as_ref(), Some(entry));
                }
                let mut timers: Vec<_> = twin.iter().filter_map(|(key, (_, timer))| Some(((*timer)?, key.clone()))).collect();
                timers.sort_unstable();
                prop_assert_eq!(entries.next_timer().unwrap(), timers.first().map(|(time, _)| *time));
                let due: Vec<Vec<u8>> = entries.due(7).unwrap().into_iter().map(Cow::into_owned).collect();
                let expected = timers.into_iter().filter(|(time, _)| *time <= 7).map(|(_, key)| key);
                prop_assert_eq!(due, expected.collect::<Vec<_>>());
            }
            drop(entries);
            // Every byte that was counted was counted off again.
            prop_assert_eq!(memory.used(), 0);
        }
    }

    #[test]
    fn a_key_too_long_for_the_disk_is_refused_by_its_length() {
        let mut entries = Entries::new(memory(0));
        let put = Change {
            state: Some(true),
            timer: Some(Some(1)),
        };
        let key = |bytes| vec![7; bytes];
        entries.change(&key(LONGEST_KEY), put, Some(&[])).unwrap();
        let longer = entries.change(&key(LONGEST_KEY + 1), put, Some(&[]));
        let failure = longer.unwrap_err();
        assert!(failure.message.contains("65524 bytes"), "{failure}");
    }
}
