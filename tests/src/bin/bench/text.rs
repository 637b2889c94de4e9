//! The text: prose-like lines over 60,000 invented words, frequent ones short, in Zipf's proportions. The same bytes on every machine.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const VOCABULARY: usize = 60_000;
/// Each file is a little less than the source's split size, as a log that is rotated by size would be.
const FILE_BYTES: u64 = 15_000_000;

/// A folder of text files.
pub struct Text {
    /// The folder; nothing else is in it.
    pub dir: PathBuf,
    bytes: u64,
}

impl Text {
    /// The text of at least so many bytes below `dir`, made if it is not there.
    pub fn prepare(dir: &Path, bytes: u64) -> anyhow::Result<Self> {
        let done = dir.join(format!("text-{bytes}"));
        if !done.exists() {
            let aside = dir.join("text-unfinished");
            eprintln!("making {} MB of text", bytes / 1_000_000);
            write(&aside, bytes).with_context(|| format!("cannot write {}", aside.display()))?;
            fs::rename(&aside, &done)?;
        }
        let lengths = fs::read_dir(&done)?.map(|entry| Ok(entry?.metadata()?.len()));
        let bytes = lengths.sum::<std::io::Result<u64>>()?;
        Ok(Self { dir: done, bytes })
    }

    /// Its size in millions of bytes.
    pub fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

fn write(dir: &Path, bytes: u64) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let mut random = Random(1);
    let words = vocabulary(&mut random);
    let ranks = Zipf::new(words.len());
    for part in 0..bytes.div_ceil(FILE_BYTES) {
        let mut file = BufWriter::new(File::create(dir.join(format!("part-{part:03}.txt")))?);
        let (mut written, target) = (0, FILE_BYTES.min(bytes - part * FILE_BYTES));
        while written < target {
            let line: Vec<_> = (0..8 + random.below(9))
                .map(|_| words[ranks.pick(&mut random)].as_str())
                .collect();
            let line = line.join(" ");
            writeln!(file, "{line}")?;
            written += line.len() as u64 + 1;
        }
        file.flush()?;
    }
    Ok(())
}

/// Invented words, the most frequent first: of syllables, the more the rarer the word.
fn vocabulary(random: &mut Random) -> Vec<String> {
    const STARTS: [&str; 20] = [
        "", "", "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st",
        "th", "tr",
    ];
    const MIDDLES: [&str; 10] = ["a", "e", "i", "o", "u", "a", "e", "o", "ea", "ou"];
    const ENDS: [&str; 12] = ["", "", "", "", "n", "r", "s", "t", "l", "d", "ng", "st"];
    let mut seen = HashSet::new();
    let mut words = Vec::with_capacity(VOCABULARY);
    while words.len() < VOCABULARY {
        let syllables = match words.len() {
            0..150 => 1,
            150..3_000 => 1 + random.below(2),
            _ => 2 + random.below(2),
        };
        let syllable = |random: &mut Random| {
            [&STARTS[..], &MIDDLES, &ENDS]
                .map(|parts| parts[random.below(parts.len() as u64) as usize])
        };
        let word: String = (0..syllables).flat_map(|_| syllable(random)).collect();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

/// Picks ranks in proportion to 1 / (rank + 2.7), as words of prose occur.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize) -> Self {
        let weights = (1..=ranks).scan(0.0, |sum, rank| {
            *sum += 1.0 / (rank as f64 + 2.7);
            Some(*sum)
        });
        Self(weights.collect())
    }

    fn pick(&self, random: &mut Random) -> usize {
        let total = self.0.last().copied().unwrap_or_default();
        let at = random.fraction() * total;
        self.0
            .partition_point(|sum| *sum <= at)
            .min(self.0.len() - 1)
    }
}

/// SplitMix64. Not a crate's generator: those may change their numbers from one version to the next, and the text would too.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number in `0.0..1.0`.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
