//! The hand-written program: no engine, one thread, nothing but the work.
//!
//! It reads the files in pieces that fit a core's cache, cuts them into words at ASCII white space, counts them in a
//! hash table with a fast hash, and writes one sorted file.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::child::{self, Finished};

type Counts = HashMap<Box<[u8]>, u64, RandomState>;

const PIECE: usize = 256 << 10;

/// Runs it in a process of its own, as Wasmill runs.
pub fn run(input: &Path, output: &Path) -> anyhow::Result<Finished> {
    let this = std::env::current_exe()?;
    child::run(Command::new(this).arg("native").args([input, output]))
}

/// The program.
pub fn main(input: &Path, output: &Path) -> anyhow::Result<()> {
    let mut counts = Counts::default();
    let mut buffer = vec![0; PIECE];
    for entry in fs::read_dir(input)? {
        count_file(&entry?.path(), &mut buffer, &mut counts)?;
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_unstable();
    let mut file = BufWriter::new(File::create(output)?);
    for (word, n) in sorted {
        file.write_all(word)?;
        writeln!(file, ",{n}")?;
    }
    Ok(file.flush()?)
}

fn count_file(path: &Path, buffer: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    // Bytes at the start of `buffer` that are the beginning of a word, left from the piece before.
    let mut kept = 0;
    loop {
        if kept == buffer.len() {
            buffer.resize(2 * kept, 0);
        }
        let read = file.read(&mut buffer[kept..])?;
        let piece = &buffer[..kept + read];
        if read == 0 {
            count_words(piece, counts);
            return Ok(());
        }
        let whole = piece.iter().rposition(u8::is_ascii_whitespace).unwrap_or(0);
        let left = whole..piece.len();
        count_words(&piece[..whole], counts);
        kept = left.len();
        buffer.copy_within(left, 0);
    }
}

fn count_words(bytes: &[u8], counts: &mut Counts) {
    let words = bytes.split(u8::is_ascii_whitespace);
    for word in words.filter(|word| !word.is_empty()) {
        match counts.get_mut(word) {
            Some(n) => *n += 1,
            None => {
                counts.insert(word.into(), 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, count_file};

    #[test]
    fn a_word_that_lies_in_two_pieces_is_one_word() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "to be  or\nnotwithstanding to\tbe").unwrap();
        for piece in 1..40 {
            let mut counts = Counts::default();
            count_file(file.path(), &mut vec![0; piece], &mut counts).unwrap();
            let mut sorted: Vec<_> = counts.into_iter().collect();
            sorted.sort_unstable();
            let expected = [("be", 2), ("notwithstanding", 1), ("or", 1), ("to", 2)];
            assert_eq!(
                sorted,
                expected.map(|(word, n)| (word.as_bytes().into(), n))
            );
        }
    }
}
