//! A component before and after, side by side.

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

use super::fuse;

/// As componentize-py links: memory and table in one module, libraries on bases that globals give, what the host is asked by way of a table
/// that is filled last.
const LINKED: &str = r#"
(component
  (import "add" (func $add (param "x" u32) (result u32)))
  (import "length" (func $length (param "text" string) (result u32)))
  (core module $shim
    (type $length (func (param i32 i32) (result i32)))
    (table (export "$imports") 1 1 funcref)
    (func (export "0") (type $length)
      local.get 0 local.get 1 i32.const 0 call_indirect (type $length)))
  (core module $fixup
    (import "" "0" (func $length (param i32 i32) (result i32)))
    (import "" "$imports" (table 1 1 funcref))
    (elem (i32.const 0) func $length))
  (core module $env
    (memory (export "memory") 1)
    (table (export "table") 8 funcref)
    (global (export "stack") (mut i32) (i32.const 1024))
    (global (export "lib:base") i32 (i32.const 16))
    (global (export "lib:table") i32 (i32.const 2))
    (global (export "lib:text") (mut i32) (i32.const 16))
    (global (export "lib:size") (mut i32) (i32.const 5))
    (data (i32.const 8) "\07")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core module $lib
    (type $number (func (param i32) (result i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 8 funcref))
    (import "env" "base" (global $base i32))
    (import "env" "table_base" (global $table i32))
    (import "env" "stack" (global $stack (mut i32)))
    (import "free" "add" (func $add (param i32) (result i32)))
    (global $own (mut i32) (i32.const 3))
    (elem (global.get $table) func $twice $thrice)
    (elem $later funcref (ref.func $seventh))
    (data $text "hello, you")
    (func $twice (type $number) local.get 0 i32.const 2 i32.mul)
    (func $thrice (type $number) local.get 0 global.get $own i32.mul)
    (func $seventh (type $number) local.get 0 i32.const 8 i32.load8_u i32.mul)
    (func (export "fill")
      (memory.init $text (global.get $base) (i32.const 0) (i32.const 10))
      (table.init $later (i32.const 5) (i32.const 0) (i32.const 1)))
    (func (export "push") (param i32) (result i32)
      (global.set $stack (i32.sub (global.get $stack) (local.get 0)))
      (global.set $own (i32.add (global.get $own) (i32.const 1)))
      (call $add (global.get $stack))))
  (core module $main
    (type $number (func (param i32) (result i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 8 funcref))
    (import "env" "stack" (global $stack (mut i32)))
    (import "GOT.mem" "text" (global $text (mut i32)))
    (import "GOT.mem" "size" (global $size (mut i32)))
    (import "lib" "fill" (func $fill))
    (import "lib" "push" (func $push (param i32) (result i32)))
    (import "host" "length" (func $length (param i32 i32) (result i32)))
    (func $run (export "run") (param $x i32) (result i32)
      call $fill
      (call_indirect (type $number) (local.get $x)
        (i32.add (i32.const 2) (i32.and (local.get $x) (i32.const 1))))
      (call_indirect (type $number) (local.get $x) (i32.const 5))
      i32.add
      (call $push (local.get $x))
      i32.add
      (call $length (global.get $text) (global.get $size))
      i32.add
      (global.set $size (i32.add (global.get $size) (i32.const 1)))
      global.get $stack
      i32.add))
  (core instance $shim (instantiate $shim))
  (core instance $env (instantiate $env))
  (core func $add (canon lower (func $add)))
  (core instance $free (export "add" (func $add)))
  (alias core export $env "memory" (core memory $memory))
  (alias core export $env "table" (core table $table))
  (alias core export $env "stack" (core global $stack))
  (alias core export $env "lib:base" (core global $base))
  (alias core export $env "lib:table" (core global $table_base))
  (core instance $for_lib
    (export "memory" (memory $memory)) (export "table" (table $table)) (export "stack" (global $stack))
    (export "base" (global $base)) (export "table_base" (global $table_base)))
  (core instance $lib (instantiate $lib (with "env" (instance $for_lib)) (with "free" (instance $free))))
  (alias core export $env "lib:text" (core global $text))
  (alias core export $env "lib:size" (core global $size))
  (core instance $got (export "text" (global $text)) (export "size" (global $size)))
  (alias core export $shim "0" (core func $asked))
  (core instance $host (export "length" (func $asked)))
  (core instance $main (instantiate $main
    (with "env" (instance $env)) (with "GOT.mem" (instance $got)) (with "lib" (instance $lib)) (with "host" (instance $host))))
  (alias core export $env "realloc" (core func $realloc))
  (core func $length (canon lower (func $length) (memory $memory) (realloc $realloc) string-encoding=utf8))
  (alias core export $shim "$imports" (core table $imports))
  (core instance $filled (export "$imports" (table $imports)) (export "0" (func $length)))
  (core instance (instantiate $fixup (with "" (instance $filled))))
  (alias core export $main "run" (core func $run))
  (func (export "run") (param "x" u32) (result u32) (canon lift (core func $run))))
"#;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is a component")
}

