//! A server under load, with ten pipelines of three tenants, is killed at random moments, and so are its runners: every pipeline comes back, and
//! has delivered each row once.
//!
//! `SEED` sets the random moments, which differ from run to run where it is not set; what fails names it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wasmill_tests::jobs::{give, runner_of, signal};
use wasmill_tests::server::{Server, apply, push};
use wasmill_tests::torture::Random;
use wasmill_tests::{delivered, manifest, wait_until};

/// Ten pipelines.
const TENANTS: [(&str, usize); 3] = [("acme", 4), ("beta", 3), ("gamma", 3)];
/// Each after a new file for each pipeline.
const KILLS: u64 = 5;
/// Of a file: ten epochs.
const LINES: u64 = 200;
/// Few enough that most are counted again in every epoch.
const WORDS: u64 = 40;

/// Delivers each word, how often it has come up to now, and how often in this epoch: without state, with a plugin's and with the host's own hands.
fn pipeline(name: &str) -> String {
    let sink = |name: &str, input: &str, folder: &str| {
        format!(
            "[sinks.{name}]\ninput = \"{input}\"\ntype = \"files\"\npath = \"{folder}\"\nformat = \"json\"\n"
        )
    };
    let mut text = format!(
        r#"name = "{name}"

[epoch]
interval = "50ms"
max_rows = 20

[sources.lines]
type = "files"
path = "{name}/in"
poll_interval = "50ms"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.totals]
input = "words"
plugin = "running-count"
group_by = ["word"]

[steps.sums]
input = "words"
group_by = ["word"]
aggregate = {{ n = "count()" }}

"#
    );
    for (sink_name, input) in [("each", "words"), ("running", "totals"), ("epochs", "sums")] {
        text += &sink(sink_name, input, &format!("{name}/{sink_name}"));
    }
    text
}

/// Counts by word.
type Counts = BTreeMap<String, u64>;

/// A pipeline, and what it was given.
struct Given {
    tenant: &'static str,
    folder: PathBuf,
    counts: Counts,
    files: usize,
}

impl Given {
    /// Gives it another file, and counts its words here.
    fn more(&mut self, random: &mut Random) {
        let mut text = String::new();
        for _ in 0..LINES {
            let mut blank = "";
            for _ in 0..1 + random.below(6) {
                let word = format!("w{}", random.below(WORDS));
                write!(text, "{blank}{word}").expect("a String takes everything");
                blank = " ";
                *self.counts.entry(word).or_default() += 1;
            }
            text.push('\n');
        }
        self.files += 1;
        give(
            &self.folder.join("in"),
            &format!("{}.txt", self.files),
            &text,
        );
    }

    /// The rows that one of its sinks has delivered: a word, and `n` where there is one.
    fn rows(&self, sink: &str) -> Vec<(String, u64)> {
        let rows = delivered(&self.folder.join(sink)).into_iter().map(|row| {
            let row: Value = serde_json::from_str(&row).expect("a row is JSON");
            let word = row["word"].as_str().expect("a text").to_owned();
            (word, row["n"].as_u64().unwrap_or(1))
        });
        rows.collect()
    }

    /// The sum of what a sink has delivered of each word.
    fn summed(&self, sink: &str) -> Counts {
        let mut counts = Counts::new();
        for (word, n) in self.rows(sink) {
            *counts.entry(word).or_default() += n;
        }
        counts
    }

    /// The latest count of each word, where each must be above the one before: one that comes twice was counted or delivered twice.
    fn latest(&self, of: &str) -> Counts {
        let mut latest = Counts::new();
        for (word, n) in self.rows("running") {
            let before = latest.insert(word.clone(), n).unwrap_or_default();
            assert!(n > before, "`{word}` counts {n} after {before} in {of}");
        }
        latest
    }

    /// How many words it has delivered.
    fn words(&self) -> u64 {
        delivered(&self.folder.join("each")).len() as u64
    }

    /// Whether that is as many as it was given.
    fn is_done(&self) -> bool {
        self.words() >= self.counts.values().sum()
    }
}

