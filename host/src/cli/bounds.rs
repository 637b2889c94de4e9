//! What compiling and checking what tenants send may take: options of the server, which hands them on to the processes that do it.

use std::path::PathBuf;
use std::time::Duration;

use crate::bounded::{Bounded, Bounds};
use crate::cgroup;
use crate::config::{parse_duration, parse_size};
use crate::error::Failure;

/// Bounds of each child process that works on what was pushed or applied.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct BoundsOptions {
    /// So much processor time may a plugin take to compile, or a pipeline to be checked
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    compile_time: Duration,

    /// So much memory may that take
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = size)]
    compile_memory: u64,
}

/// Reads a time on the command line.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a number and a unit, as in 30s".into())
}

/// Reads a size on the command line.
pub fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a number and a unit, as in 512MiB".into())
}

impl BoundsOptions {
    /// The bounds.
    pub fn bounds(self) -> Bounds {
        Bounds {
            time: self.compile_time,
            memory: self.compile_memory,
        }
    }

    /// This program within them.
    ///
    /// # Errors
    /// When its file is not known.
    pub fn this_program(self) -> Result<Bounded, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::external(format!("this program's file is not known: {error}"))
        })?;
        Ok(Bounded {
            program,
            bounds: self.bounds(),
            cgroup: None,
        })
    }
}

/// What a process is told that a server or a runner starts.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildOptions {
    #[command(flatten)]
    pub bounds: BoundsOptions,

    /// The control group to go to
    #[arg(long, value_name = "DIR")]
    pub join_cgroup: Option<PathBuf>,
}

impl ChildOptions {
    /// Goes to the group, if there is one.
    ///
    /// # Errors
    /// When it is gone.
    pub fn join(&self) -> Result<(), Failure> {
        let Some(group) = &self.join_cgroup else {
            return Ok(());
        };
        cgroup::join(group).map_err(|error| {
            let group = group.display();
            Failure::external(format!(
                "the control group `{group}` cannot be joined: {error}"
            ))
        })
    }

    /// The same, and holds this process to the bounds.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn impose(&self) -> Result<(), Failure> {
        self.join()?;
        self.bounds.bounds().impose()
    }
}
