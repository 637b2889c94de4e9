//! Runs a program to its end and says how long it took and how much memory it held at most.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How a program ran.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// From before it was started to its end.
    pub seconds: f64,
    /// The kernel's high-water mark of its resident memory (`VmHWM`).
    pub peak_bytes: u64,
}

/// The mark only grows, so what it was at most this long before the end will do.
const POLL: Duration = Duration::from_millis(5);

/// Runs `command`; what it says on standard error is shown only if it fails.
pub fn run(command: &mut Command) -> anyhow::Result<Finished> {
    let program = command.get_program().to_owned();
    let start = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("{} does not start", program.display()))?;
    let (pid, ended) = (child.id(), AtomicBool::new(false));
    let (output, seconds, peak_bytes) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(pid, &ended));
        let output = child.wait_with_output();
        let seconds = start.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (output, seconds, watcher.join())
    });
    let output = output?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}:\n{said}",
            program.display(),
            output.status
        );
    }
    let peak_bytes = peak_bytes.expect("reading a file does not panic");
    Ok(Finished {
        seconds,
        peak_bytes,
    })
}

fn watch(pid: u32, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ended.load(Ordering::Relaxed) {
        peak = peak.max(high_water_mark(pid).unwrap_or(0));
        std::thread::sleep(POLL);
    }
    peak
}

fn high_water_mark(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
