//! Byte strings to group numbers: the inner loop of every grouping.
//!
//! Groups are numbered in the order in which their keys first appear. The table also counts each group's rows: the counter
//! sits in the slot that the lookup has just fetched, so `count()` costs nothing beside it.
//!
//! What a lookup costs is the wait for its slot, once there are more groups than a core's cache holds. So slots are probed
//! in place, without control bytes that would be fetched first, and rows are looked up a block at a time: the slots
//! of the next block are on their way while those of this one are used.

use arrow::array::{Array, GenericByteArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::ByteArrayType;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;

use crate::prefetch::prefetch;

/// Keys of so many bytes are held whole in their slot; one byte of the word's sixteen is the tag.
const INLINE: usize = 15;
/// The tag of a key that is too long; an inline key's tag is its length and one, so no key's word is zero.
const LONG: u64 = 0xff;
const TAG_SHIFT: u32 = 56;
/// The word of an empty slot.
const EMPTY: Word = (0, 0);
/// What stands for a null key; it has no tag, so no key has it.
const NULL: Word = (1, 0);
/// Rows looked up together: about as many loads as a core can have under way.
const BLOCK: usize = 16;
/// Slots of a table at least.
const LEAST_SLOTS: usize = 64;

/// `MASKS[n]` keeps the first `n` bytes of sixteen.
const MASKS: [Word; INLINE + 1] = {
    let mut masks = [(0, 0); INLINE + 1];
    let mut bytes = 0;
    while bytes <= INLINE {
        let mask: u128 = (1 << (8 * bytes)) - 1;
        masks[bytes] = (mask as u64, (mask >> 64) as u64);
        bytes += 1;
    }
    masks
};

/// A column of keys as its raw buffers.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    offsets: &'a [i32],
    values: &'a [u8],
    nulls: Option<&'a NullBuffer>,
}

impl<'a, T: ByteArrayType<Offset = i32>> From<&'a GenericByteArray<T>> for Keys<'a> {
    fn from(array: &'a GenericByteArray<T>) -> Self {
        Self {
            offsets: array.value_offsets(),
            values: array.value_data(),
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0),
        }
    }
}

impl<'a> Keys<'a> {
    /// Where a key lies in the values.
    #[inline(always)]
    fn bounds(&self, row: usize) -> (usize, usize) {
        // Offsets of an Arrow array are never negative and never descend.
        (self.offsets[row] as usize, self.offsets[row + 1] as usize)
    }

    fn get(&self, row: usize) -> &'a [u8] {
        let (start, end) = self.bounds(row);
        &self.values[start..end]
    }
}

/// A key in two machine words: equal words are equal keys if the key is short; if it is long they hold its hash and length.
type Word = (u64, u64);

/// Half a cache line, and never over two of them. An empty one has the word zero.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    word: Word,
    rows: u64,
    group: u32,
}

/// A row on its way to its group.
#[derive(Clone, Copy, Default)]
struct Lookup {
    word: Word,
    hash: u64,
}

/// The groups so far.
pub(super) struct KeyTable {
    /// Probed one after the other from where the hash points. A power of two of them, at most half of them in use.
    slots: Vec<Slot>,
    hasher: RandomState,
    /// The keys in order of their groups, end to end; the null key is an empty one.
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    /// The group of the null key, and its rows.
    null: Option<(u32, u64)>,
}

impl KeyTable {
    pub fn new() -> Self {
        Self {
            slots: vec![Slot::default(); LEAST_SLOTS],
            hasher: RandomState::default(),
            bytes: Vec::new(),
            ends: Vec::new(),
            null: None,
        }
    }

