//! Spark on the same files: DStreams and Structured Streaming, on two threads of one JVM that a first pass has warmed up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::counts;
use crate::report::{Report, median};
use crate::text::Text;

const PYSPARK: &str = "pyspark==4.3.0";
const PROGRAM: &str = include_str!("WordCount.java");

/// Adds Spark's rates, and how many times faster `wasmill_2` (words a second) is.
pub fn measure(
    dir: &Path,
    text: &Text,
    passes: u32,
    wasmill_2: f64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let spark = Spark::prepare(dir)?;
    let expected = counts::of_file(&dir.join("native.csv"))?;
    let words = counts::total(&expected) as f64;
    for mode in ["dstream", "structured"] {
        eprintln!("Spark, {mode}");
        let output = dir.join(format!("spark-{mode}"));
        let seconds = spark.run(mode, text, &output, passes)?;
        for pass in 0..=passes {
            let counted = counts::of_folder(&output.join(pass.to_string()), "part-")?;
            counts::compare(&expected, &counted, "Spark")?;
        }
        let rate = words / median(&seconds);
        report.add(&format!("spark_{mode}_words_per_s"), rate, "words/s");
        report.add(
            &format!("wasmill_2_over_spark_{mode}"),
            wasmill_2 / rate,
            "ratio",
        );
    }
    Ok(())
}

/// An installed Spark with our program compiled for it.
struct Spark {
    home: PathBuf,
    program: PathBuf,
    log: PathBuf,
}

impl Spark {
    fn prepare(dir: &Path) -> anyhow::Result<Self> {
        let home = install(dir)?;
        let (source, classes) = (dir.join("WordCount.java"), dir.join("spark-classes"));
        let program = dir.join("word-count.jar");
        fs::write(&source, PROGRAM)?;
        let mut javac = Command::new("javac");
        javac
            .arg("-cp")
            .arg(home.join("jars/*"))
            .arg("-d")
            .arg(&classes)
            .arg(&source);
        must(&mut javac)?;
        let mut jar = Command::new("jar");
        jar.arg("cf").arg(&program).arg("-C").arg(&classes).arg(".");
        must(&mut jar)?;
        let log = dir.join("spark.log");
        Ok(Self { home, program, log })
    }

    /// The seconds of each timed pass.
    fn run(&self, mode: &str, text: &Text, output: &Path, passes: u32) -> anyhow::Result<Vec<f64>> {
        if output.exists() {
            fs::remove_dir_all(output)?;
        }
        let done = Command::new(self.home.join("bin/spark-submit"))
            .env("SPARK_HOME", &self.home)
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .args(["--master", "local[2]", "--driver-memory", "4g"])
            .args(["--conf", "spark.ui.enabled=false"])
            .args(["--class", "WordCount"])
            .arg(&self.program)
            .arg(mode)
            .args([&text.dir, output])
            .arg(passes.to_string())
            .stderr(Stdio::from(File::create(&self.log)?))
            .output()
            .context("spark-submit does not start")?;
        let said = String::from_utf8_lossy(&done.stdout);
        let times = said
            .lines()
            .filter_map(|line| line.strip_prefix("pass took "));
        let seconds: Vec<f64> = times.map(str::parse).collect::<Result<_, _>>()?;
        if !done.status.success() || seconds.len() != passes as usize {
            bail!(
                "Spark ended with {}; see {}",
                done.status,
                self.log.display()
            );
        }
        Ok(seconds)
    }
}

/// Installs pyspark, whose wheel holds all of Spark, into an environment of its own; the answer is Spark's home.
fn install(dir: &Path) -> anyhow::Result<PathBuf> {
    let environment = dir.join("spark");
    if spark_home(&environment).is_none() {
        eprintln!("installing {PYSPARK}");
        must(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment),
        )?;
        let pip = environment.join("bin/pip");
        must(Command::new(pip).args(["install", "--quiet", "--no-compile", PYSPARK]))?;
    }
    spark_home(&environment)
        .with_context(|| format!("{PYSPARK} is not in {}", environment.display()))
}

fn spark_home(environment: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(environment.join("lib")).ok()?;
    let homes = versions
        .flatten()
        .map(|python| python.path().join("site-packages/pyspark"));
    homes
        .into_iter()
        .find(|home| home.join("bin/spark-submit").exists())
}

fn must(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_owned();
    let status = command.status();
    let status = status.with_context(|| format!("{} does not start", program.display()))?;
    if !status.success() {
        bail!("{} ended with {status}", program.display());
    }
    Ok(())
}
