//! What a cache does not keep: code that nobody has loaded for a month.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::unless_missing;
use crate::ids::Digest;

/// To the day it is known when something was used last, and as often somebody looks for what was not.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What was not used for so long goes.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The file whose time says when somebody has looked.
const LOOKED: &str = "swept";

/// Notes that a file was used: one that is not changed by it, a proof or what is known of a component.
pub fn used(file: &Path) {
    if age(file).is_ok_and(|age| age > DAY) {
        // Without it, the file goes too early, and what it says is found out again.
        set_used_now(file).ok();
    }
}

/// Removes what nobody has used for a month from a user's cache, if nobody has looked today.
///
/// # Errors
/// When the disk refuses.
pub fn sweep(folder: &Path) -> io::Result<()> {
    let looked = folder.join(LOOKED);
    if age(&looked).is_ok_and(|age| age < DAY) {
        return Ok(());
    }
    File::create(&looked)?;
    set_used_now(&looked)?;
    for file in files(folder)? {
        let Some(age) = unless_missing(age(&file))? else {
            continue;
        };
        let goes = match file.extension().and_then(OsStr::to_str) {
            Some("proof" | "about") => age > UNUSED,
            // A process has ended before it could prove it.
            Some("code") => age > DAY && !file.with_extension("proof").exists(),
            _ => false,
        };
        if goes {
            remove(&file)?;
        }
    }
    Ok(())
}

/// Removes the code of components that are gone, and what was not used for a month while other code of the same component was, as that of an earlier
/// Wasmill, from the cache of a server, whose catalog says what is kept.
///
/// # Errors
/// When the disk refuses.
pub fn forget(folder: &Path, mut is_gone: impl FnMut(Digest) -> bool) -> io::Result<()> {
    let files = unless_missing(files(folder))?.unwrap_or_default();
    let mut proofs: BTreeMap<Digest, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        match digest_of(&file) {
            Some(digest) if is_gone(digest) => remove(&file)?,
            Some(digest)
                if file
                    .extension()
                    .is_some_and(|extension| extension == "proof") =>
            {
                proofs.entry(digest).or_default().push(file);
            }
            _ => {}
        }
    }
    for same in proofs.values().filter(|same| same.len() > 1) {
        let ages = same.iter().map(|file| age(file));
        let ages = ages.collect::<io::Result<Vec<_>>>()?;
        if ages.iter().any(|age| *age <= UNUSED) {
            let mut old = same.iter().zip(&ages).filter(|(_, age)| **age > UNUSED);
            old.try_for_each(|(file, _)| remove(file))?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}

/// Removes a file, and with a proof the code that nobody would load without it. Another process may be as quick.
fn remove(file: &Path) -> io::Result<()> {
    if file
        .extension()
        .is_some_and(|extension| extension == "proof")
    {
        unless_missing(fs::remove_file(file.with_extension("code")))?;
    }
    unless_missing(fs::remove_file(file)).map(drop)
}

fn set_used_now(file: &Path) -> io::Result<()> {
    File::options()
        .append(true)
        .open(file)?
        .set_modified(SystemTime::now())
}

/// How long ago a file was written or used. One of the future is new: a clock was set back.
fn age(file: &Path) -> io::Result<Duration> {
    let modified = fs::metadata(file)?.modified()?;
    Ok(modified.elapsed().unwrap_or_default())
}

/// The component that a file of an entry is of.
fn digest_of(file: &Path) -> Option<Digest> {
    let (digest, _) = file.file_name()?.to_str()?.split_once('-')?;
    Digest::try_from(format!("sha256:{digest}")).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A folder with files that were used so many days ago.
    fn folder(files: &[(&str, u64)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, days) in files {
            let file = File::create(folder.path().join(name)).unwrap();
            let days = Duration::from_secs(days * 24 * 60 * 60 + 60);
            file.set_modified(SystemTime::now() - days).unwrap();
        }
        folder
    }

    fn left(folder: &tempfile::TempDir) -> BTreeSet<String> {
        let files = files(folder.path()).unwrap();
        let names = files.iter().map(|file| file.file_name().unwrap());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    fn entry(digest: u8, settings: &str, what: &str) -> String {
        format!("{}-{settings}.{what}", Digest([digest; 32]).hex())
    }

    #[test]
    fn what_was_not_used_for_a_month_goes_from_a_users_cache() {
        let folder = folder(&[
            ("key", 99),
            ("old.code", 99),
            ("old.proof", 31),
            ("used.code", 99),
            ("used.proof", 29),
            ("unproven.code", 1),
            ("unproven-yet.code", 0),
            ("old.about", 31),
            ("used.about", 29),
        ]);
        sweep(folder.path()).unwrap();
        let expected = [
            "key",
            "swept",
            "unproven-yet.code",
            "used.about",
            "used.code",
            "used.proof",
        ];
        assert_eq!(left(&folder), expected.map(str::to_owned).into());
    }

    #[test]
    fn a_user_who_works_all_day_waits_for_one_look() {
        let folder = folder(&[("swept", 0), ("old.code", 99), ("old.proof", 99)]);
        sweep(folder.path()).unwrap();
        assert_eq!(left(&folder).len(), 3);
        File::options()
            .append(true)
            .open(folder.path().join("swept"))
            .unwrap()
            .set_modified(SystemTime::now() - 2 * DAY)
            .unwrap();
        sweep(folder.path()).unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(left(&folder), ["swept".to_owned()].into());
    }

    #[test]
    fn what_is_used_stays() {
        let folder = folder(&[("it.code", 99), ("it.proof", 31)]);
        used(&folder.path().join("it.proof"));
        sweep(folder.path()).unwrap();
        assert_eq!(left(&folder).len(), 3);
    }

    #[test]
    fn a_server_forgets_what_is_gone_and_what_other_code_of_the_same_component_has_replaced() {
        let files = [
            (entry(1, "a", "code"), 1),
            (entry(1, "a", "proof"), 1),
            // Of a server that has run for a year: all that is named stays.
            (entry(2, "a", "code"), 365),
            (entry(2, "a", "proof"), 365),
            (entry(3, "a", "code"), 365),
            (entry(3, "a", "proof"), 31),
            (entry(3, "b", "code"), 20),
            (entry(3, "b", "proof"), 20),
        ];
        let names = files.each_ref().map(|(name, days)| (name.as_str(), *days));
        let folder = folder(&names);
        forget(folder.path(), |digest| digest == Digest([1; 32])).unwrap();
        let expected = [2, 3, 6, 7].map(|index| files[index].0.clone());
        assert_eq!(left(&folder), expected.into());
        forget(&folder.path().join("none"), |_| true).unwrap();
    }
}
