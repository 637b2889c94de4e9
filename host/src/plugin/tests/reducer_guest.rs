//! A reducer.

use super::guests::embed;

/// A reducer of all columns, of which it gives the first values: as many as there are groups, if they are 64-bit numbers.
#[derive(Default)]
pub struct ReducerGuest<'a> {
    /// Further functions.
    pub more: &'a str,
    /// Instructions of `describe` before it answers; `$answer` is its answer, for writing over.
    pub describe: &'a str,
    /// As for `describe`, of `open`.
    pub open: &'a str,
    /// As for `describe`, of `reduce`; the columns of the answer are those at `$input`.
    pub reduce: &'a str,
}

impl ReducerGuest<'_> {
    /// The core module with its metadata.
    pub fn module(&self) -> Vec<u8> {
        let parts = [
            ("{more}", self.more),
            ("{describe}", self.describe),
            ("{open}", self.open),
            ("{reduce}", self.reduce),
        ];
        embed(TEMPLATE, &parts, "reducer-plugin")
    }
}

/// Layouts beside those of the transform: `plan` columns 0, invertible 8; `reduce` answers with a list at 4.
const TEMPLATE: &str = r#"
(module
  {more}
  {memory}

  (func (export "wasmill:plugin/reducer@0.1.0#describe")
      (param $config i32) (param $config_size i32) (param $fields i32) (param $field_count i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    (call $put (i32.add (local.get $answer) (i32.const 4))
      (call $names (local.get $fields) (local.get $field_count)) (local.get $field_count))
    {describe}
    (local.get $answer))

  (func (export "wasmill:plugin/reducer@0.1.0#open") (param i32 i32 i32 i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    {open}
    (local.get $answer))

  (func (export "wasmill:plugin/reducer@0.1.0#reduce")
      (param $epoch i64) (param $batch_time i64) (param $partition i32) (param $call i32) (param $watermark i64) (param $seed i64)
      (param $ends i32) (param $ends_size i32) (param $input i32) (param $columns i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $input) (local.get $columns))
    ;; Of a group's 4 bytes of end, 8 bytes of value.
    (i32.store offset=20 (local.get $input) (i32.mul (local.get $ends_size) (i32.const 2)))
    {reduce}
    (local.get $answer))

  (func (export "wasmill:plugin/reducer@0.1.0#inverse")
      (param i64 i64 i32 i32 i64 i64 i32 i32 i32 i32 i32) (result i32)
    unreachable))
"#;
