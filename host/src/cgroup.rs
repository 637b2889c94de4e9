//! Control groups (version 2) of a server, where the system has delegated it one to divide, as systemd does with `Delegate=yes`:
//!
//! ```text
//! DIR                  delegated
//! +- server            the server itself                            cpu.weight 1000
//! +- checks            what compiles and checks for it              cpu.weight 1
//! +- tenant-NAME       a tenant's runner, and what it starts        cpu.weight 100, memory.max
//! ```
//!
//! The kernel then shares the processor evenly between tenants who all want more, however many threads each has, and holds a tenant to its memory
//! with all that its processes have. Without groups there is what a process can do to itself: `nice` and rlimits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Failure;
use crate::ids::TenantId;

/// Weights of the parts, between 1 and 10,000; 100 is what the kernel gives.
const SERVER: u32 = 1000;
const CHECKS: u32 = 1;

/// The parts of the group in this folder, to start processes in.
#[derive(Clone, Debug)]
pub struct Cgroups(PathBuf);

impl Cgroups {
    /// Divides the group of a folder. This process moves to a part of it, if it is in the whole, for one that is divided has no processes.
    ///
    /// # Errors
    /// When it is no control group, or not this process's to divide.
    pub fn divide(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let folder = folder.display();
            Failure::external(format!("the control group `{folder}` cannot be divided: {error}"))
                .help("it must be one of version 2 that is delegated to the server's user, as systemd's `Delegate=yes` makes it; `--cgroup off` does without")
        };
        let controllers = fs::read_to_string(folder.join("cgroup.controllers")).map_err(failed)?;
        let has = |name: &&str| controllers.split_whitespace().any(|there| there == *name);
        let this = Self(folder.to_owned());
        let (server, checks) = (this.part("server"), this.checks());
        for part in [&server, &checks] {
            fs::create_dir_all(part).map_err(failed)?;
        }
        if own().is_some_and(|own| own == folder) {
            join(&server).map_err(failed)?;
        }
        let divided: Vec<&str> = ["cpu", "memory"].into_iter().filter(has).collect();
        for controller in &divided {
            let given = format!("+{controller}");
            fs::write(folder.join("cgroup.subtree_control"), given).map_err(failed)?;
        }
        if divided.contains(&"cpu") {
            for (part, weight) in [(&server, SERVER), (&checks, CHECKS)] {
                fs::write(part.join("cpu.weight"), weight.to_string()).map_err(failed)?;
            }
        }
        tracing::info!(folder = %folder.display(), ?divided, "tenants have control groups");
        Ok(this)
    }

    /// For what works on what tenants have sent before it is theirs.
    pub fn checks(&self) -> PathBuf {
        self.part("checks")
    }

    /// A tenant's, made if it is not there.
    ///
    /// # Errors
    /// When the system has no room for more.
    pub fn tenant(&self, tenant: &TenantId) -> io::Result<PathBuf> {
        let part = self.part(&format!("tenant-{tenant}"));
        fs::create_dir_all(&part)?;
        Ok(part)
    }

    fn part(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Moves this process, with all its threads, to a group.
///
/// # Errors
/// When the group is gone.
pub fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// Holds a group to so much memory, where memory is divided. What is beyond it ends all of its processes: a runner whose children are gone is of no
/// use.
///
/// # Errors
/// When the group is gone.
pub fn hold_to(group: &Path, memory: Option<u64>) -> io::Result<()> {
    if !group.join("memory.max").exists() {
        return Ok(());
    }
    let most = memory.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
    fs::write(group.join("memory.oom.group"), "1")?;
    fs::write(group.join("memory.max"), most)
}

/// The group that this process is in, if there are groups of version 2.
pub fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    group_of(&groups, &mounts)
}

/// The same, if the system says that it is this process's to divide.
#[cfg(target_os = "linux")]
pub fn delegated() -> Option<PathBuf> {
    let own = own()?;
    let mut value = [0; 1];
    // systemd says so to programs like this one.
    let is_so = rustix::fs::getxattr(&own, "user.delegate", &mut value).is_ok() && value == *b"1";
    is_so.then_some(own)
}

/// Other systems have no groups.
#[cfg(not(target_os = "linux"))]
pub fn delegated() -> Option<PathBuf> {
    None
}

/// Where a process's group of version 2 is, by what the kernel says of its groups and of what is mounted.
fn group_of(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let point = mounts.lines().find_map(|line| {
        // Fields, then ` - ` and the type.
        let (fields, kind) = line.split_once(" - ")?;
        let is_groups = kind.split(' ').next() == Some("cgroup2");
        is_groups.then(|| fields.split(' ').nth(4)).flatten()
    })?;
    Some(Path::new(point).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_finds_its_group() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n31 22 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let group = group_of(
            "1:name=systemd:/x\n0::/system.slice/wasmill.service\n",
            mounts,
        );
        let expected = "/sys/fs/cgroup/system.slice/wasmill.service";
        assert_eq!(group.as_deref(), Some(Path::new(expected)));
        assert_eq!(
            group_of("0::/\n", mounts).as_deref(),
            Some(Path::new("/sys/fs/cgroup/"))
        );
        assert_eq!(group_of("4:memory:/x\n", mounts), None);
        assert_eq!(
            group_of("0::/\n", "22 1 254:0 / / rw - ext4 /dev/vda rw\n"),
            None
        );
    }

    #[test]
    fn what_is_no_group_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failure = Cgroups::divide(folder.path()).expect_err("a folder is no group");
        assert!(failure.message.contains("cannot be divided"), "{failure}");
        assert!(
            failure
                .help
                .is_some_and(|help| help.contains("Delegate=yes"))
        );
    }
}
