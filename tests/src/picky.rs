//! A plugin that copies its rows and cannot bear some of them.

use crate::guests::{ECHO, Guest};

/// The module of one that traps at a row with `!` in its first column.
pub fn picky() -> Vec<u8> {
    let process = format!(
        "(if (call $marked (i32.load offset=16 (local.get $input)) (i32.load offset=20 (local.get $input))) (then (unreachable))) {ECHO}"
    );
    let picky = Guest {
        more: MARKED,
        process: Some(&process),
        ..Guest::default()
    };
    picky.module()
}

/// A function, whether some bytes have the mark, `!`, in them.
pub const MARKED: &str = r#"
  (func $marked (param $from i32) (param $size i32) (result i32)
    (block $no (loop $next
      (br_if $no (i32.eqz (local.get $size)))
      (if (i32.eq (i32.load8_u (local.get $from)) (i32.const 33)) (then (return (i32.const 1))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (br $next)))
    (i32.const 0))
"#;
