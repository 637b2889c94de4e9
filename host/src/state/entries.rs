//! The keys of a table with what is kept of each: in memory, or, once that is too much, in a store on disk.

use std::borrow::Cow;
use std::sync::Arc;

use super::disk::{OnDisk, Value};
use super::memory::StateMemory;
use super::records::{Address, Records};
use crate::error::Failure;

/// All keys of a table.
#[derive(Debug)]
pub struct Entries {
    place: Place,
    len: usize,
    /// Bytes that are counted in `memory`.
    counted: u64,
    memory: Arc<StateMemory>,
}

#[derive(Debug)]
enum Place {
    Memory(Records),
    Disk(OnDisk),
}

/// What is kept of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its state.
    pub state: &'a [u8],
    /// When it is called without rows, in milliseconds since 1970.
    pub timer: Option<i64>,
}

/// A key that was looked up: where it is, or what was read of it. Holds until the entries are [settled](Entries::settle).
#[derive(Debug)]
pub enum Held {
    Record(Address),
    Value(Value),
}

/// What becomes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What becomes of its state: `Some(true)` takes the next state given, `Some(false)` has none any more.
    pub state: Option<bool>,
    /// What becomes of its timer. Only what has state has one.
    pub timer: Option<Option<i64>>,
}

impl Entries {
    /// None; they are counted with all others in `memory`.
    pub fn new(memory: Arc<StateMemory>) -> Self {
        Self {
            place: Place::Memory(Records::default()),
            len: 0,
            counted: 0,
            memory,
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Looks keys up.
    pub fn find(&self, keys: &[&[u8]]) -> Result<Vec<Option<Held>>, Failure> {
        match &self.place {
            Place::Memory(records) => {
                let found = records.find(keys).into_iter();
                Ok(found.map(|found| found.map(Held::Record)).collect())
            }
            Place::Disk(disk) => {
                let found = keys.iter().map(|key| disk.get(key));
                let held = found.map(|found| Ok(found?.map(Held::Value)));
                held.collect()
            }
        }
    }

    /// What is kept of a key that was found.
    pub fn entry<'a>(&'a self, held: &'a Held) -> Entry<'a> {
        match (&self.place, held) {
            (_, Held::Value(value)) => value.entry(),
            (Place::Memory(records), Held::Record(address)) => records.entry(*address),
            (Place::Disk(_), Held::Record(_)) => unreachable!("only `settle` goes to disk"),
        }
    }

    /// Changes a key that was looked up; `state` is what it is given.
    pub fn change(
        &mut self,
        held: &mut Option<Held>,
        key: &[u8],
        change: Change,
        state: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let before = held.is_some();
        *held = match &mut self.place {
            Place::Memory(records) => {
                let place = held.take().map(|held| match held {
                    Held::Record(address) => address,
                    Held::Value(_) => unreachable!("what is in memory was found there"),
                });
                let now = records.change(place, key, change, state);
                now.map(Held::Record)
            }
            Place::Disk(disk) => {
                let value = held.take().map(|held| match held {
                    Held::Value(value) => value,
                    Held::Record(_) => unreachable!("only `settle` moves it to disk"),
                });
                let now = disk.change(value, key, change, state)?;
                now.map(Held::Value)
            }
        };
        self.len = self.len + usize::from(held.is_some()) - usize::from(before);
        Ok(())
    }

    /// Puts what has changed where it stays. What was found before is void.
    pub fn settle(&mut self) -> Result<(), Failure> {
        let records = match &mut self.place {
            Place::Memory(records) => records,
            Place::Disk(disk) => return disk.flush(),
        };
        records.compact();
        let bytes = records.bytes();
        let is_too_much = self.memory.resize(self.counted, bytes);
        self.counted = bytes;
        if is_too_much && self.len > 0 {
            let disk = OnDisk::new(self.memory.spill()?, records)?;
            self.place = Place::Disk(disk);
            self.memory.resize(self.counted, 0);
            self.counted = 0;
        }
        Ok(())
    }

    /// When the first timer is due.
    pub fn next_timer(&self) -> Result<Option<i64>, Failure> {
        match &self.place {
            Place::Memory(records) => Ok(records.timers().next().map(|(time, _)| time)),
            Place::Disk(disk) => disk.next_timer(),
        }
    }

    /// The keys whose timers are due at a time, those due first first.
    pub fn due(&self, time: i64) -> Result<Vec<Cow<'_, [u8]>>, Failure> {
        match &self.place {
            Place::Memory(records) => {
                let due = records.timers().take_while(|(due, _)| *due <= time);
                Ok(due.map(|(_, key)| Cow::Borrowed(key)).collect())
            }
            Place::Disk(disk) => Ok(disk.due(time)?.into_iter().map(Cow::Owned).collect()),
        }
    }

    /// All keys, in no order.
    pub fn keys(&self) -> Result<Vec<Cow<'_, [u8]>>, Failure> {
        match &self.place {
            Place::Memory(records) => {
                Ok(records.iter().map(|(key, _)| Cow::Borrowed(key)).collect())
            }
            Place::Disk(disk) => disk.keys().map(|key| Ok(Cow::Owned(key?))).collect(),
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.memory.resize(self.counted, 0);
    }
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

    fn changed(entries: &mut Entries, key: &[u8], new: Option<Entry<'_>>) -> Result<(), Failure> {
        let mut held = entries.find(&[key])?.remove(0);
        let change = Change {
            state: Some(new.is_some()),
            timer: new.map(|new| new.timer),
        };
        entries.change(&mut held, key, change, new.map(|new| new.state))?;
        // What is held is what there is now, before it is settled and after.
        let now = held.as_ref().map(|held| entries.entry(held));
        assert_eq!(now, new);
        Ok(())
    }

    /// A key, the state and timer that it is given, if it is not removed, and whether the epoch ends there.
    type Step = (u8, Option<(Vec<u8>, Option<i64>)>, bool);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        // The twin is a map. The limit is crossed at any time, or from the beginning, or never.
        #[test]
        fn it_makes_no_difference_when_entries_go_to_disk(
            limit in prop_oneof![0u64..20_000, Just(u64::MAX)],
            changes in prop::collection::vec(
                (
                    0u8..20,
                    prop::option::weighted(0.8, (prop::collection::vec(any::<u8>(), 0..400), prop::option::of(-50i64..50))),
                    prop::bool::weighted(0.3),
                ),
                0..300,
            ),
        ) {
            let changes: Vec<Step> = changes;
            let memory = memory(limit);
            let mut entries = Entries::new(memory.clone());
            let mut twin = BTreeMap::new();
            // Keys changed since the entries were settled: a key is changed once an epoch.
            let mut epoch = std::collections::BTreeSet::new();
            for (key, change, ends) in changes {
                let key = vec![key; usize::from(key) + 1];
                if !epoch.insert(key.clone()) {
                    continue;
                }
                let new = change.as_ref().map(|(state, timer)| Entry { state, timer: *timer });
                changed(&mut entries, &key, new).unwrap();
                match change {
                    Some(entry) => drop(twin.insert(key, entry)),
                    None => drop(twin.remove(&key)),
                }
                prop_assert_eq!(entries.len(), twin.len());
                if !ends {
                    continue;
                }
                entries.settle().unwrap();
                epoch.clear();
                let mut keys: Vec<Vec<u8>> = entries.keys().unwrap().into_iter().map(Cow::into_owned).collect();
                keys.sort_unstable();
                prop_assert!(keys.iter().eq(twin.keys()));
                for (key, (state, timer)) in &twin {
                    let held = entries.find(&[key]).unwrap();
                    let found = held[0].as_ref().map(|held| entries.entry(held));
                    prop_assert_eq!(found, Some(Entry { state, timer: *timer }));
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
    fn states_that_change_their_size_leave_no_holes_behind() {
        let mut entries = Entries::new(memory(u64::MAX));
        let key = |number: u32| number.to_be_bytes();
        for round in 0..50 {
            for number in 0..1000 {
                let state = vec![round; 40 + usize::from(round)];
                let new = Entry {
                    state: &state,
                    timer: None,
                };
                changed(&mut entries, &key(number), Some(new)).unwrap();
            }
            entries.settle().unwrap();
        }
        let Place::Memory(records) = &entries.place else {
            panic!("there is no limit");
        };
        let live = 1000 * (21 + 4 + 89);
        assert!(records.bytes() < 4 * live, "{} bytes", records.bytes());
        for number in 0..1000 {
            let held = entries.find(&[&key(number)]).unwrap();
            let held = held[0].as_ref().unwrap();
            assert_eq!(entries.entry(held).state, [49; 89]);
        }
    }

    /// Of so many keys some have the same hash of 32 bits, all but certainly.
    #[test]
    fn keys_of_the_same_hash_are_told_apart() {
        let mut entries = Entries::new(memory(u64::MAX));
        let key = |number: u32| number.to_be_bytes();
        for number in 0..300_000 {
            let new = Entry {
                state: &key(number),
                timer: None,
            };
            changed(&mut entries, &key(number), Some(new)).unwrap();
        }
        assert_eq!(entries.len(), 300_000);
        for number in 0..300_000 {
            let held = entries.find(&[&key(number)]).unwrap();
            assert_eq!(entries.entry(held[0].as_ref().unwrap()).state, key(number));
        }
    }

    #[test]
    fn a_key_too_long_for_the_disk_is_refused_by_its_length() {
        let mut entries = Entries::new(memory(0));
        let new = Some(Entry {
            state: &[],
            timer: Some(1),
        });
        changed(&mut entries, &[1], new).unwrap();
        entries.settle().unwrap();
        let key = |bytes| vec![7; bytes];
        changed(&mut entries, &key(LONGEST_KEY), new).unwrap();
        let failure = changed(&mut entries, &key(LONGEST_KEY + 1), new).unwrap_err();
        assert!(failure.message.contains("65524 bytes"), "{failure}");
    }
}
