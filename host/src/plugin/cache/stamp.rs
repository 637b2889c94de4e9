//! Whether a file is still what it was when all of it was last read, as far as the file system can tell without reading it again.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How old a change must be before the next one is sure to have another time: far above the resolution of any file system's clock.
const SETTLED: Duration = Duration::from_secs(2);

/// The state of a file. Any write changes it: a user can set the time of modification, and not that of the change of the inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file; nothing where the system has no such times.
    #[cfg(unix)]
    pub fn of(file: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Of a file; nothing where the system has no such times.
    #[cfg(not(unix))]
    pub fn of(_file: &Metadata) -> Option<Self> {
        None
    }

    /// Whether a later change would show: one right after this could fall into the same tick of the clock.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let changed = Duration::from_secs(self.changed.0.max(0).unsigned_abs());
        now.saturating_sub(changed) > SETTLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changed_just_now_may_change_again_unseen() {
        let stamp = Stamp {
            device: 1,
            inode: 2,
            size: 3,
            modified: (0, 0),
            changed: (1_000, 999),
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(!stamp.is_settled(at(999)), "a clock that was set back");
        assert!(!stamp.is_settled(at(1_002)));
        assert!(stamp.is_settled(at(1_003)));
    }

    #[cfg(unix)]
    #[test]
    fn a_write_of_the_same_size_with_its_time_set_back_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let stamp = || Stamp::of(&std::fs::metadata(&path).unwrap()).unwrap();
        write("one");
        let (before, time) = (
            stamp(),
            std::fs::metadata(&path).unwrap().modified().unwrap(),
        );
        assert_eq!(before, stamp());
        std::thread::sleep(Duration::from_millis(20));
        write("two");
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
        assert_eq!(before.modified, stamp().modified);
        assert_ne!(before, stamp());
    }
}
