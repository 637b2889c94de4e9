//! `cargo xtask demo`: a line server on loopback, and `wasmill run` counting its words.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::plugins::Plugins;
use crate::sh;

/// The text of the stream, over and over: the repository has one that everybody knows. Sent as its words alone.
const TEXT: &str = include_str!("../../LICENSE");

/// Count the words of a live stream for some seconds
///
/// Starts a server on loopback that sends lines of text, and a release build of `wasmill run` that reads them, splits them
/// with the plugin split-words, counts each word per epoch, and prints the counts as they come. Ends by itself.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// How long the stream lasts, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Lines a second
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
}

impl Demo {
    pub fn run(self) -> anyhow::Result<()> {
        let built = Plugins { release: true }.run()?;
        let server = TcpListener::bind("127.0.0.1:0").context("a server on loopback")?;
        let address = server.local_addr()?.to_string();
        let folder = sh::target_dir().join("demo");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("word-count.toml");
        std::fs::write(
            &file,
            pipeline(&address, &built.plugins.join("split-words.wasm")),
        )?;
        println!(
            "\n$ wasmill run {}    (reads {address}, {} lines/s)\n",
            file.display(),
            self.rate
        );

        let mut wasmill = Command::new(&built.wasmill).arg("run").arg(&file).spawn()?;
        let length = Duration::from_secs(self.seconds);
        let served = thread::spawn(move || serve(&server, length, self.rate));
        let end = Instant::now() + length + GRACE;
        while !served.is_finished() {
            if let Some(status) = wasmill.try_wait()? {
                bail!("wasmill ended before the stream did ({status})");
            }
            if Instant::now() > end {
                stop(&mut wasmill)?;
                bail!("wasmill did not read the stream");
            }
            thread::sleep(Duration::from_millis(50));
        }
        // A stream has no end: a user stops a pipeline with Ctrl-C or SIGTERM, and it finishes what it has read.
        // The connection stays open until then: a server that goes away is something wasmill would report.
        let (lines, _connection) = served.join().expect("the server does not panic")?;
        stop(&mut wasmill)?;
        println!("\nThe server sent {lines} lines.");
        Ok(())
    }
}

/// How much longer than the stream wasmill may take to connect and read it.
const GRACE: Duration = Duration::from_secs(30);

/// Sends lines to the first that connects, at a steady pace; the answer is how many, and the connection.
fn serve(server: &TcpListener, length: Duration, rate: u32) -> std::io::Result<(usize, TcpStream)> {
    let (mut peer, _) = server.accept()?;
    let start = Instant::now();
    let text = lines();
    let mut lines = text.iter().cycle().cloned();
    let mut sent = 0;
    while start.elapsed() < length {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
        let chunk: String = lines.by_ref().take(due - sent).collect();
        peer.write_all(chunk.as_bytes())?;
        sent = due;
        thread::sleep(Duration::from_millis(10));
    }
    Ok((sent, peer))
}

/// The lines of the text, in lower case and without its punctuation.
fn lines() -> Vec<String> {
    let words = |line: &str| {
        line.split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect::<Vec<_>>()
            .join(" ")
    };
    TEXT.lines()
        .map(words)
        .filter(|line| !line.is_empty())
        .map(|line| line + "\n")
        .collect()
}

/// Asks wasmill to drain and end, and waits for it.
fn stop(wasmill: &mut Child) -> anyhow::Result<()> {
    sh::run(Command::new("kill").args(["-TERM", &wasmill.id().to_string()]))?;
    let status = wasmill.wait()?;
    if !status.success() {
        bail!("wasmill failed ({status})");
    }
    Ok(())
}

fn pipeline(address: &str, plugin: &Path) -> String {
    format!(
        r#"name = "word-count"

[epoch]
interval = "1s"

[sources.lines]
type = "tcp"
address = "{address}"

[steps.words]
input = "lines"
plugin = "{}"

[steps.counts]
input = "words"
group_by = ["word"]
aggregate = {{ n = "count()" }}

[sinks.out]
input = "counts"
type = "print"
"#,
        plugin.display()
    )
}
