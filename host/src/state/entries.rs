//! The keys of a table with what is kept of each: in memory, or, once that is too much, in a store on disk, and in memory what has
//! changed since it was last written there.

use std::sync::Arc;

use super::disk::{OnDisk, Value};
use super::memory::{Share, StateMemory};
use super::records::{AHEAD, Address, Records};
use super::timers::{Timer, Timers};
use crate::error::Failure;

/// All keys of a table.
#[derive(Debug)]
pub struct Entries {
    records: Records,
    timers: Timers,
    disk: Option<OnDisk>,
    len: usize,
    share: Share,
}

/// What is kept of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its state.
    pub state: &'a [u8],
    /// When it is called without rows, in milliseconds since 1970.
    pub timer: Option<i64>,
}

/// A key that was looked up: where it is, or what was read of it, or nothing. Holds until the entries are [settled](Entries::settle).
#[derive(Debug, Default)]
pub enum Held {
    #[default]
    Nothing,
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
            records: Records::default(),
            timers: Timers::default(),
            disk: None,
            len: 0,
            share: Share::new(memory),
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Looks keys up.
    pub fn find(&self, keys: &[&[u8]]) -> Result<Vec<Held>, Failure> {
        let found = self.records.find(keys).into_iter().zip(keys);
        let held = found.map(|(found, key)| match (found, &self.disk) {
            (Some(address), _) => Ok(Held::Record(address)),
            (None, Some(disk)) => Ok(disk.get(key)?.map_or(Held::Nothing, Held::Value)),
            (None, None) => Ok(Held::Nothing),
        });
        held.collect()
    }

    /// What is kept of a key that was looked up.
    pub fn entry<'a>(&'a self, held: &'a Held) -> Option<Entry<'a>> {
        match held {
            Held::Nothing => None,
            Held::Record(address) => self.records.entry(*address),
            Held::Value(value) => Some(value.entry()),
        }
    }

    /// Asks for what is kept of the key a few after `at`, if there is one: it may long have left the processor's cache.
    pub fn fetch_ahead(&self, held: &[Held], at: usize) {
        if let Some(Held::Record(address)) = held.get(at + AHEAD) {
            self.records.fetch(*address);
        }
    }

    /// Changes a key that was looked up; `state` is what it is given.
    pub fn change(&mut self, held: &mut Held, key: &[u8], change: Change, state: Option<&[u8]>) {
        let before = self.entry(held);
        let (was, timer_before) = (before.is_some(), before.and_then(|entry| entry.timer));
        let is = change.state != Some(false) && (was || state.is_some());
        let timer = change.timer.unwrap_or(timer_before).filter(|_| is);
        self.timers
            .change(key, timer_before, timer, self.disk.is_some());
        *held = match (std::mem::take(held), state) {
            (Held::Record(place), None) if is => {
                self.records.set_timer(place, timer);
                Held::Record(place)
            }
            (Held::Value(value), None) if is => {
                let state = value.entry().state;
                Held::Record(self.records.put(None, key, Some(Entry { state, timer })))
            }
            (held, Some(state)) if is => {
                let new = Some(Entry { state, timer });
                Held::Record(self.records.put(held.place(), key, new))
            }
            (Held::Nothing, _) => Held::Nothing,
            (held, _) if self.disk.is_some() => {
                Held::Record(self.records.put(held.place(), key, None))
            }
            (held, _) => {
                let place = held.place().expect("without a disk it is in memory");
                self.records.remove(place, key);
                Held::Nothing
            }
        };
        self.len = self.len + usize::from(is) - usize::from(was);
    }

    /// Puts what has changed where it stays. What was found before is void.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.records.compact();
        let bytes = (self.records.bytes() + self.timers.bytes()) as u64;
        if let Some(store) = self.share.resize(bytes)? {
            let disk = self.disk.get_or_insert_with(|| OnDisk::new(store));
            disk.write(&self.records, &self.timers)?;
            (self.records, self.timers) = Default::default();
            self.share.resize(0)?;
        }
        Ok(())
    }

    /// All timers, in the order of their times.
    fn timers(&self) -> impl Iterator<Item = Result<Timer, Failure>> {
        let on_disk = self.disk.iter().flat_map(OnDisk::timers);
        self.timers.with(on_disk)
    }

    /// When the first timer is due.
    pub fn next_timer(&self) -> Result<Option<i64>, Failure> {
        let first = self.timers().next().transpose()?;
        Ok(first.map(|(time, _)| time))
    }

    /// The keys whose timers are due at a time, those due first first.
    pub fn due(&self, time: i64) -> Result<Vec<Box<[u8]>>, Failure> {
        let mut due = Vec::new();
        for timer in self.timers() {
            let (at, key) = timer?;
            if at > time {
                break;
            }
            due.push(key);
        }
        Ok(due)
    }

    /// All keys, in no order.
    pub fn keys(&self) -> Result<Vec<Box<[u8]>>, Failure> {
        let in_memory = self.records.iter().filter(|(_, entry)| entry.is_some());
        let mut keys: Vec<Box<[u8]>> = in_memory.map(|(key, _)| key.into()).collect();
        for key in self.disk.iter().flat_map(OnDisk::keys) {
            let key = key?;
            if self.records.find(&[&key]) == [None] {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

impl Held {
    fn place(&self) -> Option<Address> {
        match self {
            Self::Record(address) => Some(*address),
            Self::Nothing | Self::Value(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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
        entries.change(&mut held, key, change, new.map(|new| new.state));
        assert_eq!(entries.entry(&held), new);
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
            let mut epoch = BTreeSet::new();
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
                let mut keys = entries.keys().unwrap();
                keys.sort_unstable();
                prop_assert!(keys.iter().map(AsRef::as_ref).eq(twin.keys().map(Vec::as_slice)));
                for (key, (state, timer)) in &twin {
                    let held = entries.find(&[key]).unwrap();
                    let found = entries.entry(&held[0]);
                    prop_assert_eq!(found, Some(Entry { state, timer: *timer }));
                }
                let mut timers: Vec<_> = twin.iter().filter_map(|(key, (_, timer))| Some(((*timer)?, key.clone()))).collect();
                timers.sort_unstable();
                prop_assert_eq!(entries.next_timer().unwrap(), timers.first().map(|(time, _)| *time));
                let due = entries.due(7).unwrap();
                let expected = timers.iter().filter(|(time, _)| *time <= 7).map(|(_, key)| key.as_slice());
                prop_assert!(due.iter().map(AsRef::as_ref).eq(expected), "{due:?}");
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
        let (live, bytes) = (1000 * (21 + 4 + 89), entries.records.bytes());
        assert!(bytes < 4 * live, "{bytes} bytes");
        for number in 0..1000 {
            let held = entries.find(&[&key(number)]).unwrap();
            assert_eq!(entries.entry(&held[0]).unwrap().state, [49; 89]);
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
            assert_eq!(entries.entry(&held[0]).unwrap().state, key(number));
        }
    }

    #[test]
    fn a_key_too_long_for_the_disk_is_refused_by_its_length() {
        let mut entries = Entries::new(memory(0));
        let new = Some(Entry {
            state: &[],
            timer: Some(1),
        });
        let key = |bytes| vec![7; bytes];
        changed(&mut entries, &key(LONGEST_KEY), new).unwrap();
        entries.settle().unwrap();
        changed(&mut entries, &key(LONGEST_KEY + 1), new).unwrap();
        let failure = entries.settle().unwrap_err();
        assert!(failure.message.contains("65524 bytes"), "{failure}");
    }
}
