//! Splitting text at speed.

use std::fmt;
use std::ops::Deref;

/// A text that remembers the column it was read from; otherwise a `&str`, and used as one.
///
/// Pieces of it are copied to an output column a fixed number of bytes at a time, reading past their end into the rest
/// of the column: about twice as fast as a `&str`, whose surroundings nobody knows. Use it where a plugin's whole
/// work is to pass on pieces of text.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    column: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Text<'a> {
    /// The text at `start..end` of a column.
    #[inline]
    pub(crate) fn within(column: &'a str, start: usize, end: usize) -> Self {
        Self { column, start, end }
    }

    /// As a `&str` that lives as long as the batch.
    ///
    /// # Panics
    /// Not for a text that the host sent, or a piece of it.
    #[inline]
    pub fn as_str(&self) -> &'a str {
        &self.column[self.start..self.end]
    }

    /// The words: the longest pieces without ASCII white space, as [`str::split_ascii_whitespace`] gives them.
    #[inline]
    pub fn words(self) -> Words<'a> {
        Words {
            column: self.column,
            end: self.end,
            block: self.start,
            ahead: blocks::words(self.column.as_bytes(), self.start, self.end),
        }
    }

    /// How many characters it has: `chars().count()`, which the standard library does not compile to vectors.
    #[inline]
    pub fn characters(&self) -> usize {
        let bytes = self.as_str().as_bytes();
        // All bytes of a character but its first are below that.
        bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
    }

    /// The bytes of the column from the start of this text on, and how many of them are this text.
    #[inline]
    pub(crate) fn with_rest(&self) -> (&'a [u8], usize) {
        (&self.column.as_bytes()[self.start..], self.end - self.start)
    }
}

impl Deref for Text<'_> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Self::within(text, 0, text.len())
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text<'_> {}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// See [`Text::words`].
///
/// It looks at 64 bytes at once, a bit for each. A word is a run of ones: adding its lowest bit carries through the run,
/// so finding both ends is two counts of zeros, without a loop or a branch that depends on the text.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    column: &'a str,
    /// Where the text ends, in the column.
    end: usize,
    /// Where the 64 bytes start, in the column.
    block: usize,
    /// The bytes of words among them that are not yet handed out.
    ahead: u64,
}

impl<'a> Words<'a> {
    /// Goes on to the next 64 bytes that are part of a word; false at the end of the text.
    #[inline(never)]
    fn advance(&mut self) -> bool {
        while self.ahead == 0 {
            self.block += 64;
            if self.block >= self.end {
                self.block = self.end;
                return false;
            }
            self.ahead = blocks::words(self.column.as_bytes(), self.block, self.end);
        }
        true
    }

    /// The end of a word that reaches the end of the 64 bytes.
    #[inline(never)]
    fn finish_word(&mut self) -> usize {
        loop {
            self.block += 64;
            if self.block >= self.end {
                (self.block, self.ahead) = (self.end, 0);
                return self.end;
            }
            let words = blocks::words(self.column.as_bytes(), self.block, self.end);
            let length = words.trailing_ones();
            if length < 64 {
                self.ahead = words >> length << length;
                return self.block + length as usize;
            }
        }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        if self.ahead == 0 && !self.advance() {
            return None;
        }
        let start = self.block + self.ahead.trailing_zeros() as usize;
        let lowest = self.ahead & self.ahead.wrapping_neg();
        let carried = self.ahead.wrapping_add(lowest);
        let end = if carried == 0 {
            self.finish_word()
        } else {
            self.ahead &= carried;
            self.block + carried.trailing_zeros() as usize
        };
        Some(Text::within(self.column, start, end))
    }
}

/// 64 bytes at once.
mod blocks {
    /// A bit for each of the 64 bytes from `start` on, the first the least significant: set unless it is ASCII white
    /// space or at or after `end`.
    #[inline]
    pub(super) fn words(column: &[u8], start: usize, end: usize) -> u64 {
        let rest = &column[start..];
        let words = !match rest.first_chunk::<64>() {
            Some(block) => in_block(block),
            None => in_tail(rest),
        };
        match end - start {
            length @ ..64 => words & !(u64::MAX << length),
            _ => words,
        }
    }

    #[cold]
    fn in_tail(rest: &[u8]) -> u64 {
        let mut block = [b' '; 64];
        block[..rest.len()].copy_from_slice(rest);
        in_block(&block)
    }

    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    #[inline]
    fn in_block(block: &[u8; 64]) -> u64 {
        let bit = |(at, byte): (usize, &u8)| u64::from(byte.is_ascii_whitespace()) << at;
        block
            .iter()
            .enumerate()
            .map(bit)
            .fold(0, |spaces, bit| spaces | bit)
    }

    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline]
    fn in_block(block: &[u8; 64]) -> u64 {
        let (lanes, _) = block.as_chunks::<16>();
        let lane = |at: usize| u64::from(in_lane(&lanes[at])) << (16 * at);
        lane(0) | lane(1) | lane(2) | lane(3)
    }

    /// Looks the low control characters up in a table, whose index reaches to 15, and compares with a blank.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline]
    fn in_lane(bytes: &[u8; 16]) -> u16 {
        use std::arch::wasm32::{
            i8x16, i8x16_eq, i8x16_splat, u8x16_bitmask, u8x16_swizzle, v128_load, v128_or,
        };
        const CONTROL: std::arch::wasm32::v128 =
            i8x16(0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, 0, -1, -1, 0, 0);
        #[expect(unsafe_code, reason = "the load has no safe form")]
        // SAFETY: the reference is to 16 bytes, and a load needs no alignment.
        let bytes = unsafe { v128_load(bytes.as_ptr().cast()) };
        let blank = i8x16_eq(bytes, i8x16_splat(b' ' as i8));
        u8x16_bitmask(v128_or(u8x16_swizzle(CONTROL, bytes), blank))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_characters_are_those_of_the_standard_library() {
        let spaces = ["", " ", "\t", "\n\r", "\x0c ", "      "];
        let words = [
            "a",
            "be",
            "\u{e9}t\u{e9}",
            "\x0b",
            "thirteen-bytes",
            &"long".repeat(40),
            "\u{a0}x",
        ];
        let mut state = 1u64;
        let mut pick = |count: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % count as u64) as usize
        };
        for _ in 0..2000 {
            let mut column = String::new();
            for _ in 0..pick(40) {
                column += words[pick(words.len())];
                column += spaces[pick(spaces.len())];
            }
            let boundaries: Vec<usize> = (0..=column.len())
                .filter(|at| column.is_char_boundary(*at))
                .collect();
            let ends = [pick(boundaries.len()), pick(boundaries.len())].map(|at| boundaries[at]);
            let (start, end) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            let (text, twin) = (Text::within(&column, start, end), &column[start..end]);
            let found: Vec<&str> = text.words().map(|word| word.as_str()).collect();
            let expected: Vec<&str> = twin.split_ascii_whitespace().collect();
            assert_eq!(found, expected, "{:?} at {start}..{end}", column);
            assert_eq!(text.characters(), twin.chars().count(), "{twin:?}");
        }
    }
}
