//! Keys with what is kept of each, in memory.
//!
//! There may be millions of small ones, so they are not an allocation each: records lie behind one another in chunks. A record that
//! fits where it was is written over; else it is written anew, and the place of the old one is dead until its chunk is mostly
//! dead and [`compacted`](Records::compact). Looking keys up touches their slots and records, nothing else.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::entries::Entry;
use crate::prefetch::prefetch;

/// Bytes of the largest chunk, of many small records; a table's first is as large as a small table.
const LARGEST_CHUNK: usize = 4 << 20;
const SMALLEST_CHUNK: usize = 4 << 10;
/// Records that are asked for before the one that is looked at: about as many loads as a core can have under way.
pub const AHEAD: usize = 8;
/// Bytes of a line of the processor's cache, or less.
const LINE: usize = 64;
/// The time of a key without a timer. The contract with plugins has no timer at this time either.
const NO_TIMER: i64 = i64::MAX;

/// The records of a table: of all its keys, or of those that have changed since the others went to disk.
#[derive(Debug, Default)]
pub struct Records {
    slots: HashTable<Slot>,
    hasher: RandomState,
    chunks: Vec<Chunk>,
    /// The chunk that records are written to.
    open: usize,
    /// Chunks that were given back.
    free: Vec<usize>,
    chunk_bytes: usize,
}

/// Where a record is, until the next [`Records::compact`] or change of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    chunk: u32,
    start: u32,
}

#[derive(Debug)]
struct Slot {
    /// Of the key: the table grows without a look at the records.
    hash: u32,
    address: Address,
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Bytes of records that have gone or moved.
    dead: usize,
}

/// What stands before a record's key and state.
#[derive(Clone, Copy)]
struct Header {
    key: u32,
    state: u32,
    /// Bytes from the state's first to the end of the record; the state may grow that long.
    room: u32,
    kind: u8,
    timer: i64,
}

/// Nothing any more.
const DEAD: u8 = 0;
/// A key with its state.
const LIVE: u8 = 1;
/// A key that has none, though the disk may have one of it.
const GONE: u8 = 2;

const HEADER: usize = 4 + 4 + 4 + 1 + 8;

impl Header {
    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("a header"));
        Self {
            key: number(0),
            state: number(4),
            room: number(8),
            kind: bytes[12],
            timer: i64::from_le_bytes(*bytes[13..].first_chunk().expect("a header")),
        }
    }

    fn write(self, bytes: &mut [u8]) {
        bytes[0..4].copy_from_slice(&self.key.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.state.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.room.to_le_bytes());
        bytes[12] = self.kind;
        bytes[13..HEADER].copy_from_slice(&self.timer.to_le_bytes());
    }

    /// Bytes of the whole record.
    fn size(self) -> usize {
        HEADER + (self.key + self.room) as usize
    }

    fn timer(self) -> Option<i64> {
        (self.timer != NO_TIMER).then_some(self.timer)
    }
}

impl Records {
    /// Where the records of some keys are.
    ///
    /// Of millions of keys nothing is in the processor's cache. So first all slots are looked up, by their hashes alone, and then all
    /// records: what one waits for is fetched while the next is looked for.
    pub fn find(&self, keys: &[&[u8]]) -> Vec<Option<Address>> {
        let hashes = keys.iter().map(|key| hash_of(&self.hasher, key));
        let hashes: Vec<u32> = hashes.collect();
        let slots = hashes.iter().map(|hash| {
            let slot = self.slots.find(spread(*hash), |slot| slot.hash == *hash);
            slot.map(|slot| slot.address)
        });
        let mut found: Vec<Option<Address>> = slots.collect();
        for (at, (key, hash)) in keys.iter().zip(hashes).enumerate() {
            if let Some(Some(ahead)) = found.get(at + AHEAD) {
                self.fetch(*ahead);
            }
            if found[at].is_some_and(|found| self.key(found) != *key) {
                // Another key of the same hash.
                let is_it = |slot: &Slot| slot.hash == hash && self.key(slot.address) == *key;
                let slot = self.slots.find(spread(hash), is_it);
                found[at] = slot.map(|slot| slot.address);
            }
        }
        found
    }

    /// Asks for a record without waiting for it: as much of it as most records have.
    pub fn fetch(&self, address: Address) {
        let bytes = &self.chunks[address.chunk as usize].bytes[address.start as usize..];
        prefetch(&bytes[0]);
        if let Some(next_line) = bytes.get(LINE) {
            prefetch(next_line);
        }
    }