/// A server on which all of them run.
fn hosted() -> (Server, Vec<Given>, BTreeMap<&'static str, String>) {
    let server = Server::start(&[]);
    let (mut all, mut tokens) = (Vec::new(), BTreeMap::new());
    for (tenant, pipelines) in TENANTS {
        let token = server.tenant(tenant);
        for plugin in ["split-words", "running-count"] {
            push(&server, &token, tenant, plugin, plugin);
        }
        for number in 0..pipelines {
            let name = format!("count-{number}");
            let folder = server.files(tenant).join(&name);
            fs::create_dir_all(folder.join("in")).expect("writable");
            let applied = apply(&server, &token, tenant, &pipeline(&name));
            assert_eq!(applied.status, 200, "{applied:?}");
            all.push(Given {
                tenant,
                folder,
                counts: Counts::new(),
                files: 0,
            });
        }
        tokens.insert(tenant, token);
    }
    (server, all, tokens)
}

/// Kills the server, one of its runners, or all of them at once.
fn kill(server: &mut Server, random: &mut Random) -> &'static str {
    let home = server.data();
    let home = home.parent().expect("of the test").to_owned();
    let runners: Vec<u32> = TENANTS
        .iter()
        .filter_map(|(tenant, _)| runner_of(&home, tenant))
        .collect();
    let whom = match random.below(3) {
        0 => "the server",
        1 if !runners.is_empty() => "a runner",
        _ => "the server and its runners",
    };
    let one = random.below(runners.len().max(1) as u64) as usize;
    for (number, runner) in runners.into_iter().enumerate() {
        let is_meant = match whom {
            "the server" => false,
            "a runner" => number == one,
            _ => true,
        };
        if is_meant {
            signal(runner, "KILL");
        }
    }
    if whom != "a runner" {
        server.kill_and_restart();
    }
    whom
}

fn seed() -> u64 {
    let set = std::env::var("SEED").ok();
    set.map_or_else(
        || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.expect("it is after 1970").as_secs()
        },
        |seed| seed.parse().expect("SEED is a number"),
    )
}

#[test]
fn pipelines_of_a_server_that_is_killed_again_and_again_deliver_every_row_once() {
    let seed = seed();
    println!("SEED={seed}");
    let mut random = Random(seed);
    let (mut server, mut all, tokens) = hosted();
    let mut while_busy = 0;
    for round in 0..KILLS {
        let one = random.below(all.len() as u64) as usize;
        let before = all[one].words();
        for one in &mut all {
            one.more(&mut random);
        }
        // Each kill finds them at work again, some in the middle of it.
        let what = format!("rows after kill {round}, seed {seed}");
        wait_until(&what, || all[one].words() > before);
        std::thread::sleep(Duration::from_millis(random.below(500)));
        let unfinished = all.iter().filter(|one| !one.is_done()).count();
        let whom = kill(&mut server, &mut random);
        println!("kill {round}: {whom}, with {unfinished} pipelines at work");
        while_busy += unfinished;
    }
    assert!(while_busy > 0, "nothing was killed at work, seed {seed}");

    for one in &all {
        let what = format!("the end of {}, seed {seed}", one.folder.display());
        wait_until(&what, || one.is_done());
        let pipeline = one.folder.file_name().and_then(|name| name.to_str());
        let pipeline = pipeline.expect("as it was made");
        let token = &tokens[one.tenant];
        let pause = format!("/v1/tenants/{}/pipelines/{pipeline}/pause", one.tenant);
        server.done(token, "POST", &pause, &Value::Null);
        server.wait_for_phase(token, one.tenant, pipeline, "paused");
    }
    for one in &all {
        let of = format!("{}, seed {seed}", one.folder.display());
        assert_eq!(one.summed("each"), one.counts, "words of {of}");
        assert_eq!(one.summed("epochs"), one.counts, "counts by epoch of {of}");
        assert_eq!(one.latest(&of), one.counts, "running counts of {of}");
        manifest::check_below(&one.folder);
    }
    server.stop().succeeded();
}
