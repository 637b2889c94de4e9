//! Components that mean harm, each in one way: what a platform must survive with a typed error.
//!
//! Most are a whole and valid transform with one bad function ([`Guest`]); the rest are files that are no component, or that
//! stall whoever compiles them.

use std::time::{Duration, Instant};

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use wasmill::error::{Failure, Fault};
use wasmill::ids::{BatchTime, Epoch, PartitionId};
use wasmill::plugin::{CallContext, Engine, Grants, Limits, Transform};

use crate::guests::Guest;

/// One of them.
pub struct Hostile {
    /// What it does.
    pub name: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// A part of the error that it is to end with.
    pub expected: &'static str,
}

/// How one was met.
#[derive(Debug)]
pub struct Met {
    /// The error, if there was one and it blames the plugin.
    pub error: Option<String>,
    /// From the call that failed to its error; nothing of one that was refused before any call.
    pub took: Duration,
}

/// Limits that make a suite quick; the deadline is also that of `describe`.
pub fn limits() -> Limits {
    Limits {
        deadline: DEADLINE,
        memory: 4 << 20,
        table_elements: 10_000,
        output: 1 << 20,
        ..Limits::default()
    }
}

/// Time for each call.
pub const DEADLINE: Duration = Duration::from_millis(100);

impl Hostile {
    /// Loads, binds, opens and calls it, to its error.
    ///
    /// # Panics
    /// When Wasmill blames itself.
    pub fn meet(&self, engine: &Engine) -> Met {
        let component = match engine.load_bytes(self.name, &self.bytes) {
            Ok(component) => component,
            Err(failure) => return Met::failure(failure, Duration::ZERO),
        };
        let rows = rows();
        let (config, grants) = (serde_json::json!({}), Grants::default());
        let began = Instant::now();
        let schema = rows.schema();
        let bound = Transform::new(
            &component,
            &"step".into(),
            &config,
            &schema,
            &limits(),
            &grants,
        );
        let transform = match bound {
            Ok(transform) => transform,
            Err(failure) => return Met::failure(failure, began.elapsed()),
        };
        let context = CallContext {
            epoch: Epoch(1),
            time: BatchTime(0),
            partition: PartitionId(0),
            call: 0,
            seed: 0,
        };
        let began = Instant::now();
        let result = transform
            .open(&context)
            .and_then(|mut instance| instance.process(&context, &rows));
        Met {
            took: began.elapsed(),
            error: result.err().map(|error| error.to_string()),
        }
    }
}

impl Met {
    fn failure(failure: Failure, took: Duration) -> Self {
        assert_ne!(failure.fault, Fault::Internal, "{failure}");
        Self {
            took,
            error: Some(failure.to_string()),
        }
    }
}

fn rows() -> RecordBatch {
    let schema = Schema::new(vec![Field::new("line", DataType::Utf8, false)]);
    let column = StringArray::from(vec!["to be", "or not"]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).expect("a column as declared")
}

