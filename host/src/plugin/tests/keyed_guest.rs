//! A keyed plugin.

use super::guests::embed;

/// A keyed plugin of one input that asks for all its columns. It puts a state of 0 for every key, in a column `n`, sets no timer, and gives
/// each key back in the port `out`.
#[derive(Default)]
pub struct KeyedGuest<'a> {
    /// Further functions.
    pub more: &'a str,
    /// Instructions of `describe` before it answers; `$answer` is its answer, for writing over.
    pub describe: &'a str,
    /// As for `describe`, of `open`.
    pub open: &'a str,
    /// As for `describe`, of `process`.
    pub process: &'a str,
    /// As for `describe`, of `migrate`, whose answer has no columns.
    pub migrate: &'a str,
}

impl KeyedGuest<'_> {
    /// The core module with its metadata.
    pub fn module(&self) -> Vec<u8> {
        let parts = [
            ("{more}", self.more),
            ("{describe}", self.describe),
            ("{open}", self.open),
            ("{process}", self.process),
            ("{migrate}", self.migrate),
        ];
        embed(TEMPLATE, &parts, "keyed-plugin")
    }
}

/// Layouts beside those of the transform: `plan` inputs 0, state 8, state-version 16, migrates-from 20, whole-groups 28, ports 32;
/// `changes` ops 0, state 8, timers 16, outputs 24, rejected 32; `rejects` rows 0, reasons 8, size 32; a result has its value at 4.
const TEMPLATE: &str = r#"
(module
  {more}
  {memory}
  (data (i32.const 24) "n")
  (data (i32.const 32) "int64")

  (func (export "wasmill:plugin/keyed@0.1.0#describe")
      (param $config i32) (param $config_size i32) (param $keys i32) (param $key_count i32)
      (param $inputs i32) (param $input_count i32) (result i32)
    (local $answer i32) (local $columns i32) (local $state i32) (local $port i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 44)))
    (local.set $columns (call $alloc (i32.const 8) (i32.const 16)))
    (call $put (local.get $columns)
      (call $names (i32.load (local.get $inputs)) (i32.load offset=4 (local.get $inputs)))
      (i32.load offset=4 (local.get $inputs)))
    (local.set $state (call $alloc (i32.const 8) (i32.const 20)))
    (call $put (local.get $state) (i32.const 24) (i32.const 1))
    (call $put (i32.add (local.get $state) (i32.const 8)) (i32.const 32) (i32.const 5))
    (local.set $port (call $alloc (i32.const 8) (i32.const 20)))
    (call $put (local.get $port) (i32.const 16) (i32.const 3))
    (call $put (i32.add (local.get $port) (i32.const 8)) (local.get $keys) (local.get $key_count))
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $columns) (i32.const 1))
    (call $put (i32.add (local.get $answer) (i32.const 12)) (local.get $state) (i32.const 1))
    (call $put (i32.add (local.get $answer) (i32.const 36)) (local.get $port) (i32.const 1))
    {describe}
    (local.get $answer))

  (func (export "wasmill:plugin/keyed@0.1.0#open") (param i32 i32 i32 i32 i32 i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    {open}
    (local.get $answer))

  (func (export "wasmill:plugin/keyed@0.1.0#process")
      (param $epoch i64) (param $batch_time i64) (param $partition i32) (param $call i32) (param $watermark i64) (param $seed i64)
      (param $rows i32) (param $status i32) (param $status_size i32) (param $keys i32) (param $key_columns i32)
      (param $state i32) (param $state_columns i32) (param $inputs i32) (param $input_count i32) (result i32)
    (local $answer i32) (local $ops i32) (local $puts i32) (local $output i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 44)))
    (local.set $ops (call $alloc (i32.const 8) (local.get $rows)))
    (memory.fill (local.get $ops) (i32.const 1) (local.get $rows))
    (local.set $puts (call $column (i32.const 64) (i32.const 0) (i32.const 64) (i32.const 0)
      (call $alloc (i32.const 8) (i32.mul (local.get $rows) (i32.const 8))) (i32.mul (local.get $rows) (i32.const 8))))
    (local.set $output (call $alloc (i32.const 8) (i32.const 28)))
    (i32.store offset=4 (local.get $output) (local.get $rows))
    (call $put (i32.add (local.get $output) (i32.const 20)) (local.get $keys) (local.get $key_columns))
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $ops) (local.get $rows))
    (call $put (i32.add (local.get $answer) (i32.const 12)) (local.get $puts) (i32.const 1))
    (call $put (i32.add (local.get $answer) (i32.const 28)) (local.get $output) (i32.const 1))
    {process}
    (local.get $answer))

  (func (export "wasmill:plugin/keyed@0.1.0#migrate")
      (param $version i32) (param $old i32) (param $old_count i32) (param $rows i32) (param $state i32) (param $columns i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    {migrate}
    (local.get $answer)))
"#;