    /// Makes room for so many more groups.
    pub fn reserve(&mut self, groups: usize) {
        self.make_slots(self.len() + groups);
        self.ends.reserve(groups);
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The key of `group`; the null key is `None`.
    pub fn key(&self, group: usize) -> Option<&[u8]> {
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        (self.null() != Some(group)).then(|| &self.bytes[start..self.ends[group]])
    }

    /// All keys in order of their groups, end to end, and where each ends; the null key is an empty one.
    pub fn keys(&self) -> (&[u8], &[usize]) {
        (&self.bytes, &self.ends)
    }

    /// The group of the null key.
    pub fn null(&self) -> Option<usize> {
        self.null.map(|(group, _)| group as usize)
    }

    /// Forgets all groups. Keeps the memory, unless the groups needed so little of it that wiping it would cost more than they did.
    pub fn clear(&mut self) {
        let needed = slots_for(self.len());
        if needed < self.slots.len() / 8 {
            self.slots = vec![Slot::default(); needed];
        } else {
            self.slots.fill(Slot::default());
        }
        self.bytes.clear();
        self.ends.clear();
        self.null = None;
    }

    /// The rows of each group so far.
    pub fn counts(&self) -> Vec<i64> {
        let mut counts = vec![0; self.len()];
        let used = self.slots.iter().filter(|slot| slot.word != EMPTY);
        let groups = used.map(|slot| (slot.group, slot.rows)).chain(self.null);
        for (group, rows) in groups {
            counts[group as usize] = rows as i64;
        }
        counts
    }

    /// Counts every row of `keys` in its group, and tells `each` the groups, row by row.
    pub fn assign(&mut self, keys: Keys<'_>, mut each: impl FnMut(u32)) {
        let (mut block, mut next) = ([Lookup::default(); BLOCK], [Lookup::default(); BLOCK]);
        let rows = keys.offsets.len() - 1;
        self.ask(&keys, 0..rows, &mut next);
        for first in (0..rows).step_by(BLOCK) {
            std::mem::swap(&mut block, &mut next);
            self.ask(&keys, first + BLOCK..rows, &mut next);
            for (row, lookup) in (first..rows).zip(&block) {
                let at = self.at(lookup.hash);
                let slot = &mut self.slots[at];
                let group = if slot.word == lookup.word && slot.word.1 >> TAG_SHIFT != LONG {
                    slot.rows += 1;
                    slot.group
                } else {
                    self.search(lookup, keys.get(row))
                };
                each(group);
            }
        }
    }

    /// Hashes a block of rows, the first of `rows`, and asks for their slots.
    #[inline(always)]
    fn ask(&self, keys: &Keys<'_>, rows: Range<usize>, block: &mut [Lookup; BLOCK]) {
        for (row, lookup) in rows.zip(block) {
            let (start, end) = keys.bounds(row);
            lookup.word = if keys.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                NULL
            } else if end - start > INLINE {
                let key = &keys.values[start..end];
                (
                    self.hasher.hash_one(key),
                    key.len() as u64 | LONG << TAG_SHIFT,
                )
            } else {
                inline_word(keys.values, start, end)
            };
            lookup.hash = self.hasher.hash_one(lookup.word);
            prefetch(&self.slots[self.at(lookup.hash)]);
        }
    }

    /// Where the search for a hash begins.
    #[inline(always)]
    fn at(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// The long way: the key is null, long, new, or not where its search begins. Counts its row.
    // Apart, so that the loop above, whose keys are short and known, keeps what it needs in registers.
    #[inline(never)]
    fn search(&mut self, lookup: &Lookup, key: &[u8]) -> u32 {
        let word = lookup.word;
        if word == NULL {
            let (group, rows) = self.null.unwrap_or_else(|| (self.add_key(key), 0));
            self.null = Some((group, rows + 1));
            return group;
        }
        let mut at = self.at(lookup.hash);
        while self.slots[at].word != EMPTY {
            let slot = &mut self.slots[at];
            // Words hold the lengths, so a long key that ends where the group's ends is all of it.
            let same = slot.word == word
                && (word.1 >> TAG_SHIFT != LONG
                    || self.bytes[..self.ends[slot.group as usize]].ends_with(key));
            if same {
                slot.rows += 1;
                return slot.group;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let group = self.add_key(key);
        self.slots[at] = Slot {
            word,
            rows: 1,
            group,
        };
        self.make_slots(self.len());
        group
    }

    /// Sees to it that there are enough slots for so many groups.
    fn make_slots(&mut self, groups: usize) {
        let needed = slots_for(groups);
        if needed <= self.slots.len() {
            return;
        }
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); needed]);
        for slot in old.into_iter().filter(|slot| slot.word != EMPTY) {
            let mut at = self.at(self.hasher.hash_one(slot.word));
            while self.slots[at].word != EMPTY {
                at = (at + 1) & (needed - 1);
            }
            self.slots[at] = slot;
        }
    }

    fn add_key(&mut self, key: &[u8]) -> u32 {
        let group =
            u32::try_from(self.len()).expect("2^32 groups of 32 bytes each do not fit into memory");
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        group
    }
}

/// How many slots a table of so many groups has.
fn slots_for(groups: usize) -> usize {
    (2 * groups).next_power_of_two().max(LEAST_SLOTS)
}

/// The word of a key of at most [`INLINE`] bytes.
#[inline(always)]
fn inline_word(values: &[u8], start: usize, end: usize) -> Word {
    let length = end - start;
    // Two loads and a mask have no branch on the length to mispredict.
    let (low, high) = match values
        .get(start..start + 16)
        .and_then(<[u8]>::first_chunk::<16>)
    {
        Some(sixteen) => halves(sixteen),
        None => near_the_end(&values[start..end]),
    };
    let (low_mask, high_mask) = MASKS[length];
    let tag = (length as u64 + 1) << TAG_SHIFT;
    (low & low_mask, high & high_mask | tag)
}

#[inline(always)]
fn halves(sixteen: &[u8; 16]) -> Word {
    let both = u128::from_le_bytes(*sixteen);
    (both as u64, (both >> 64) as u64)
}

/// The bytes of a short key that has less than sixteen bytes from its start to the buffer's end.
#[cold]
#[inline(never)]
fn near_the_end(key: &[u8]) -> Word {
    let mut padded = [0; 16];
    padded[..key.len()].copy_from_slice(key);
    halves(&padded)
}
