//! Reads the answers back, `word,count` a line, and compares them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

/// How often each word occurs.
pub type Counts = HashMap<String, u64>;

/// The counts in one file.
pub fn of_file(file: &Path) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    add_file(&mut counts, file)?;
    Ok(counts)
}

/// The counts in all files below `dir` whose names start with `prefix`, added up: Wasmill counts per epoch.
pub fn of_folder(dir: &Path, prefix: &str) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(prefix) {
                add_file(&mut counts, &entry.path())?;
            }
        }
    }
    Ok(counts)
}

fn add_file(counts: &mut Counts, file: &Path) -> anyhow::Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    for line in text.lines() {
        let parts = line
            .split_once(',')
            .and_then(|(word, n)| Some((word, n.parse::<u64>().ok()?)));
        let (word, n) = parts.with_context(|| format!("`{line}` in {}", file.display()))?;
        *counts.entry(word.to_owned()).or_default() += n;
    }
    Ok(())
}

/// Words in all.
pub fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// Both must be the same.
pub fn compare(expected: &Counts, counted: &Counts, who: &str) -> anyhow::Result<()> {
    let wrong = expected
        .iter()
        .find(|(word, n)| counted.get(*word) != Some(n));
    if let Some((word, n)) = wrong {
        let counted = counted.get(word);
        bail!("{who} counted `{word}` {counted:?} times, and the native program {n} times");
    }
    if counted.len() != expected.len() {
        bail!(
            "{who} found {} words, and the native program {}",
            counted.len(),
            expected.len()
        );
    }
    Ok(())
}
