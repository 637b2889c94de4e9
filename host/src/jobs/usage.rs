//! What the pipelines of a tenant cost.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::plugin::Engine;

/// Of a runner, or of all that a tenant has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Milliseconds of processor time: plugins and the host's own work on their rows.
    pub cpu_ms: u64,
    /// Bytes of memory now.
    pub memory_bytes: u64,
    /// Bytes of linear memory that plugins have now.
    pub plugin_memory_bytes: u64,
    /// Milliseconds that plugins have slept because their quota of processor time was used up, all together.
    pub plugin_waits_ms: u64,
}

impl Usage {
    /// Of this process, with plugins in `engine`; of a runner on threads of its server that is the server's. Zero where the system does
    /// not tell.
    pub fn of_this_process(engine: Option<&Engine>) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu_ms: cpu_ms(),
            memory_bytes: resident(&status).unwrap_or_default(),
            plugin_memory_bytes: engine.map_or(0, |engine| engine.memory().held()),
            plugin_waits_ms: engine.map_or(0, |engine| {
                u64::try_from(engine.quota().slept().as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_ms: self.cpu_ms + other.cpu_ms,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            plugin_memory_bytes: self.plugin_memory_bytes + other.plugin_memory_bytes,
            plugin_waits_ms: self.plugin_waits_ms + other.plugin_waits_ms,
        }
    }

    /// What stays of it when the process is gone.
    pub fn of_the_past(self) -> Self {
        Self {
            memory_bytes: 0,
            plugin_memory_bytes: 0,
            ..self
        }
    }
}

#[cfg(target_os = "linux")]
fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let time = std::time::Duration::try_from(time).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(not(target_os = "linux"))]
fn cpu_ms() -> u64 {
    0
}

/// Bytes of memory, as Linux shows a process.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let status = "Name:\twasmill\nVmHWM:\t  9000 kB\nVmRSS:\t    8104 kB\nThreads:\t1\n";
        assert_eq!(resident(status), Some(8104 << 10));
        assert_eq!(resident("Name:\twasmill\n"), None);
    }

    #[test]
    fn what_is_gone_has_used_time_and_holds_no_memory() {
        let gone = Usage {
            cpu_ms: 5,
            memory_bytes: 100,
            plugin_memory_bytes: 10,
            plugin_waits_ms: 1,
        };
        let expected = Usage {
            cpu_ms: 10,
            plugin_waits_ms: 2,
            ..gone
        };
        assert_eq!(gone.of_the_past().plus(gone), expected);
    }
}
