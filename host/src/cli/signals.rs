//! Ctrl-C and SIGTERM: the first asks the run to drain, the second ends the process at once.

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::run::Stop;

/// Listens from now on, to the end of the process.
///
/// # Errors
/// When the system does not let the process listen.
pub fn drain_on_signal(stop: Stop) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be listened to")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if stop.is_requested() {
                // As a shell reports a process that a signal killed.
                std::process::exit(128 + signal);
            }
            stop.request();
            tracing::warn!("draining; the same again ends at once");
        }
    });
    Ok(())
}
