//! Ten thousand active keys: of four million that are known, and of no others.

use std::fs;
use std::path::Path;

use crate::Options;
use crate::report::{Report, median, ratio};
use crate::wasmill::{Wasmill, seconds_from};

const PIPELINE: &str = r#"name = "touched"

[epoch]
trigger = "available-now"

[checkpoint]
path = "touched-checkpoint"

[sources.keys]
type = "queue"
path = "{folder}"

[steps.counts]
input = "keys"
plugin = "running-count"
group_by = ["line"]

[steps.epoch]
input = "counts"
aggregate = { keys = "count()" }

[sinks.out]
input = "epoch"
type = "print"
format = "json"
"#;

const WORKERS: u32 = 2;
const KNOWN: usize = 4_000_000;
const ACTIVE: usize = 10_000;
/// Epochs in which the known keys are first seen.
const FIRST_SEEN: usize = 20;
/// Epochs of active keys, and those of them that are not timed: what was seen first is still being put together then.
const EPOCHS: usize = 200;
const WARM_UP: usize = 50;
const TURNS: u32 = 3;

/// Adds `active_10k_of_10k_ms`, `active_10k_of_4m_ms`, of an epoch, and `touched_keys_ratio`.
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    prepare(&wasmill.removed("touched-few")?, 0)?;
    prepare(&wasmill.removed("touched-many")?, FIRST_SEEN)?;
    let mut millis: [Vec<f64>; 2] = Default::default();
    for turn in 1..=options.runs.unwrap_or(TURNS) {
        eprintln!("touched, turn {turn}");
        millis[0].push(run(wasmill, "touched-few", 0)?);
        millis[1].push(run(wasmill, "touched-many", FIRST_SEEN)?);
    }
    let [few, many] = &millis;
    report.add("active_10k_of_10k_ms", median(few), "ms");
    report.add("active_10k_of_4m_ms", median(many), "ms");
    report.add("touched_keys_ratio", ratio(many, few), "ratio");
    Ok(())
}

/// The batches in which all keys are seen, if any, and those of the active ones, which are spread over them evenly.
fn prepare(folder: &Path, first_seen: usize) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    let name = |second: usize| folder.join(format!("{}.txt", second * 1000));
    let text = |keys: &mut dyn Iterator<Item = usize>| {
        keys.map(|key| format!("key-{key:07}\n"))
            .collect::<String>()
    };
    for batch in 0..first_seen {
        let keys = &mut (batch..KNOWN).step_by(first_seen);
        fs::write(name(1 + batch), text(keys))?;
    }
    let active = name(1 + first_seen);
    fs::write(&active, text(&mut (0..KNOWN).step_by(KNOWN / ACTIVE)))?;
    for epoch in 1..EPOCHS {
        fs::hard_link(&active, name(1 + first_seen + epoch))?;
    }
    Ok(())
}

/// The milliseconds of an epoch of active keys.
fn run(wasmill: &Wasmill, folder: &str, first_seen: usize) -> anyhow::Result<f64> {
    wasmill.removed("touched-checkpoint")?;
    let epochs = wasmill.epochs(&PIPELINE.replace("{folder}", folder), WORKERS)?;
    let all = first_seen + EPOCHS;
    anyhow::ensure!(epochs.len() == all, "{} epochs", epochs.len());
    let seconds = seconds_from(&epochs, first_seen + WARM_UP)?;
    Ok(seconds * 1e3 / (EPOCHS - WARM_UP - 1) as f64)
}