const ENDLESS: &str = "(loop $for_ever (br $for_ever))";
const LOG: &str = r#"(import "wasmill:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
const WASI: &str = r#"
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// A pipeline of one step that takes the lines of the tenant's files, within the limits that the suite of hostile plugins has.
pub fn pipeline(name: &str) -> String {
    format!(
        "name = \"{name}\"
[epoch]
interval = \"50ms\"
[sources.a]
type = \"files\"
path = \"in\"
[steps.b]
input = \"a\"
plugin = \"{name}\"
limits = {{ deadline = \"100ms\", memory = \"4MiB\", table_elements = 10000, output = \"1MiB\" }}
[sinks.c]
input = \"b\"
type = \"print\"
"
    )
}

/// All of them.
pub fn all() -> Vec<Hostile> {
    let mut all = calls();
    all.extend(answers());
    all.extend(others());
    all.extend(files());
    all
}

fn guest(name: &'static str, expected: &'static str, guest: Guest<'_>) -> Hostile {
    Hostile {
        name,
        bytes: guest.module(),
        expected,
    }
}

/// What a guest does instead of answering.
fn calls() -> Vec<Hostile> {
    let call = |name, expected, process| {
        let more = "(func $deeper (call $deeper) (call $deeper)) (type $nothing (func))";
        let guest_ = Guest {
            more,
            process: Some(process),
            ..Guest::default()
        };
        guest(name, expected, guest_)
    };
    let endless = format!("{ENDLESS} unreachable");
    vec![
        call("endless-loop", "did not return within", &endless),
        call(
            "endless-recursion",
            "KiB of stack",
            "(call $deeper) (i32.const 0)",
        ),
        call(
            "memory-bomb",
            "4MiB of memory",
            "(loop $more (drop (memory.grow (i32.const 1))) (br $more)) unreachable",
        ),
        call(
            "memory-bomb-at-once",
            "4MiB of memory",
            "(drop (memory.grow (i32.const 60000))) unreachable",
        ),
        call(
            "table-bomb",
            "10000 table elements",
            "(loop $more (drop (table.grow $table (ref.null func) (i32.const 100))) (br $more)) unreachable",
        ),
        call("unreachable", "trapped", "unreachable"),
        call(
            "division-by-zero",
            "divide by zero",
            "(i32.div_u (i32.const 1) (i32.const 0))",
        ),
        call(
            "load-out-of-bounds",
            "out of bounds",
            "(i32.load (i32.const 0x7fffffff))",
        ),
        call(
            "call-of-null",
            "trapped",
            "(call_indirect (type $nothing) (i32.const 0)) (i32.const 0)",
        ),
        call(
            "fill-without-end",
            "did not return within",
            "(loop $again (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br $again)) unreachable",
        ),
    ]
}

/// Answers that lie.
fn answers() -> Vec<Hostile> {
    let answer = |name, expected, process: &str| {
        let process = Guest {
            process: Some(process),
            ..Guest::default()
        };
        guest(name, expected, process)
    };
    let produced = |origin: &str, columns: &str| {
        format!("(call $produced (local.get $rows) {origin} {columns})")
    };
    let same = "(i32.const 0) (i32.const 0) (i32.const 0)";
    let echo = "(local.get $input) (local.get $columns)";
    let huge = "(call $column (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x7ffffff0)) (i32.const 1)";
    let big = "(call $column (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 131072)) (i32.const 1)";
    let many_big = format!(
        "(loop $grow (br_if $grow (i32.lt_u (memory.grow (i32.const 16)) (i32.const 32)))) {}",
        produced(
            same,
            "(call $column (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2097152)) (i32.const 1)"
        )
    );
    let offsets = format!(
        "(i32.store offset=4 (i32.load offset=8 (local.get $input)) (i32.const 0x7fffff)) {}",
        produced(same, echo)
    );
    let not_utf8 = format!(
        "(i32.store8 (i32.load offset=16 (local.get $input)) (i32.const 0xff)) {}",
        produced(same, echo)
    );
    let parents = format!(
        "(i32.store (i32.const 64) (i32.const 77)) {}",
        produced("(i32.const 1) (i32.const 64) (i32.const 2)", echo)
    );
    let port = format!(
        "(local.set $at {}) (i32.store (i32.load offset=4 (local.get $at)) (i32.const 9)) (local.get $at)",
        produced(same, echo)
    );
    vec![
        answer("lying-offsets", "offsets", &offsets),
        answer("not-utf8", "not UTF-8", &not_utf8),
        answer(
            "buffer-outside-memory",
            "out of bounds",
            &produced(same, huge),
        ),
        answer("output-bomb", "more output than its limit", &many_big),
        answer("wrong-size", "broke the contract", &produced(same, big)),
        answer(
            "huge-list",
            "broke the contract",
            &produced(same, "(local.get $input) (i32.const 0x0fffffff)"),
        ),
        answer(
            "no-columns",
            "made 0 columns",
            &produced(same, "(local.get $input) (i32.const 0)"),
        ),
        answer("parents-out-of-range", "parent 77 of 2 rows", &parents),
        answer("port-that-is-not-there", "port 9 of 1", &port),
        answer(
            "answer-outside-memory",
            "out of bounds",
            "(i32.const 0x7ffffff0)",
        ),
        answer("answer-unaligned", "broke the contract", "(i32.const 65)"),
        answer(
            "answer-of-no-kind",
            "discriminant",
            "(local.set $at (call $alloc (i32.const 8) (i32.const 44))) (i32.store (local.get $at) (i32.const 7)) (local.get $at)",
        ),
    ]
}

/// Harm in other places than a call: allocation, `describe`, `open`, the start of the module, imports.
fn others() -> Vec<Hostile> {
    let log_flood = "(loop $again (call $log (i32.const 4) (i32.const 0) (i32.const 65536)) (br $again)) unreachable";
    let sleep = "(i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 3600000000000))
      (loop $again (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512))) (br $again)) unreachable";
    let print = "(i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 65536))
      (loop $again (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72))) (br $again)) unreachable";
    let random = "(loop $again (drop (call $random (i32.const 0) (i32.const 65536))) (br $again)) unreachable";
    let wasi = |process| Guest {
        more: WASI,
        process: Some(process),
        ..Guest::default()
    };
    let realloc = |body| Guest {
        realloc: Some(body),
        ..Guest::default()
    };
    let many_ports = "(i32.store offset=16 (local.get $answer) (i32.const 0x07ffffff))";
    let unnamed = "(i32.store offset=4 (local.get $port) (i32.const 0))";
    let more = |more| Guest {
        more,
        ..Guest::default()
    };
    vec![
        guest(
            "log-flood",
            "did not return within",
            Guest {
                more: LOG,
                process: Some(log_flood),
                ..Guest::default()
            },
        ),
        guest("sleep-without-end", "did not return within", wasi(sleep)),
        guest("print-flood", "did not return within", wasi(print)),
        guest("random-flood", "did not return within", wasi(random)),
        guest(
            "exit",
            "trapped",
            wasi("(call $exit (i32.const 7)) unreachable"),
        ),
        guest("trap-in-realloc", "trapped", realloc("unreachable")),
        guest("loop-in-realloc", "did not return within", realloc(ENDLESS)),
        guest(
            "realloc-outside-memory",
            "beyond end of memory",
            realloc("(drop (i32.const 0)) (return (i32.const 0x7ffffff0))"),
        ),
        guest(
            "realloc-unaligned",
            "not aligned",
            realloc("(return (i32.const 4097))"),
        ),
        guest(
            "loop-in-describe",
            "did not return within",
            Guest {
                describe: ENDLESS,
                ..Guest::default()
            },
        ),
        guest(
            "trap-in-describe",
            "trapped",
            Guest {
                describe: "unreachable",
                ..Guest::default()
            },
        ),
        guest(
            "log-in-describe",
            "must only compute",
            Guest {
                more: LOG,
                describe: "(call $log (i32.const 4) (i32.const 0) (i32.const 1))",
                ..Guest::default()
            },
        ),
        guest(
            "ports-without-end",
            "describe",
            Guest {
                describe: many_ports,
                ..Guest::default()
            },
        ),
        guest(
            "port-without-name",
            "port",
            Guest {
                describe: unnamed,
                ..Guest::default()
            },
        ),
        guest(
            "loop-in-open",
            "did not return within",
            Guest {
                open: ENDLESS,
                ..Guest::default()
            },
        ),
        guest(
            "loop-at-start",
            "did not return within",
            more("(func $spin (loop $l (br $l))) (start $spin)"),
        ),
        guest(
            "huge-table",
            "table elements",
            more("(table $huge 9000000 funcref)"),
        ),
    ]
}

