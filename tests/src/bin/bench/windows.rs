//! A window that slides by a 60th of its length, beside one as long that does not slide.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Options;
use crate::report::{Report, median, ratio};
use crate::wasmill::{Wasmill, seconds_from};

/// The queue holds a batch for every second of four minutes, so a window ends with time and not with the clock.
const PIPELINE: &str = r#"name = "windows"

[epoch]
trigger = "available-now"

[sources.keys]
type = "queue"
path = "windows"

[steps.windowed]
input = "keys"
group_by = ["line"]
aggregate = { n = "count()" }
window = {window}

[steps.epoch]
input = "windowed"
aggregate = { n = "sum(n)" }

[sinks.out]
input = "epoch"
type = "print"
format = "json"
"#;

const TUMBLING: &str = r#"{ length = "60s" }"#;
const SLIDING: &str = r#"{ length = "60s", slide = "1s" }"#;

const WORKERS: u32 = 2;
const PANES: usize = 60;
const BATCHES: usize = 240;
const ROWS: usize = 100_000;
const KEYS: usize = 1_000;
const TURNS: u32 = 3;

/// Adds `tumbling_rows_per_s` and `sliding_60_over_tumbling`.
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    prepare(&wasmill.removed("windows")?)?;
    let mut seconds: [Vec<f64>; 2] = Default::default();
    // Turn 0 fills the page cache, and is not counted.
    for turn in 0..=options.runs.unwrap_or(TURNS) {
        eprintln!("windows, turn {turn}");
        let tumbling = run(wasmill, TUMBLING, BATCHES / PANES)?;
        let sliding = run(wasmill, SLIDING, BATCHES)?;
        if turn > 0 {
            seconds[0].push(tumbling);
            seconds[1].push(sliding);
        }
    }
    let rows = ((BATCHES - PANES) * ROWS) as f64;
    let [tumbling, sliding] = &seconds;
    report.add("tumbling_rows_per_s", rows / median(tumbling), "rows/s");
    let over_tumbling = ratio(sliding, tumbling);
    report.add("sliding_60_over_tumbling", over_tumbling, "ratio");
    Ok(())
}

/// One batch under the names of all.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    let mut batch = String::new();
    for row in 0..ROWS {
        // Every key as often, and neighbours far from each other.
        writeln!(batch, "key-{}", row * 617 % KEYS)?;
    }
    let name = |second: usize| folder.join(format!("{}.txt", second * 1000));
    fs::write(name(1), batch)?;
    for second in 2..=BATCHES {
        fs::hard_link(name(1), name(second))?;
    }
    Ok(())
}

/// The seconds that the batches after the first full window take.
fn run(wasmill: &Wasmill, window: &str, windows: usize) -> anyhow::Result<f64> {
    let epochs = wasmill.epochs(&PIPELINE.replace("{window}", window), WORKERS)?;
    anyhow::ensure!(epochs.len() == BATCHES, "{} epochs", epochs.len());
    let full = epochs.iter().filter(|epoch| epoch.number("n") > 0).count();
    anyhow::ensure!(full == windows, "{full} windows instead of {windows}");
    let last = epochs[BATCHES - 1].number("n");
    anyhow::ensure!(last == (PANES * ROWS) as u64, "a window of {last} rows");
    seconds_from(&epochs, PANES - 1)
}
