//! Byte strings to group numbers: the inner loop of every grouping.
//!
//! Groups are numbered in the order in which their keys first appear. The table also counts each group's rows: the counter
//! sits in what would be padding of a slot that the lookup has just fetched, so `count()` costs nothing beside it.

use arrow::array::{Array, GenericByteArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::ByteArrayType;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Keys of so many bytes are held whole in their slot; one byte of the word's sixteen is the tag.
const INLINE: usize = 15;
/// The tag of a key that is too long; an inline key's tag is its length and one, so no key's word is zero.
const LONG: u8 = u8::MAX;
const TAG_SHIFT: u32 = 56;

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

/// A key in two machine words: equal words are equal keys if the key is short; if it is long they hold its hash and length.
type Word = (u64, u64);

#[derive(Clone, Copy)]
struct Slot {
    word: Word,
    group: u32,
    /// Rows since the counters were last settled.
    rows: u32,
}

/// The groups so far.
pub(super) struct KeyTable {
    slots: HashTable<Slot>,
    hasher: RandomState,
    /// The keys in order of their groups, end to end; the null key is an empty one.
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    null: Option<u32>,
    /// Rows of each group, as far as settled.
    counts: Vec<i64>,
    /// Rows in the slots' counters: below 2^32, so that none of them can overflow.
    unsettled: usize,
}

impl KeyTable {
    pub fn new() -> Self {
        Self {
            slots: HashTable::new(),
            hasher: RandomState::default(),
            bytes: Vec::new(),
            ends: Vec::new(),
            null: None,
            counts: Vec::new(),
            unsettled: 0,
        }
    }

    /// Makes room for so many more groups.
    pub fn reserve(&mut self, groups: usize) {
        let hasher = &self.hasher;
        self.slots
            .reserve(groups, |slot| hasher.hash_one(slot.word));
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
        self.null.map(|group| group as usize)
    }

    /// Forgets all groups, keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.bytes.clear();
        self.ends.clear();
        self.null = None;
        self.counts.clear();
        self.unsettled = 0;
    }

    /// The rows of each group so far.
    pub fn counts(&mut self) -> &[i64] {
        self.settle();
        &self.counts
    }

    fn settle(&mut self) {
        self.counts.resize(self.ends.len(), 0);
        for slot in &mut self.slots {
            self.counts[slot.group as usize] += i64::from(std::mem::take(&mut slot.rows));
        }
        self.unsettled = 0;
    }

    /// Counts every row of `keys` in its group, and tells `each` the groups, row by row.
    pub fn assign(&mut self, keys: Keys<'_>, mut each: impl FnMut(u32)) {
        self.unsettled += keys.offsets.len();
        if u32::try_from(self.unsettled).is_err() {
            self.settle();
            self.unsettled = keys.offsets.len();
        }
        for (row, bounds) in keys.offsets.windows(2).enumerate() {
            if keys.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                each(self.count_null());
                continue;
            }
            // Offsets of an Arrow array are never negative and never descend.
            let (start, end) = (bounds[0] as usize, bounds[1] as usize);
            if end - start > INLINE {
                each(self.count_long(&keys.values[start..end]));
                continue;
            }
            let word = inline_word(keys.values, start, end);
            let hash = self.hasher.hash_one(word);
            let group = match self.slots.find_mut(hash, |slot| slot.word == word) {
                Some(slot) => {
                    slot.rows += 1;
                    slot.group
                }
                None => self.insert(word, hash, &keys.values[start..end]),
            };
            each(group);
        }
    }

    // Apart, so that the loop above, whose keys are short, keeps what it needs in registers.
    #[inline(never)]
    fn count_long(&mut self, key: &[u8]) -> u32 {
        let tag = u64::from(LONG) << TAG_SHIFT;
        let word = (self.hasher.hash_one(key), key.len() as u64 | tag);
        let hash = self.hasher.hash_one(word);
        let (bytes, ends) = (&self.bytes, &self.ends);
        // The words hold the lengths, so a key that ends where the group's ends is all of it.
        let same =
            |slot: &Slot| slot.word == word && bytes[..ends[slot.group as usize]].ends_with(key);
        match self.slots.find_mut(hash, same) {
            Some(slot) => {
                slot.rows += 1;
                slot.group
            }
            None => self.insert(word, hash, key),
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, word: Word, hash: u64, key: &[u8]) -> u32 {
        let group = self.add_key(key);
        let slot = Slot {
            word,
            group,
            rows: 1,
        };
        let hasher = &self.hasher;
        self.slots
            .insert_unique(hash, slot, |slot| hasher.hash_one(slot.word));
        group
    }

    fn add_key(&mut self, key: &[u8]) -> u32 {
        let group = u32::try_from(self.ends.len())
            .expect("2^32 groups of 32 bytes each do not fit into memory");
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        group
    }

    fn count_null(&mut self) -> u32 {
        let group = self.null.unwrap_or_else(|| self.add_key(&[]));
        self.null = Some(group);
        self.counts.resize(self.ends.len(), 0);
        self.counts[group as usize] += 1;
        group
    }
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

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringArray};

    use super::{KeyTable, Keys};

    #[test]
    fn counts_stay_right_when_the_slots_counters_are_full() {
        let words = StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]);
        let mut table = KeyTable::new();
        table.assign(Keys::from(&words), |_| ());
        table.unsettled = u32::MAX as usize;
        let mut groups = Vec::new();
        table.assign(Keys::from(&words), |group| groups.push(group));
        assert_eq!(groups, [0, 1, 2, 0]);
        assert_eq!(table.unsettled, words.len() + 1);
        assert_eq!(table.counts(), [4, 2, 2]);
    }
}