fn modules(component: &[u8]) -> usize {
    wasmparser::Parser::new(0)
        .parse_all(component)
        .filter(|payload| matches!(payload, Ok(wasmparser::Payload::ModuleSection { .. })))
        .count()
}

/// What a component answers to the numbers below five, one after the other, and what it told the host.
fn answers(component: &[u8]) -> (Vec<u32>, Vec<String>) {
    let engine = Engine::new(&Config::new()).expect("an engine");
    let component = Component::new(&engine, component).expect("a valid component");
    let mut linker = Linker::<Vec<String>>::new(&engine);
    linker
        .root()
        .func_wrap("add", |_, (x,): (u32,)| Ok((x + 1,)))
        .expect("a new name");
    linker
        .root()
        .func_wrap("length", |mut store, (text,): (String,)| {
            let length = text.len() as u32;
            store.data_mut().push(text);
            Ok((length,))
        })
        .expect("a new name");
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker
        .instantiate(&mut store, &component)
        .expect("all is given");
    let run = instance
        .get_typed_func::<(u32,), (u32,)>(&mut store, "run")
        .expect("its function");
    let answers = (0..5)
        .map(|x| run.call(&mut store, (x,)).expect("no trap").0)
        .collect();
    (answers, store.into_data())
}

#[test]
fn a_component_of_many_modules_does_the_same_with_one() {
    let before = component(LINKED);
    let after = fuse(&before).expect("its shape is known");
    assert_eq!((modules(&before), modules(&after)), (5, 2));
    assert_eq!(answers(&after), answers(&before));
    assert_eq!(
        answers(&before).1,
        ["hello", "hello,", "hello, ", "hello, y", "hello, yo"]
    );
}

#[test]
fn made_one_twice_it_is_the_same() {
    let once = fuse(&component(LINKED)).expect("its shape is known");
    let twice = fuse(&once).expect("its shape is known");
    assert_eq!((modules(&twice), answers(&twice)), (2, answers(&once)));
}

#[test]
fn functions_keep_their_names() {
    let after = fuse(&component(LINKED)).expect("its shape is known");
    let names = names_of_functions(&after);
    for name in ["twice", "thrice", "run"] {
        assert!(
            names.contains(&name.to_owned()),
            "{name} is not among {names:?}"
        );
    }
}

/// The names of functions of a component's modules.
fn names_of_functions(component: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        if let Ok(wasmparser::Payload::CustomSection(section)) = payload
            && let wasmparser::KnownCustom::Name(section) = section.as_known()
        {
            for part in section {
                if let Ok(wasmparser::Name::Function(functions)) = part {
                    names.extend(
                        functions
                            .into_iter()
                            .map(|name| name.expect("a name").name.to_owned()),
                    );
                }
            }
        }
    }
    names
}

#[test]
fn what_cannot_be_joined_is_said() {
    let start = LINKED.replace(
        "(data (i32.const 8)",
        "(func $start) (start $start) (data (i32.const 8)",
    );
    let tags = LINKED.replace("(data (i32.const 8)", "(tag) (data (i32.const 8)");
    for (text, reason) in [
        (start, "a module has a function to start with"),
        (tags, "a module has tags"),
    ] {
        let error = fuse(&component(&text)).expect_err("it is not known");
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

#[test]
fn a_component_that_is_cut_off_makes_no_panic() {
    let whole = component(LINKED);
    for end in 0..whole.len() {
        // Behind a section it is a component, of less.
        fuse(&whole[..end]).ok();
    }
}
