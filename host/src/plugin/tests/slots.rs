//! Steps' instances lie where others have lain before them: nothing of those is left, and when all places are taken that is said.

use super::super::engine::INSTANCES;
use super::super::{CallError, Engine};
use super::guests::Guest;
use super::{batch, bind, context, engine, load};

/// Traps if it finds anything that a module does not begin with, then leaves something everywhere: in what a slot keeps, beyond it, in memory
/// and a table that have grown.
const LITTERS: &str = "
  (local $at i32)
  (if (i32.ne (memory.size) (i32.const 2)) (then unreachable))
  (if (i32.ne (table.size $table) (i32.const 1)) (then unreachable))
  (if (i32.eqz (ref.is_null (table.get $table (i32.const 0)))) (then unreachable))
  (if (i32.ne (i32.load (i32.const 16)) (i32.const 0x74756f)) (then unreachable))
  (local.set $at (i32.const 65536))
  (loop $next
    (if (i32.load (local.get $at)) (then unreachable))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 131072))))
  (drop (memory.grow (i32.const 98)))
  (if (i32.load (i32.const 6000000)) (then unreachable))
  (memory.fill (i32.const 65536) (i32.const 255) (i32.const 6488064))
  (i32.store (i32.const 16) (i32.const -1))
  (drop (table.grow $table (ref.func $litter) (i32.const 9999)))
  (table.set $table (i32.const 0) (ref.func $litter))";

const LITTER: &str = "(func $litter) (elem declare func $litter)";

#[test]
fn an_instance_finds_nothing_of_those_before_it() {
    let more = format!("{LITTER} (func $look_and_litter {LITTERS})");
    let guest = Guest {
        more: &more,
        open: "(call $look_and_litter)",
        ..Guest::default()
    };
    let batch = batch();
    let transform = bind(&load(&guest.module()), &batch.schema()).unwrap();
    for _ in 0..3 {
        let mut all: Vec<_> = (0..3)
            .map(|_| transform.open(&context()).unwrap())
            .collect();
        for instance in &mut all {
            let produced = instance.process(&context(), &batch).unwrap();
            assert_eq!(produced.outputs[0].rows, 2);
        }
    }
}

#[test]
fn a_table_that_begins_larger_than_a_slot_is_refused_with_its_size() {
    let guest = Guest {
        more: "(table 10000001 funcref)",
        ..Guest::default()
    };
    let refused = engine().load_bytes("guest", &guest.module()).unwrap_err();
    let wrong = refused.to_string();
    assert!(
        wrong.contains("10000001 which exceeds the limit of 10000000"),
        "{wrong}"
    );
}

#[test]
fn the_instance_after_the_last_is_refused_and_no_fault_of_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(folder.path()).unwrap();
    let component = engine
        .load_bytes("guest", &Guest::default().module())
        .unwrap();
    let transform = bind(&component, &batch().schema()).unwrap();
    let all: Vec<_> = (0..INSTANCES)
        .map(|_| transform.open(&context()).unwrap())
        .collect();
    let refused = transform.open(&context()).err();
    assert!(
        matches!(&refused, Some(CallError::Quota(most)) if most.contains(&INSTANCES.to_string())),
        "{refused:?}"
    );
    drop(all);
    transform.open(&context()).unwrap();
}
