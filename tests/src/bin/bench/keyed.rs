//! A plugin that remembers a million keys: beside a native aggregate of the same rows, and with a checkpoint every second.

use crate::Options;
use crate::report::{Report, median, ratio};
use crate::wasmill::{Wasmill, seconds_from};

/// All rows are there at once, and an epoch has as many as are worked through in a second.
const PIPELINE: &str = r#"name = "keyed"

[epoch]
adaptive = false
max_rows = {rows_per_epoch}
max_bytes = "1GiB"

{checkpoint}

[sources.rows]
type = "generate"
rows_per_second = 1_000_000_000
rows = {rows}
keys = 1_000_000

[steps.counts]
input = "rows"
group_by = ["key"]
{step}

[steps.epoch]
input = "counts"
aggregate = { keys = "count()" }

[sinks.out]
input = "epoch"
type = "print"
format = "json"
"#;

const PLUGIN: &str = r#"plugin = "running-count""#;
const AGGREGATE: &str = r#"aggregate = { n = "count()" }"#;
const CHECKPOINT: &str = "[checkpoint]\npath = \"keyed-checkpoint\"";

const WORKERS: u32 = 2;
/// Rows after which all but a few of the keys have been seen.
const WARM_UP: u64 = 3_000_000;
/// Epochs that are timed.
const EPOCHS: u64 = 4;
/// Rows of an epoch until it is known how many take a second.
const FIRST_GUESS: u64 = 250_000;
const TURNS: u32 = 3;

/// Adds `keyed_updates_per_s`, `keyed_over_aggregate` and `checkpoint_cost_ratio`.
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    let first = Run::of(wasmill, PLUGIN, "", FIRST_GUESS)?;
    let rows = (FIRST_GUESS as f64 * EPOCHS as f64 / first.seconds) as u64;
    let mut runs: [Vec<Run>; 3] = Default::default();
    for turn in 1..=options.runs.unwrap_or(TURNS) {
        eprintln!("keyed, turn {turn}: epochs of {rows} rows");
        let variants = [(AGGREGATE, ""), (PLUGIN, ""), (PLUGIN, CHECKPOINT)];
        for (runs, (step, checkpoint)) in runs.iter_mut().zip(variants) {
            runs.push(Run::of(wasmill, step, checkpoint, rows)?);
        }
    }
    let seconds = |of: usize| runs[of].iter().map(|run| run.seconds).collect::<Vec<_>>();
    let updates = runs[1].iter().map(|run| run.updates as f64 / run.seconds);
    let updates = median(&updates.collect::<Vec<_>>());
    report.add("keyed_updates_per_s", updates, "keys/s");
    let over_aggregate = ratio(&seconds(0), &seconds(1));
    report.add("keyed_over_aggregate", over_aggregate, "ratio");
    let left = ratio(&seconds(1), &seconds(2));
    report.add("checkpoint_cost_ratio", 1.0 - left, "share");
    Ok(())
}

/// The timed epochs of a run.
struct Run {
    seconds: f64,
    /// Keys of each epoch, added up.
    updates: u64,
}

impl Run {
    fn of(
        wasmill: &Wasmill,
        step: &str,
        checkpoint: &str,
        rows_per_epoch: u64,
    ) -> anyhow::Result<Self> {
        wasmill.removed("keyed-checkpoint")?;
        let warm_up = WARM_UP.div_ceil(rows_per_epoch);
        let all = warm_up + EPOCHS;
        let pipeline = PIPELINE
            .replace("{rows_per_epoch}", &rows_per_epoch.to_string())
            .replace("{rows}", &(all * rows_per_epoch).to_string())
            .replace("{checkpoint}", checkpoint)
            .replace("{step}", step);
        let epochs = wasmill.epochs(&pipeline, WORKERS)?;
        anyhow::ensure!(epochs.len() as u64 == all, "{} epochs", epochs.len());
        let warm_up = warm_up as usize;
        let keys = epochs[warm_up..].iter().map(|epoch| epoch.number("keys"));
        Ok(Self {
            seconds: seconds_from(&epochs, warm_up - 1)?,
            updates: keys.sum(),
        })
    }
}
