//! What a plugin costs beside its own work: a fresh instance, a call, and a row of 100 bytes in a large call.
//!
//! `split-words` is given rows of one word each, so a row goes in, is looked through, and comes out whole.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use wasmill::ids::NodeName;
use wasmill::plugin::{CallContext, Engine, Grants, Limits, Transform, TransformInstance};

use crate::Options;
use crate::report::{Report, median};
use crate::wasmill::Wasmill;

const ROW_BYTES: usize = 100;
const MANY_ROWS: usize = 4096;
/// Calls between two looks at the clock.
const CALLS: u32 = 20_000;
const MANY_CALLS: u32 = 200;
const INSTANCES: u32 = 2_000;
/// Rounds, unless the user says otherwise.
const RUNS: u32 = 7;

/// Adds `plugin_instance_ns`, `plugin_call_ns` (a call with one row of one byte) and `plugin_row_ns`.
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    let (one, many) = (rows(1, 1)?, rows(MANY_ROWS, ROW_BYTES)?);
    let engine = Engine::new(&wasmill.dir.join("cache"))?;
    let component = engine.load(&wasmill.plugins.join("split-words.wasm"))?;
    let (node, config) = (NodeName::from("words"), serde_json::json!({}));
    let (limits, grants) = (Limits::default(), Grants::default());
    let transform = Transform::new(&component, &node, &config, &one.schema(), &limits, &grants)?;
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..options.runs.unwrap_or(RUNS) {
        let open = nanoseconds(INSTANCES, || transform.open(&CallContext::NONE).map(drop))?;
        let mut instance = transform.open(&CallContext::NONE)?;
        let call = nanoseconds(CALLS, || process(&mut instance, &one))?;
        let large = nanoseconds(MANY_CALLS, || process(&mut instance, &many))?;
        let row = (large - call) / (MANY_ROWS - 1) as f64;
        figures
            .iter_mut()
            .zip([open, call, row])
            .for_each(|(all, figure)| all.push(figure));
    }
    let names = ["plugin_instance_ns", "plugin_call_ns", "plugin_row_ns"];
    for (name, figures) in names.into_iter().zip(&figures) {
        report.add(name, median(figures), "ns");
    }
    Ok(())
}

fn rows(rows: usize, bytes: usize) -> anyhow::Result<RecordBatch> {
    let lines: StringArray = (0..rows).map(|_| Some("x".repeat(bytes))).collect();
    Ok(RecordBatch::try_from_iter([(
        "line",
        Arc::new(lines) as ArrayRef,
    )])?)
}

fn process(instance: &mut TransformInstance, input: &RecordBatch) -> anyhow::Result<()> {
    let produced = instance.process(&CallContext::NONE, input)?;
    let rows: usize = produced.outputs.iter().map(|output| output.rows).sum();
    anyhow::ensure!(
        rows == input.num_rows(),
        "{rows} words of {} rows",
        input.num_rows()
    );
    Ok(())
}

/// The time of one of `times` calls of `work`.
fn nanoseconds<E>(times: u32, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    for _ in 0..times {
        work()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(times))
}
