//! Guests in the text format, one function different from the next.

use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, PackageId, Resolve, WorldId};

/// A plugin that asks for every column and gives each back under its own name in the port `out`, with these functions in
/// place of its own.
#[derive(Default)]
pub struct Guest<'a> {
    /// Imports and further functions.
    pub more: &'a str,
    /// Instructions of `describe` before it answers; `$answer` is its answer, for writing over.
    pub describe: &'a str,
    /// Instructions of `open`.
    pub open: &'a str,
    /// Instructions of `process` that leave its answer's address; see [`TEMPLATE`] for what they can call.
    pub process: Option<&'a str>,
    /// Instructions of `cabi_realloc` before it allocates.
    pub realloc: Option<&'a str>,
}

/// The answer of the echo: what came in, row for row.
pub const ECHO: &str = "(call $produced (local.get $rows) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $input) (local.get $columns))";

impl Guest<'_> {
    /// The core module with its metadata.
    pub fn module(&self) -> Vec<u8> {
        let parts = [
            ("{more}", self.more),
            ("{describe}", self.describe),
            ("{open}", self.open),
            ("{process}", self.process.unwrap_or(ECHO)),
            ("{realloc}", self.realloc.unwrap_or_default()),
        ];
        embed(TEMPLATE, &parts, "transform-plugin")
    }
}

/// The module of a text in which each name is replaced by its part, and `{memory}` by [`MEMORY`], with the metadata of one of our worlds.
pub fn embed(template: &str, parts: &[(&str, &str)], world: &str) -> Vec<u8> {
    let text = template.replace("{memory}", MEMORY);
    let text = parts
        .iter()
        .fold(text, |text, (name, part)| text.replace(name, part));
    let text = text.replace("{realloc}", "");
    let module = wat::parse_str(text).expect("the test's guest is well-formed");
    let (resolve, ours) = contract();
    let world = resolve
        .select_world(&[ours], Some(world))
        .expect("the world is ours");
    with_metadata(module, &resolve, world)
}

/// A module that implements the one world of `wit` by trapping.
pub fn dummy(wit: &str) -> Vec<u8> {
    let (mut resolve, _) = contract();
    let package = resolve
        .push_str("test.wit", wit)
        .expect("the test's WIT is valid");
    let world = resolve
        .select_world(&[package], None)
        .expect("there is one world");
    let module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    with_metadata(module, &resolve, world)
}

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let (package, _) = resolve.push_path(wit).expect("our WIT is valid");
    (resolve, package)
}

fn with_metadata(mut module: Vec<u8>, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false)
        .expect("a module takes metadata");
    module
}

