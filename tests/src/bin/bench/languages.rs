//! The same plugins in every language that has an SDK, each measured by `wasmill plugin bench` as its author would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;

use crate::Options;
use crate::report::{Report, median, ratio};
use crate::wasmill::Wasmill;

/// Each with the file that a new plugin's code is in.
const LANGUAGES: [(&str, &str); 4] = [
    ("rust", "src/lib.rs"),
    ("c", "src/split_words.c"),
    ("js", "src/index.js"),
    ("python", "plugin.py"),
];
/// Each with the fixture whose rows it is given.
const PLUGINS: [(&str, &str); 5] = [
    ("split-words", "carried-columns"),
    ("parse-json", "bad-rows"),
    ("running-count", "since-the-beginning"),
    ("longest-word", "first-of-the-longest"),
    ("sink-log", "rows-as-json"),
];
/// Of a full call: what the slowest of them takes a tenth of a second for.
const ROWS: &str = "2000";
const TURNS: u32 = 3;

/// A plugin in a language.
struct Subject {
    plugin: &'static str,
    fixture: &'static str,
    language: &'static str,
    component: PathBuf,
    bytes: u64,
    turns: Vec<Value>,
}

/// Prints a table, and adds `c_over_rust_row` (as far as it is from 1 at most), `script_load_ms` and `script_instance_ms` (of the slowest plugin in JavaScript
/// or Python: loaded once it is compiled, and an instance with its first call).
pub fn measure(options: &Options, wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    let folder = wasmill.dir.join("languages");
    fs::create_dir_all(&folder)?;
    let (mut subjects, mut builds) = (Vec::new(), Vec::new());
    for (language, code) in LANGUAGES {
        eprintln!("languages: building in {language}");
        output(kit(wasmill, &["setup", "--lang", language]))?;
        builds.push((language, seconds_to_build_again(wasmill, language, code)?));
        for plugin in PLUGINS {
            subjects.push(Subject::build(wasmill, &folder, language, plugin)?);
        }
    }
    for turn in 1..=options.runs.unwrap_or(TURNS) {
        eprintln!("languages, turn {turn}");
        for subject in &mut subjects {
            subject.measure(wasmill)?;
        }
    }
    print(&subjects);
    for (language, seconds) in builds {
        println!("a new split-words in {language} is built in {seconds:.1} s after a change");
    }
    add(&subjects, report);
    Ok(())
}

impl Subject {
    fn build(
        wasmill: &Wasmill,
        folder: &Path,
        language: &'static str,
        (plugin, fixture): (&'static str, &'static str),
    ) -> anyhow::Result<Self> {
        let component = folder.join(format!("{language}-{plugin}.wasm"));
        let source = match language {
            "rust" => repository().join("plugins").join(plugin),
            _ => repository()
                .join("guest-sdk")
                .join(language)
                .join("examples")
                .join(plugin),
        };
        let mut build = kit(wasmill, &["build"]);
        build.arg(&source).arg("--out").arg(&component);
        output(build)?;
        Ok(Self {
            plugin,
            fixture,
            language,
            bytes: fs::metadata(&component)?.len(),
            component,
            turns: Vec::new(),
        })
    }

    fn measure(&mut self, wasmill: &Wasmill) -> anyhow::Result<()> {
        let mut bench = kit(wasmill, &["bench", "--format", "json"]);
        bench.args(["--case", self.fixture, "--rows", ROWS]);
        bench.arg("--plugin").arg(&self.component);
        bench.arg(repository().join("plugins").join(self.plugin));
        let figures = output(bench)?;
        self.turns.push(serde_json::from_str(&figures)?);
        Ok(())
    }

    fn all(&self, figure: &str) -> Vec<f64> {
        let figures = self.turns.iter();
        figures.filter_map(|turn| turn[figure].as_f64()).collect()
    }

    fn figure(&self, figure: &str) -> f64 {
        median(&self.all(figure))
    }
}

/// Of a plugin as `wasmill plugin new` makes it, built before.
fn seconds_to_build_again(wasmill: &Wasmill, language: &str, code: &str) -> anyhow::Result<f64> {
    let folder = wasmill.removed("languages-new")?;
    fs::create_dir(&folder)?;
    let command = |arguments: &[&str]| {
        let mut command = kit(wasmill, arguments);
        command.current_dir(&folder);
        output(command)
    };
    let checkout = repository();
    let mut new = vec!["new", "words", "--lang", language, "--kind", "transform"];
    if language == "rust" {
        new.extend(["--sdk", checkout.to_str().context("a path that is text")?]);
    }
    command(&new)?;
    command(&["build", "words"])?;
    let code = folder.join("words").join(code);
    fs::write(&code, fs::read_to_string(&code)? + "\n")?;
    let began = Instant::now();
    command(&["build", "words"])?;
    Ok(began.elapsed().as_secs_f64())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command of the kit for authors, with the tools of whoever runs it.
fn kit(wasmill: &Wasmill, arguments: &[&str]) -> Command {
    let mut command = Command::new(&wasmill.binary);
    command.arg("plugin").args(arguments);
    command
}

/// What a command says, if it succeeds.
fn output(mut command: Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} has failed:\n{said}");
    String::from_utf8(output.stdout).context("an answer is text")
}

fn print(subjects: &[Subject]) {
    println!(
        "| plugin | language | component | compiled | loaded once compiled | instance and first call | a call of one row | a row | memory |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for (plugin, _) in PLUGINS {
        for subject in subjects.iter().filter(|subject| subject.plugin == plugin) {
            let of = |figure| subject.figure(figure);
            println!(
                "| {plugin} | {} | {:.0} kB | {:.2} s | {:.1} ms | {:.2} ms | {:.1} us | {:.0} ns | {:.1} MB |",
                subject.language,
                subject.bytes as f64 / 1e3,
                of("compile_us") / 1e6,
                of("load_us") / 1e3,
                of("instance_and_first_call_us") / 1e3,
                of("call_of_one_row_us"),
                of("ns_per_row"),
                of("memory") / 1e6,
            );
        }
    }
}

fn add(subjects: &[Subject], report: &mut Report) {
    let of = |language: &'static str| subjects.iter().filter(move |it| it.language == language);
    let ratios = of("c").zip(of("rust")).map(|(c, rust)| {
        let ratio = ratio(&c.all("ns_per_row"), &rust.all("ns_per_row"));
        eprintln!(
            "languages: a row of {} in C over Rust: {ratio:.2}",
            c.plugin
        );
        ratio.max(1.0 / ratio)
    });
    report.add("c_over_rust_row", ratios.fold(1.0, f64::max), "ratio");
    let slowest = |figure| {
        let scripts = of("js").chain(of("python"));
        scripts
            .map(|it| it.figure(figure) / 1e3)
            .fold(0.0, f64::max)
    };
    report.add("script_load_ms", slowest("load_us"), "ms");
    report.add(
        "script_instance_ms",
        slowest("instance_and_first_call_us"),
        "ms",
    );
}
