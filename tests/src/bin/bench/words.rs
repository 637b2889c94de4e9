//! One text, one question (how often does each word occur?), answered by a hand-written program, by Wasmill and, if asked, by Spark.
//!
//! Every answer is compared with the native program's.

use std::fs;
use std::thread;

use crate::Options;
use crate::child::{self, Finished};
use crate::counts;
use crate::native;
use crate::report::{Report, median, ratio};
use crate::spark;
use crate::text::Text;
use crate::wasmill::Wasmill;

const PIPELINE: &str = r#"name = "word-count"

[epoch]
trigger = "available-now"

[sources.lines]
type = "files"
path = "{input}"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.counts]
input = "words"
group_by = ["word"]
aggregate = { n = "count()" }

[sinks.out]
input = "counts"
type = "files"
path = "wasmill"
format = "csv"
header = false
"#;

/// Timed runs of each program, unless the user says otherwise.
const RUNS: u32 = 7;

/// Adds the rates of all programs and how they compare.
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    let runs = options.runs.unwrap_or(RUNS);
    let text = Text::prepare(&wasmill.dir, options.megabytes * 1_000_000)?;
    eprintln!("a text of {:.0} MB", text.megabytes());
    let two = end_to_end(runs, wasmill, &text, report)?;
    if options.spark {
        spark::measure(&wasmill.dir, &text, runs, two, report)?;
    }
    Ok(())
}

/// Native program and Wasmill in turns; the answer is the words per second of two workers.
fn end_to_end(
    turns: u32,
    wasmill: &Wasmill,
    text: &Text,
    report: &mut Report,
) -> anyhow::Result<f64> {
    let pipeline = PIPELINE.replace("{input}", &text.dir.to_string_lossy());
    let output = wasmill.dir.join("native.csv");
    let beside = Wasmill {
        dir: wasmill.dir.join("beside"),
        ..wasmill.clone()
    };
    fs::create_dir_all(&beside.dir)?;
    let mut runs: [Vec<Finished>; 4] = Default::default();
    // Turn 0 fills the page cache and Wasmill's compile cache, and is not counted.
    for turn in 0..=turns {
        eprintln!("turn {turn} of {turns}");
        let native = native::run(&text.dir, &output)?;
        let expected = counts::of_file(&output)?;
        let run = |wasmill: &Wasmill, workers| -> anyhow::Result<Finished> {
            let output = wasmill.removed("wasmill")?;
            let finished = child::run(&mut wasmill.command(&pipeline, workers)?)?;
            let counted = counts::of_folder(&output, "part-")?;
            counts::compare(&expected, &counted, "Wasmill")?;
            Ok(finished)
        };
        let (one, two) = (run(wasmill, 1)?, run(wasmill, 2)?);
        let at_once = thread::scope(|scope| {
            let other = scope.spawn(|| run(&beside, 1));
            let this = run(wasmill, 1)?;
            let other = other.join().expect("it does not panic")?;
            anyhow::Ok(if this.seconds < other.seconds {
                other
            } else {
                this
            })
        })?;
        let finished = [native, one, two, at_once];
        if turn > 0 {
            runs.iter_mut()
                .zip(finished)
                .for_each(|(runs, run)| runs.push(run));
        }
    }
    let words = counts::total(&counts::of_file(&output)?) as f64;
    let seconds = |of: usize| runs[of].iter().map(|run| run.seconds).collect::<Vec<_>>();
    for (of, name) in ["native", "wasmill_1", "wasmill_2"].into_iter().enumerate() {
        let seconds = median(&seconds(of));
        report.add(&format!("{name}_words_per_s"), words / seconds, "words/s");
        report.add(
            &format!("{name}_mb_per_s"),
            text.megabytes() / seconds,
            "MB/s",
        );
    }
    report.add(
        "wasmill_1_over_native",
        ratio(&seconds(0), &seconds(1)),
        "ratio",
    );
    report.add("wasmill_2_over_1", ratio(&seconds(1), &seconds(2)), "ratio");
    let of_two = ratio(&seconds(1), &seconds(3)) * 2.0;
    report.add("machine_2_over_1", of_two, "ratio");
    let peak = runs[1..].iter().flatten().map(|run| run.peak_bytes).max();
    report.add("peak_rss_mb", peak.unwrap_or_default() as f64 / 1e6, "MB");
    Ok(words / median(&seconds(2)))
}
