//! Lines for the pipeline's log: `wasmill_sdk::log::info!("{rows} rows")`.
//!
//! In WebAssembly they go through the contract's `host.log`; in a native test to standard error.

use std::cell::Cell;
use std::fmt;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Steps in between.
    Trace = 0,
    /// What a plugin's author wants to see.
    Debug = 1,
    /// What a pipeline's author wants to see.
    Info = 2,
    /// Something odd that went well.
    Warn = 3,
    /// Something that went wrong.
    Error = 4,
}

thread_local! {
    /// `describe` may call no import, so lines written there are dropped.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Writes a line; the macros of this module are shorter.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    text(level, &message.to_string());
}

/// Writes a line that is a text already: the macros would copy it first.
pub fn text(level: Level, message: &str) {
    if SILENT.get() {
        return;
    }
    #[cfg(target_arch = "wasm32")]
    crate::bindings::transform::wasmill::plugin::host::log(level as u8, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Runs `describe`.
#[cfg(target_arch = "wasm32")]
pub(crate) fn silently<T>(work: impl FnOnce() -> T) -> T {
    SILENT.set(true);
    let result = work();
    SILENT.set(false);
    result
}

/// Has a panic's message logged before the trap ends the instance: the trap itself does not carry it.
#[cfg(target_arch = "wasm32")]
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        write(Level::Error, format_args!("{panic}"));
    }));
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($message:tt)+) => {
        $crate::log::write($crate::log::Level::$level, ::std::format_args!($($message)+))
    };
}

/// Logs at level trace.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace { ($($message:tt)+) => { $crate::__log!(Trace, $($message)+) }; }
/// Logs at level debug.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug { ($($message:tt)+) => { $crate::__log!(Debug, $($message)+) }; }
/// Logs at level info.
#[doc(hidden)]
#[macro_export]
macro_rules! __info { ($($message:tt)+) => { $crate::__log!(Info, $($message)+) }; }
/// Logs at level warn.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn { ($($message:tt)+) => { $crate::__log!(Warn, $($message)+) }; }
/// Logs at level error.
#[doc(hidden)]
#[macro_export]
macro_rules! __error { ($($message:tt)+) => { $crate::__log!(Error, $($message)+) }; }

#[doc(inline)]
pub use crate::{
    __debug as debug, __error as error, __info as info, __trace as trace, __warn as warn,
};