/// What guests have in common: a memory, and functions that write what the canonical ABI passes. `out` is written at 16; from 64 to 4096
/// there are zeros.
const MEMORY: &str = r#"
  (memory (export "memory") 2)
  (table $table 1 funcref)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 16) "out")

  (func $alloc (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.const 16)))
      (br $grow)))
    (memory.fill (local.get $at) (i32.const 0) (local.get $size))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    {realloc}
    (call $alloc (local.get 2) (local.get 3)))

  (func $put (param $at i32) (param $first i32) (param $second i32)
    (i32.store (local.get $at) (local.get $first))
    (i32.store offset=4 (local.get $at) (local.get $second)))

  ;; One column of three buffers.
  (func $column (param $validity i32) (param $validity_size i32) (param $offsets i32) (param $offsets_size i32)
      (param $data i32) (param $data_size i32) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 8) (i32.const 24)))
    (call $put (local.get $at) (local.get $validity) (local.get $validity_size))
    (call $put (i32.add (local.get $at) (i32.const 8)) (local.get $offsets) (local.get $offsets_size))
    (call $put (i32.add (local.get $at) (i32.const 16)) (local.get $data) (local.get $data_size))
    (local.get $at))

  ;; The names of some fields.
  (func $names (param $fields i32) (param $count i32) (result i32)
    (local $names i32) (local $i i32)
    (local.set $names (call $alloc (i32.const 8) (i32.mul (local.get $count) (i32.const 8))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
      (i64.store
        (i32.add (local.get $names) (i32.mul (local.get $i) (i32.const 8)))
        (i64.load (i32.add (local.get $fields) (i32.mul (local.get $i) (i32.const 20)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $names))
"#;

/// Layouts as the canonical ABI gives them: `field` name 0, data-type 8, nullable 16, size 20; `port` name 0, columns 8, carry 16,
/// size 20; `buffers` validity 0, offsets 8, data 16, size 24; `output` port 0, rows 4, origin 8 (its list 12), columns 20, size 28;
/// a result has its discriminant at 0 and its value at 4.
const TEMPLATE: &str = r#"
(module
  {more}
  {memory}
  ;; An answer with one output for port 0 and nothing rejected.
  (func $produced (param $rows i32) (param $origin i32) (param $parents i32) (param $parent_count i32)
      (param $columns i32) (param $column_count i32) (result i32)
    (local $answer i32) (local $output i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 44)))
    (local.set $output (call $alloc (i32.const 8) (i32.const 28)))
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $output) (i32.const 1))
    (i32.store offset=4 (local.get $output) (local.get $rows))
    (i32.store offset=8 (local.get $output) (local.get $origin))
    (call $put (i32.add (local.get $output) (i32.const 12)) (local.get $parents) (local.get $parent_count))
    (call $put (i32.add (local.get $output) (i32.const 20)) (local.get $columns) (local.get $column_count))
    (local.get $answer))

  (func (export "wasmill:plugin/transform@0.1.0#describe")
      (param $config i32) (param $config_size i32) (param $fields i32) (param $field_count i32) (result i32)
    (local $answer i32) (local $names i32) (local $port i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    (local.set $names (call $names (local.get $fields) (local.get $field_count)))
    (local.set $port (call $alloc (i32.const 8) (i32.const 20)))
    (call $put (local.get $port) (i32.const 16) (i32.const 3))
    (call $put (i32.add (local.get $port) (i32.const 8)) (local.get $fields) (local.get $field_count))
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $names) (local.get $field_count))
    (call $put (i32.add (local.get $answer) (i32.const 12)) (local.get $port) (i32.const 1))
    {describe}
    (local.get $answer))

  (func (export "wasmill:plugin/transform@0.1.0#open") (param i32 i32 i32 i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    {open}
    (local.get $answer))

  (func (export "wasmill:plugin/transform@0.1.0#process")
      (param $epoch i64) (param $batch_time i64) (param $partition i32) (param $call i32) (param $watermark i64) (param $seed i64)
      (param $rows i32) (param $input i32) (param $columns i32) (result i32)
    (local $at i32)
    {process})
  (func (export "cabi_post_wasmill:plugin/transform@0.1.0#process") (param i32)
    (global.set $heap (i32.const 4096))))
"#;

/// A sink that writes down the key of each partition and the bytes of its first column, gives that as its token, and ends every
/// commit with an error that says all tokens: what it was given can be seen in the failure.
#[derive(Default)]
pub struct SinkGuest<'a> {
    /// Imports, globals and further functions.
    pub more: &'a str,
    /// 0 at-least-once, 1 marker, 2 two-phase.
    pub delivery: u32,
    /// Instructions of `describe` before it answers.
    pub describe: &'a str,
    /// The same, of `open`.
    pub open: &'a str,
    /// The same, of `last-epoch`.
    pub last_epoch: &'a str,
    /// The same, of `begin`.
    pub begin: &'a str,
    /// Instructions of `write` before it answers; `$answer` is its answer, for writing over, and `$writes` how many writes this one makes.
    pub write: &'a str,
    /// As for `describe`, of `prepare`.
    pub prepare: &'a str,
    /// As for `write`, of `commit`.
    pub commit: &'a str,
    /// As for `describe`, of `abort`.
    pub abort: &'a str,
}

impl SinkGuest<'_> {
    /// The core module with its metadata.
    pub fn module(&self) -> Vec<u8> {
        let parts = [
            ("{more}", self.more),
            ("{delivery}", &self.delivery.to_string()),
            ("{describe}", self.describe),
            ("{open}", self.open),
            ("{last-epoch}", self.last_epoch),
            ("{begin}", self.begin),
            ("{write}", self.write),
            ("{prepare}", self.prepare),
            ("{commit}", self.commit),
            ("{abort}", self.abort),
        ];
        embed(SINK, &parts, "sink-plugin")
    }
}

