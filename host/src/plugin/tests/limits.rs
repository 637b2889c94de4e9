//! Failures that a limit ends, or a trap: which it was is told, in every world alike.

use std::time::Duration;

use super::super::{CallError, Limits};

/// Of a guest whose body calls it: a function that never comes back from itself.
pub const DEEPER: &str = "(func $deeper (call $deeper) (call $deeper))";

const ENDLESS: &str = "(loop $for_ever (br $for_ever))";

/// `called` and `opened` run a guest with these instructions in its main function, and in `open`, to its error; `huge` are those that
/// answer with more than 64 KiB. The guest has [`DEEPER`].
pub fn are_told_apart(
    called: impl Fn(&str, Limits) -> CallError,
    opened: impl Fn(&str, Limits) -> CallError,
    huge: &str,
) {
    let trap = called("unreachable", Limits::default());
    assert!(
        matches!(&trap, CallError::Trap { message, .. } if message.contains("unreachable")),
        "{trap:?}"
    );
    let deadline = Duration::from_millis(50);
    let limits = || Limits {
        deadline,
        memory: 1 << 20,
        output: 65_536,
        ..Limits::default()
    };
    assert_eq!(called(ENDLESS, limits()), CallError::Deadline(deadline));
    assert_eq!(opened(ENDLESS, limits()), CallError::Deadline(deadline));
    let bomb = "(loop $more (drop (memory.grow (i32.const 1))) (br $more))";
    let memory = CallError::Limit("1MiB of memory".into());
    assert_eq!(called(bomb, limits()), memory);
    let limit = 65_536;
    assert_eq!(called(huge, limits()), CallError::OutputTooLarge { limit });
    let Limits { stack, .. } = Limits::default();
    let stack = CallError::Limit(format!("{}KiB of stack", stack >> 10));
    assert_eq!(called("(call $deeper)", Limits::default()), stack);
}
