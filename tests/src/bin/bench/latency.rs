//! How long a row is on its way: from a socket to a sink, at half of the load that the pipeline can take.
//!
//! Every row carries the time at which it was due to be sent, in microseconds since the sender's start, and the sink prints how many words
//! of each such time an epoch had. So the time of every row is known, and none that is late or missing goes unseen.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use wasmill_tests::{Running, serve};

use crate::report::Report;
use crate::wasmill::{Printed, Wasmill, printed};

const PIPELINE: &str = r#"name = "latency"

[epoch]
interval = "100ms"

[sources.lines]
type = "tcp"
address = "{address}"
format = "json"
schema = { sent = "int64", text = "utf8" }

[steps.words]
input = "lines"
plugin = "split-words"
config = { column = "text", carry = true }

[steps.counts]
input = "words"
group_by = ["sent"]
aggregate = { words = "count()" }

[sinks.out]
input = "counts"
type = "print"
format = "json"
"#;

const WORKERS: u32 = 2;
const TEXT: &str = "to be or not to be that is the question";
const WORDS: u64 = 10;
/// Rows are due in groups, so often.
const GROUP: Duration = Duration::from_millis(1);
/// Rows of a group when it is sent as soon as it is taken.
const LARGE_GROUP: u64 = 2_000;
/// What is sent at first is not counted: rates are being learned then.
const WARM_UP: Duration = Duration::from_secs(3);
const PEAK: Duration = Duration::from_secs(5);
const TIMED: Duration = Duration::from_secs(15);

/// Adds `latency_load_rows_per_s`, `latency_p50_ms` and `latency_p99_ms`.
pub fn measure(wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("latency: peak load");
    let peak = rate(&run(wasmill, Load::Peak, WARM_UP + PEAK)?);
    let half = peak / 2.0;
    eprintln!("latency: {half:.0} rows/s");
    let mut rows = run(wasmill, Load::Rows(half), WARM_UP + TIMED)?;
    rows.retain(|rows| rows.sent > WARM_UP);
    rows.sort_by_key(|rows| rows.latency());
    report.add("latency_load_rows_per_s", half, "rows/s");
    for (name, share) in [("latency_p50_ms", 0.50), ("latency_p99_ms", 0.99)] {
        let latency = quantile(&rows, share);
        report.add(name, latency.as_secs_f64() * 1e3, "ms");
    }
    Ok(())
}

/// How fast rows are sent.
#[derive(Clone, Copy)]
enum Load {
    /// As fast as they are taken.
    Peak,
    /// So many a second, whether or not they are taken as fast.
    Rows(f64),
}

/// Rows that were due at one time and came at one time; both since the sender's start.
struct Rows {
    count: u64,
    sent: Duration,
    came: Duration,
}

impl Rows {
    fn latency(&self) -> Duration {
        self.came.saturating_sub(self.sent)
    }
}

/// Sends for so long, and waits until every row has come.
fn run(wasmill: &Wasmill, load: Load, span: Duration) -> anyhow::Result<Vec<Rows>> {
    let (began, begin) = channel();
    let (done, total) = channel();
    let (stop, stopped) = channel();
    let (address, sender) =
        serve(move |peer| send(peer, load, span, (&began, &done, &stopped)).expect("it reads"));
    let pipeline = PIPELINE.replace("{address}", &address);
    let running = Running::start(&mut wasmill.command(&pipeline, WORKERS)?);
    let (mut all, mut came, mut expected) = (Vec::new(), 0, None);
    let begin: Instant = begin.recv()?;
    while expected != Some(came) {
        let Some(line) = running.next_line() else {
            running.end().succeeded();
            anyhow::bail!("the pipeline has ended by itself");
        };
        let rows = rows(&printed(&line)?, begin);
        came += rows.count;
        all.push(rows);
        expected = expected.or_else(|| total.try_recv().ok());
    }
    running.signal("TERM");
    running.end().succeeded();
    drop(stop);
    sender.join().expect("it has sent all");
    Ok(all)
}

fn rows(printed: &Printed, begin: Instant) -> Rows {
    Rows {
        count: printed.number("words") / WORDS,
        sent: Duration::from_micros(printed.number("sent")),
        came: printed.at - begin,
    }
}

/// Sends groups of rows, tells how many rows there were, and keeps the connection until the run is over.
fn send(
    mut peer: TcpStream,
    load: Load,
    span: Duration,
    (began, done, stopped): (&Sender<Instant>, &Sender<u64>, &Receiver<()>),
) -> std::io::Result<()> {
    let begin = Instant::now();
    // Nobody hears it only if the benchmark has failed; here and below.
    began.send(begin).ok();
    let (mut due, mut total) = (Duration::ZERO, 0);
    while due < span {
        let count = match load {
            Load::Peak => LARGE_GROUP,
            Load::Rows(rate) => {
                due += GROUP;
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                (rate * due.as_secs_f64()) as u64 - total
            }
        };
        if let Load::Peak = load {
            due = begin.elapsed();
        }
        let row = format!("{{\"sent\":{},\"text\":\"{TEXT}\"}}\n", due.as_micros());
        peer.write_all(row.repeat(count as usize).as_bytes())?;
        total += count;
    }
    done.send(total).ok();
    stopped.recv().ok();
    Ok(())
}

/// Rows a second that came after the warm-up.
fn rate(rows: &[Rows]) -> f64 {
    let counted = rows.iter().filter(|rows| rows.came > WARM_UP);
    let last = rows.iter().map(|rows| rows.came).max().unwrap_or_default();
    let count: u64 = counted.map(|rows| rows.count).sum();
    count as f64 / last.saturating_sub(WARM_UP).as_secs_f64()
}

/// The latency that so large a share of all rows does not exceed. They are in order.
fn quantile(rows: &[Rows], share: f64) -> Duration {
    let total: u64 = rows.iter().map(|rows| rows.count).sum();
    let mut left = (total as f64 * share) as u64;
    for rows in rows {
        if rows.count >= left {
            return rows.latency();
        }
        left -= rows.count;
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_counts_rows_and_not_groups() {
        let rows = |count, millis: u64| Rows {
            count,
            sent: Duration::from_millis(5),
            came: Duration::from_millis(5 + millis),
        };
        let rows = [rows(98, 10), rows(1, 20), rows(1, 30)];
        let millis = [0.5, 0.98, 0.99, 1.0].map(|share| quantile(&rows, share).as_millis());
        assert_eq!(millis, [10, 10, 20, 30]);
    }
}