/// Files that are no plugin, or cost whoever reads them.
fn files() -> Vec<Hostile> {
    let file = |name, expected, bytes: Vec<u8>| Hostile {
        name,
        bytes,
        expected,
    };
    let whole = Guest::default().module();
    let half = whole[..whole.len() / 2].to_vec();
    let nested = (0..2_000).fold(String::from("(type $t0 (list u8))"), |mut types, depth| {
        types.push_str(&format!("(type $t{} (list $t{depth}))", depth + 1));
        types
    });
    let text = |text: &str| wat::parse_str(text).expect("the suite's text is well-formed");
    let many_functions = format!("(component (core module {}))", "(func)".repeat(200_000));
    vec![
        file(
            "no-webassembly",
            "is not WebAssembly",
            b"#!/bin/sh\nrm -rf /\n".to_vec(),
        ),
        file("empty", "is not WebAssembly", Vec::new()),
        file("half-a-module", "plugin", half),
        file(
            "compiled-code",
            "is not WebAssembly",
            b"\x7fELF\x02\x01\x01 a .cwasm begins like this".to_vec(),
        ),
        file(
            "no-world",
            "exports none of",
            text("(component (type (list u8)))"),
        ),
        file(
            "deep-types",
            "plugin",
            text(&format!("(component {nested})")),
        ),
        file("many-functions", "exports none of", text(&many_functions)),
        file("foreign-import", "no grant", foreign_import()),
    ]
}

/// A transform that wants the host's keys.
fn foreign_import() -> Vec<u8> {
    crate::guests::dummy(
        "package evil:plugin;
         interface keys { read: func() -> string; }
         world evil { import keys; export wasmill:plugin/transform@0.1.0; }",
    )
}

/// A valid component with one function that takes a compiler minutes: far below the limits of the format, far above what people write.
pub fn stalls_the_compiler() -> Vec<u8> {
    let step = "(local.set 0 (i64.add (local.get 0) (i64.mul (local.get 0) (local.get 0))))"
        .repeat(400_000);
    let more = format!("(func $giant (export \"giant\") (local i64) {step})");
    Guest {
        more: &more,
        ..Guest::default()
    }
    .module()
}