    /// What is kept of a key, if it has not gone.
    pub fn entry(&self, address: Address) -> Option<Entry<'_>> {
        let (header, bytes) = self.record(address);
        let key = header.key as usize;
        (header.kind == LIVE).then(|| Entry {
            state: &bytes[key..key + header.state as usize],
            timer: header.timer(),
        })
    }

    fn key(&self, address: Address) -> &[u8] {
        let (header, bytes) = self.record(address);
        &bytes[..header.key as usize]
    }

    /// A record's header, and what stands behind it.
    fn record(&self, address: Address) -> (Header, &[u8]) {
        let bytes = &self.chunks[address.chunk as usize].bytes[address.start as usize..];
        (Header::read(bytes), &bytes[HEADER..])
    }

    /// Puts what there is now of a key that has a record at `place`, or none: its state and timer, or that it has gone. Answers where it is.
    pub fn put(&mut self, place: Option<Address>, key: &[u8], new: Option<Entry<'_>>) -> Address {
        if let Some(place) = place
            && self.overwrite(place, new)
        {
            return place;
        }
        let address = self.append(key, new);
        let hash = hash_of(&self.hasher, key);
        match place {
            Some(before) => {
                self.moved(hash, before, address);
                self.kill(before);
            }
            None => {
                let slot = Slot { hash, address };
                let slots = &mut self.slots;
                slots.insert_unique(spread(hash), slot, |slot| spread(slot.hash));
            }
        }
        address
    }

    /// Changes the timer of a key.
    pub fn set_timer(&mut self, place: Address, timer: Option<i64>) {
        self.edit(place, |header| header.timer = timer.unwrap_or(NO_TIMER));
    }

    /// Forgets a key.
    pub fn remove(&mut self, place: Address, key: &[u8]) {
        let hash = spread(hash_of(&self.hasher, key));
        let slot = self
            .slots
            .find_entry(hash, |slot| slot.address == place)
            .expect("every record has a slot");
        slot.remove();
        self.kill(place);
    }

    fn moved(&mut self, hash: u32, from: Address, to: Address) {
        let slot = self
            .slots
            .find_mut(spread(hash), |slot| slot.address == from);
        slot.expect("every live record has a slot").address = to;
    }

    fn edit(&mut self, place: Address, edit: impl FnOnce(&mut Header)) -> &mut [u8] {
        let bytes = &mut self.chunks[place.chunk as usize].bytes[place.start as usize..];
        let mut header = Header::read(bytes);
        edit(&mut header);
        header.write(bytes);
        &mut bytes[HEADER + header.key as usize..]
    }

    /// Writes over a record, if there is room.
    fn overwrite(&mut self, place: Address, new: Option<Entry<'_>>) -> bool {
        let parts = Parts::of(new);
        let fits = parts.state.len() <= self.record(place).0.room as usize;
        if fits {
            let at = self.edit(place, |header| {
                header.state = parts.state.len() as u32;
                header.kind = parts.kind;
                header.timer = parts.timer;
            });
            at[..parts.state.len()].copy_from_slice(parts.state);
        }
        fits
    }

    fn append(&mut self, key: &[u8], new: Option<Entry<'_>>) -> Address {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("it is of an Arrow array");
        let parts = Parts::of(new);
        let header = Header {
            key: length(key),
            state: length(parts.state),
            room: length(parts.state),
            kind: parts.kind,
            timer: parts.timer,
        };
        let chunk = self.chunk_for(header.size());
        let bytes = &mut self.chunks[chunk].bytes;
        let start = bytes.len();
        bytes.extend_from_slice(&[0; HEADER]);
        header.write(&mut bytes[start..]);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(parts.state);
        Address {
            chunk: chunk as u32,
            start: start as u32,
        }
    }

    /// The open chunk, or a new one if a record does not fit there.
    fn chunk_for(&mut self, size: usize) -> usize {
        let open = self.chunks.get(self.open);
        if open.is_some_and(|open| open.bytes.capacity() - open.bytes.len() >= size) {
            return self.open;
        }
        let capacity = (self.chunk_bytes / 4).clamp(SMALLEST_CHUNK, LARGEST_CHUNK);
        let bytes = Vec::with_capacity(capacity.max(size));
        self.chunk_bytes += bytes.capacity();
        let chunk = Chunk { bytes, dead: 0 };
        self.open = match self.free.pop() {
            Some(free) => {
                self.chunks[free] = chunk;
                free
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() - 1
            }
        };
        self.open
    }

    fn kill(&mut self, place: Address) {
        self.edit(place, |header| header.kind = DEAD);
        let size = self.record(place).0.size();
        self.chunks[place.chunk as usize].dead += size;
    }

    /// Frees the chunks that are mostly dead. Every address is void.
    pub fn compact(&mut self) {
        for index in 0..self.chunks.len() {
            let chunk = &self.chunks[index];
            if chunk.dead * 2 > chunk.bytes.len() {
                self.evacuate(index);
            }
        }
    }

    /// Moves what is live in a chunk to others, and frees it.
    fn evacuate(&mut self, index: usize) {
        let chunk = std::mem::take(&mut self.chunks[index]);
        let mut at = 0;
        while at < chunk.bytes.len() {
            let bytes = &chunk.bytes[at..];
            let header = Header::read(bytes);
            if header.kind != DEAD {
                let (key, rest) = bytes[HEADER..].split_at(header.key as usize);
                let entry = (header.kind == LIVE).then(|| Entry {
                    state: &rest[..header.state as usize],
                    timer: header.timer(),
                });
                let to = self.append(key, entry);
                let from = Address {
                    chunk: index as u32,
                    start: at as u32,
                };
                self.moved(hash_of(&self.hasher, key), from, to);
            }
            at += header.size();
        }
        self.chunk_bytes -= chunk.bytes.capacity();
        // Not before: nothing may move to where things move from.
        self.free.push(index);
    }

    /// What all of it takes.
    pub fn bytes(&self) -> usize {
        self.slots.allocation_size() + self.chunk_bytes
    }

    /// All keys with what is kept of them, or nothing of those that have gone, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Entry<'_>>)> {
        let addresses = self.slots.iter().map(|slot| slot.address);
        addresses.map(|address| (self.key(address), self.entry(address)))
    }
}

/// What of an entry is written.
struct Parts<'a> {
    kind: u8,
    state: &'a [u8],
    timer: i64,
}

impl<'a> Parts<'a> {
    fn of(entry: Option<Entry<'a>>) -> Self {
        Self {
            kind: if entry.is_some() { LIVE } else { GONE },
            state: entry.map_or(&[], |entry| entry.state),
            timer: entry.and_then(|entry| entry.timer).unwrap_or(NO_TIMER),
        }
    }
}

fn hash_of(hasher: &RandomState, key: &[u8]) -> u32 {
    hasher.hash_one(key) as u32
}

/// The table takes its place from the lower bits and its marks from the upper.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
