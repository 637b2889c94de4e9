//! Standard output, for what a command was asked for.

use std::io::Write as _;

use anyhow::Context as _;

/// Writes all of it. A reader that has gone (`| head`) is an error like any other, not a panic.
///
/// # Errors
/// When standard output cannot be written.
pub fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.context("standard output cannot be written")
}
