//! What went wrong in a call, told from the runtime's error.

use wasmtime::{FrameInfo, FrameSymbol, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::call::CallError;
use super::host::shown_error;
use super::limits::{LimitReached, Limits};
use super::pool::PoolEmpty;
use crate::config::format_size;

/// Functions of a trap's stack that are shown.
const FRAMES: usize = 16;

/// Classifies an error of instantiation or of a call. `last_error` is what the guest logged last at level error.
pub(super) fn classify(
    error: &wasmtime::Error,
    limits: &Limits,
    last_error: Option<String>,
) -> CallError {
    if let Some(LimitReached(limit)) = error.downcast_ref() {
        return CallError::Limit(limit.clone());
    }
    if let Some(empty) = error.downcast_ref::<PoolEmpty>() {
        return CallError::Quota(empty.to_string());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return CallError::Quota(full.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::Deadline(limits.deadline),
        Some(Trap::StackOverflow) => {
            CallError::Limit(format!("{} of stack", format_size(limits.stack)))
        }
        Some(trap) => CallError::Trap {
            message: told(&trap.to_string(), last_error),
            stack: stack(error),
        },
        None => untyped(error, limits, last_error),
    }
}

/// Errors for which the runtime has no public type are told apart by their words; tests hold them to it.
fn untyped(error: &wasmtime::Error, limits: &Limits, last_error: Option<String>) -> CallError {
    let message = error.root_cause().to_string();
    if message.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::OutputTooLarge {
            limit: limits.output,
        };
    }
    if message.contains("resource limit exceeded: instance") {
        return CallError::Limit(format!("{} instances", limits.instances));
    }
    if message.contains("resource limit exceeded") {
        return CallError::Limit(message);
    }
    match stack(error) {
        // Failed while the host read what came back, not while the guest ran.
        empty if empty.is_empty() => CallError::Contract(message),
        stack => CallError::Trap {
            message: told(&message, last_error),
            stack,
        },
    }
}

fn told(trap: &str, last_error: Option<String>) -> String {
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(trap);
    match last_error {
        Some(said) => format!("{said} ({trap})"),
        None => trap.to_owned(),
    }
}

fn stack(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let frames = backtrace.frames().iter();
    frames.flat_map(functions).take(FRAMES).collect()
}

/// The function of a frame; where there is DWARF, also those that were inlined into it, with their lines and without those of
/// Rust's own library, which are many and never the place to look at.
fn functions(frame: &FrameInfo) -> Vec<String> {
    if frame.symbols().is_empty() {
        return vec![function(frame)];
    }
    let symbols = frame.symbols().iter();
    let own = symbols.filter(|symbol| {
        !symbol
            .file()
            .is_some_and(|file| file.starts_with("/rustc/"))
    });
    own.map(|symbol| with_line(symbol, frame)).collect()
}

fn with_line(symbol: &FrameSymbol, frame: &FrameInfo) -> String {
    let name = match symbol.name() {
        Some(name) => without_types(&demangled(name)).to_owned(),
        None => function(frame),
    };
    match (symbol.file(), symbol.line()) {
        (Some(file), Some(line)) => format!("{name} ({file}:{line})"),
        (Some(file), None) => format!("{name} ({file})"),
        (None, _) => name,
    }
}

fn function(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => demangled(name),
        None => format!("function {}", frame.func_index()),
    }
}

fn demangled(name: &str) -> String {
    shown_error(&format!("{:#}", rustc_demangle::demangle(name)))
}

/// A name in DWARF without the types that its function is for: they can take a screen.
fn without_types(name: &str) -> &str {
    match name.find('<') {
        Some(types) if types > 0 => &name[..types],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_a_generic_function_are_left_out() {
        assert_eq!(without_types("{closure#0}<a::B, c::D<E>>"), "{closure#0}");
        assert_eq!(without_types("<impl a::B>::c"), "<impl a::B>::c");
        assert_eq!(without_types("split"), "split");
    }
}
