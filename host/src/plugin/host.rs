//! The host's side of an instance: what its store holds, and `host.log`, all that a plugin may import without a grant.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime::component::HasData;

use super::bindings::wasmill::plugin::host;
use super::call::CallContext;
use super::limits::Limiter;
use super::meter::Meter;
use super::wasi::Wasi;
use crate::ids::{Epoch, NodeName, PartitionId};
use crate::throttle::Throttle;

/// What the store of an instance holds.
pub(super) struct State {
    pub limiter: Limiter,
    pub meter: Meter,
    pub log: InstanceLog,
    /// Present exactly if the component imports any of it.
    pub wasi: Option<Box<Wasi>>,
}

impl State {
    pub fn new(limiter: Limiter, meter: Meter, log: &Arc<Log>, wasi: Option<Box<Wasi>>) -> Self {
        let log = InstanceLog {
            log: log.clone(),
            place: None,
            last_error: None,
        };
        Self {
            limiter,
            meter,
            log,
            wasi,
        }
    }

    /// Makes the state that of a call.
    pub fn begin(&mut self, context: &CallContext) {
        self.log.place = Some((context.epoch, context.partition));
        if let Some(wasi) = &mut self.wasi {
            wasi.begin(context);
        }
    }

    /// The call is over: its time is taken, and what it printed goes to the log.
    pub fn end(&mut self) {
        self.meter.end();
        if let Some(wasi) = &self.wasi {
            let printed = wasi.printed();
            self.log.printed(&printed.output, OUTPUT);
            self.log.printed(&printed.error, WARNING);
            let last = || Some(shown(String::from_utf8_lossy(&printed.error).trim()));
            if !printed.error.is_empty() {
                self.log.last_error = self.log.last_error.take().or_else(last);
            }
        }
    }
}

impl HasData for State {
    type Data<'a> = &'a mut InstanceLog;
}

impl host::Host for InstanceLog {
    fn log(&mut self, level: u8, message: String) -> wasmtime::Result<()> {
        self.write(level, &message);
        Ok(())
    }
}

/// Lines that all instances of a bound plugin may log in a second: enough to follow a run, too few to slow it down.
const LINES: u32 = 50;
/// Bytes of one line that are shown.
const LINE_BYTES: usize = 4 << 10;
/// The level of an error in `wit/host.wit`.
const ERROR: u8 = 4;
/// The levels at which standard output and standard error are logged.
const OUTPUT: u8 = 2;
const WARNING: u8 = 3;

/// The log of one bound plugin, shared by its instances; lets through a number of lines a second and counts the others.
#[derive(Debug)]
pub(super) struct Log {
    node: NodeName,
    plugin: Arc<str>,
    throttle: Mutex<Throttle>,
}

impl Log {
    pub fn new(node: NodeName, plugin: Arc<str>) -> Self {
        Self {
            node,
            plugin,
            throttle: Mutex::new(Throttle::new(LINES, Instant::now())),
        }
    }

    /// The step or sink.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Whether one more line fits; says at most once a second how many did not.
    fn admit(&self, now: Instant) -> bool {
        let throttle = self.throttle.lock();
        let verdict = throttle.unwrap_or_else(PoisonError::into_inner).admit(now);
        self.report(verdict.lost);
        verdict.passes
    }

    fn report(&self, dropped: u64) {
        if dropped > 0 {
            let (node, plugin) = (&self.node, &self.plugin);
            tracing::warn!(%node, %plugin, dropped, "the plugin logs too much: lines were dropped");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let throttle = self.throttle.get_mut();
        let dropped = throttle.unwrap_or_else(PoisonError::into_inner).take_lost();
        self.report(dropped);
    }
}

/// One instance's view of the log.
#[derive(Debug)]
pub(super) struct InstanceLog {
    log: Arc<Log>,
    /// What the current call works on.
    pub place: Option<(Epoch, PartitionId)>,
    /// The last error logged in the current call: what a guest's panic hook says before it traps.
    pub last_error: Option<String>,
}

macro_rules! event {
    ($level:expr, $log:expr, $message:expr) => {{
        let (node, plugin) = (&$log.log.node, &$log.log.plugin);
        match $log.place {
            Some((epoch, partition)) => {
                tracing::event!($level, %node, %plugin, %epoch, %partition, "{}", $message)
            }
            None => tracing::event!($level, %node, %plugin, "{}", $message),
        }
    }};
}

impl InstanceLog {
    fn printed(&mut self, bytes: &[u8], level: u8) {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.write(level, line);
        }
    }

    fn write(&mut self, level: u8, message: &str) {
        use tracing::Level;

        let message = shown(message);
        if level >= ERROR {
            self.last_error = Some(message.clone());
        }
        if !self.log.admit(Instant::now()) {
            return;
        }
        match level {
            0 => event!(Level::TRACE, self, message),
            1 => event!(Level::DEBUG, self, message),
            2 => event!(Level::INFO, self, message),
            3 => event!(Level::WARN, self, message),
            _ => event!(Level::ERROR, self, message),
        }
    }
}

/// A line that can neither forge other lines nor steer a terminal.
fn shown(message: &str) -> String {
    cut(message, char::is_control)
}

/// What a plugin says of an error: it may have lines, as a traceback has, and steers no terminal either.
pub(super) fn shown_error(message: &str) -> String {
    cut(message.trim_end(), |character| {
        character.is_control() && character != '\n'
    })
}

/// No more than a line may have, and escaped where it has to be.
fn cut(message: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let end = message.floor_char_boundary(LINE_BYTES);
    let text = &message[..end];
    let mut line = String::with_capacity(end);
    // Nearly always; without a way out of the loop it looks at many bytes at once.
    let is_plain = text
        .bytes()
        .fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    if is_plain {
        line.push_str(text);
    } else {
        for character in text.chars() {
            match is_escaped(character) {
                true => line.extend(character.escape_default()),
                false => line.push(character),
            }
        }
    }
    if end < message.len() {
        line.push_str(" ...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_forge_another_nor_be_endless() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown_error("a\nb\u{1b}[31m\n"), "a\nb\\u{1b}[31m");
        let long = shown(&"ü".repeat(LINE_BYTES));
        assert!(
            long.len() < LINE_BYTES + 8 && long.ends_with(" ..."),
            "{}",
            long.len()
        );
    }
}