/// Layouts beside those of [`TEMPLATE`]: `error` kind 0, message 4, rows 12, after-ms 20, size 28; the plan's delivery at 8; in
/// `last-epoch` the value is aligned to 8. The notes are at 64 KiB, the heap begins at 128 KiB.
const SINK: &str = r#"
(module
  {more}
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 131072))
  (global $noted (mut i32) (i32.const 0))
  (global $writes (mut i32) (i32.const 0))
  (data (i32.const 16) "again;")

  (func $alloc (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $alloc (local.get 2) (local.get 3)))
  (func $put (param $at i32) (param $first i32) (param $second i32)
    (i32.store (local.get $at) (local.get $first))
    (i32.store offset=4 (local.get $at) (local.get $second)))
  (func $note (param $from i32) (param $size i32)
    (memory.copy (i32.add (i32.const 65536) (global.get $noted)) (local.get $from) (local.get $size))
    (global.set $noted (i32.add (global.get $noted) (local.get $size))))
  (func $refuse (param $answer i32) (param $kind i32) (param $message i32) (param $size i32)
    (i32.store (local.get $answer) (i32.const 1))
    (i32.store offset=4 (local.get $answer) (local.get $kind))
    (call $put (i32.add (local.get $answer) (i32.const 8)) (local.get $message) (local.get $size)))

  (func (export "wasmill:plugin/sink@0.1.0#describe")
      (param $config i32) (param $config_size i32) (param $fields i32) (param $field_count i32) (result i32)
    (local $answer i32)
    {describe}
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    ;; The first column alone: a field begins with its name.
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $fields) (i32.const 1))
    (i32.store offset=12 (local.get $answer) (i32.const {delivery}))
    (local.get $answer))
  (func (export "wasmill:plugin/sink@0.1.0#open") (param i32 i32 i32 i32) (result i32)
    {open}
    (call $alloc (i32.const 8) (i32.const 32)))
  ;; Epoch 5 is the last one held.
  (func (export "wasmill:plugin/sink@0.1.0#last-epoch") (param i32) (result i32)
    (local $answer i32)
    {last-epoch}
    (local.set $answer (call $alloc (i32.const 8) (i32.const 40)))
    (i32.store offset=8 (local.get $answer) (i32.const 1))
    (i64.store offset=16 (local.get $answer) (i64.const 5))
    (local.get $answer))
  (func (export "wasmill:plugin/sink@0.1.0#begin")
      (param i64 i64 i32 i32 i64 i64) (param $key i32) (param $size i32) (result i32)
    {begin}
    (global.set $noted (i32.const 0))
    (call $note (local.get $key) (local.get $size))
    (call $note (i32.const 21) (i32.const 1))
    (call $alloc (i32.const 8) (i32.const 32)))
  (func (export "wasmill:plugin/sink@0.1.0#write")
      (param i64 i64 i32 i32 i64 i64) (param $rows i32) (param $input i32) (param $columns i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 40)))
    (global.set $writes (i32.add (global.get $writes) (i32.const 1)))
    (block $done
      {write}
      (call $note (i32.load offset=16 (local.get $input)) (i32.load offset=20 (local.get $input))))
    (local.get $answer))
  (func (export "wasmill:plugin/sink@0.1.0#prepare") (param i64 i64 i32 i32 i64 i64) (result i32)
    (local $answer i32) (local $token i32)
    {prepare}
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    (local.set $token (call $alloc (i32.const 8) (global.get $noted)))
    (memory.copy (local.get $token) (i32.const 65536) (global.get $noted))
    (call $put (i32.add (local.get $answer) (i32.const 4)) (local.get $token) (global.get $noted))
    (global.set $noted (i32.const 0))
    (local.get $answer))
  (func (export "wasmill:plugin/sink@0.1.0#commit") (param $epoch i64) (param $tokens i32) (param $count i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $alloc (i32.const 8) (i32.const 32)))
    (block $done
      {commit}
      (loop $next
        (call $note (i32.load (local.get $tokens)) (i32.load offset=4 (local.get $tokens)))
        (call $note (i32.const 21) (i32.const 1))
        (local.set $tokens (i32.add (local.get $tokens) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $next (local.get $count)))
      (call $refuse (local.get $answer) (i32.const 2) (i32.const 65536) (global.get $noted))
      (global.set $noted (i32.const 0)))
    (local.get $answer))
  (func (export "wasmill:plugin/sink@0.1.0#abort") (param i64 i32 i32) (result i32)
    {abort}
    (call $alloc (i32.const 8) (i32.const 32))))
"#;
