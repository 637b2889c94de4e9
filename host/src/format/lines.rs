//! Cuts a stream of bytes into whole lines, whatever the chunks in which it arrives.
//!
//! Lines that lie in one chunk are passed on where they are; only a line that spans chunks is copied, once.

use std::ops::ControlFlow;

use super::BEGINNING_BYTES;

/// A line end, and a carriage return before it, that may come on top of the longest record.
const LINE_END: usize = 2;

/// Something whole in the stream; `at` counts the bytes of the stream before it.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One or more lines. Each ends in `\n`, except that the stream's last may not.
    Lines {
        /// The lines with their ends.
        bytes: &'a [u8],
        /// Where they begin.
        at: u64,
    },
    /// A line that went over the limit before its end was seen; the rest of it is skipped.
    TooLong {
        /// Its first bytes, at most [`BEGINNING_BYTES`].
        head: &'a [u8],
        /// Where it begins.
        at: u64,
    },
}

/// Cuts a stream into [`Frame`]s. Holds at most `max_record + 2` bytes.
#[derive(Debug)]
pub struct Framer {
    most: usize,
    /// The beginning of a line whose end has not been seen.
    unfinished: Vec<u8>,
    /// Whether that line was given up as too long.
    skipping: bool,
    /// Stream position of the next byte.
    at: u64,
}

impl Framer {
    /// For records of at most `max_record` bytes, in a stream whose first byte is numbered `at`. Complete lines
    /// above the limit may still be passed on when they arrive in one chunk: the decoder turns them away.
    pub fn new(max_record: usize, at: u64) -> Self {
        Self {
            most: max_record + LINE_END,
            unfinished: Vec::new(),
            skipping: false,
            at,
        }
    }

    /// Takes the next bytes and passes on what they complete.
    pub fn push<F>(&mut self, bytes: &[u8], mut each: F) -> ControlFlow<()>
    where
        F: FnMut(Frame<'_>) -> ControlFlow<()>,
    {
        let whole = match self.complete(bytes, &mut each)? {
            Some(used) => used,
            None => return ControlFlow::Continue(()),
        };
        let rest = &bytes[whole..];
        let lines = memchr::memrchr(b'\n', rest).map_or(0, |last| last + 1);
        if lines > 0 {
            let at = self.at;
            self.at += lines as u64;
            each(Frame::Lines {
                bytes: &rest[..lines],
                at,
            })?;
        }
        self.keep(&rest[lines..], &mut each)
    }

    /// Ends the stream: a last line without an end is a record too.
    pub fn finish<F>(&mut self, mut each: F) -> ControlFlow<()>
    where
        F: FnMut(Frame<'_>) -> ControlFlow<()>,
    {
        self.skipping = false;
        let line = std::mem::take(&mut self.unfinished);
        if line.is_empty() {
            return ControlFlow::Continue(());
        }
        each(Frame::Lines {
            bytes: &line,
            at: self.at - line.len() as u64,
        })
    }

    /// Whether the stream stands in the middle of a line.
    pub fn is_unfinished(&self) -> bool {
        self.skipping || !self.unfinished.is_empty()
    }

    /// Whether it stands in the rest of a line that was too long.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Ends the line that earlier chunks began. Returns how many of `bytes` belong to it, `None` if all and more to come.
    fn complete<F>(&mut self, bytes: &[u8], each: &mut F) -> ControlFlow<(), Option<usize>>
    where
        F: FnMut(Frame<'_>) -> ControlFlow<()>,
    {
        if !self.is_unfinished() {
            return ControlFlow::Continue(Some(0));
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.skipping {
                self.at += bytes.len() as u64;
            } else {
                self.keep(bytes, each)?;
            }
            return ControlFlow::Continue(None);
        };
        let line_end = end + 1;
        if self.skipping {
            self.skipping = false;
            self.at += line_end as u64;
            return ControlFlow::Continue(Some(line_end));
        }
        self.keep(&bytes[..line_end], each)?;
        if self.skipping {
            self.skipping = false;
        } else {
            let line = std::mem::take(&mut self.unfinished);
            let at = self.at - line.len() as u64;
            each(Frame::Lines { bytes: &line, at })?;
            self.unfinished = line;
            self.unfinished.clear();
        }
        ControlFlow::Continue(Some(line_end))
    }

    /// Adds to the unfinished line, or gives it up when it grows over the limit.
    fn keep<F>(&mut self, bytes: &[u8], each: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Frame<'_>) -> ControlFlow<()>,
    {
        let begun = self.unfinished.len();
        self.at += bytes.len() as u64;
        if begun + bytes.len() <= self.most {
            self.unfinished.extend_from_slice(bytes);
            return ControlFlow::Continue(());
        }
        let at = self.at - (begun + bytes.len()) as u64;
        let missing = BEGINNING_BYTES.saturating_sub(begun).min(bytes.len());
        self.unfinished.extend_from_slice(&bytes[..missing]);
        let line = std::mem::take(&mut self.unfinished);
        self.skipping = true;
        each(Frame::TooLong {
            head: &line[..line.len().min(BEGINNING_BYTES)],
            at,
        })
    }
}
