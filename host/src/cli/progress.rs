//! How a run goes, while it goes: a status line on a terminal, a log line now and then elsewhere.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::terminal::Terminal;
use crate::run::Status;
use crate::run::status::Snapshot;

/// Often enough to look alive, seldom enough to read.
const LINE_EVERY: Duration = Duration::from_millis(500);
/// A log of a day has 8,640 such lines.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows a run's status until it is dropped.
pub struct Progress {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts showing `status`.
    pub fn start(status: Arc<Status>, terminal: Terminal) -> Self {
        let (stop, stopped) = bounded(0);
        let thread = std::thread::spawn(move || {
            let every = match terminal.has_line() {
                true => LINE_EVERY,
                false => LOG_EVERY,
            };
            if terminal.has_line() {
                terminal.animate();
            }
            let mut rate = Rate::starting(Instant::now());
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let snapshot = status.read();
                let rows_per_second = rate.update(Instant::now(), snapshot.rows);
                match terminal.has_line() {
                    true => terminal.set_line(line(&snapshot, rows_per_second)),
                    false => log(&snapshot, rows_per_second),
                }
            }
            terminal.clear();
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook; the run's own end matters more.
            thread.join().ok();
        }
    }
}

/// Rows a second since the last look.
struct Rate {
    at: Instant,
    rows: u64,
}

impl Rate {
    fn starting(at: Instant) -> Self {
        Self { at, rows: 0 }
    }

    fn update(&mut self, now: Instant, rows: u64) -> f64 {
        let seconds = now.duration_since(self.at).as_secs_f64();
        let new = rows.saturating_sub(self.rows);
        (self.at, self.rows) = (now, rows);
        if seconds > 0.0 {
            new as f64 / seconds
        } else {
            0.0
        }
    }
}

fn line(snapshot: &Snapshot, rows_per_second: f64) -> String {
    let mut line = format!(
        "epoch {}  {} rows/s  {} processing  {} delay  {}B waiting  {}B alive",
        snapshot.delivered,
        short(rows_per_second),
        time(snapshot.processing),
        time(snapshot.delay),
        short(snapshot.backlog_bytes as f64),
        short(snapshot.live_bytes as f64),
    );
    if snapshot.dropped > 0 {
        line += &format!("  {} dropped", snapshot.dropped);
    }
    line
}

fn log(snapshot: &Snapshot, rows_per_second: f64) {
    tracing::info!(
        epochs = snapshot.delivered,
        rows = snapshot.rows,
        rows_per_second = rows_per_second.round(),
        processing_ms = snapshot.processing.as_secs_f64() * 1e3,
        delay_ms = snapshot.delay.as_secs_f64() * 1e3,
        backlog_bytes = snapshot.backlog_bytes,
        live_bytes = snapshot.live_bytes,
        dropped = snapshot.dropped,
        "running"
    );
}

/// A number in at most five characters, "999", "1.2k", "34.5M".
pub fn short(number: f64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let mut number = number;
    let mut unit = 0;
    // What would be shown as 1000 is shown as 1.0 of the next unit.
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1000.0;
        unit += 1;
    }
    match unit > 0 && number < 99.95 {
        true => format!("{number:.1}{}", units[unit]),
        false => format!("{number:.0}{}", units[unit]),
    }
}

/// A span of time with a unit that suits it.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 0.001 => format!("{} us", duration.as_micros()),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        _ => format!(
            "{} min {} s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_short_at_any_size() {
        let cases = [
            (0.0, "0"),
            (999.0, "999"),
            (999.6, "1.0k"),
            (1_234.0, "1.2k"),
            (99_940.0, "99.9k"),
            (99_960.0, "100k"),
            (999_999.0, "1.0M"),
            (34_500_000.0, "34.5M"),
        ];
        for (number, expected) in cases {
            assert_eq!(short(number), expected, "{number}");
        }
    }

    #[test]
    fn a_rate_counts_since_the_last_look() {
        let start = Instant::now();
        let mut rate = Rate::starting(start);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(rate.update(after(500), 1000), 2000.0);
        assert_eq!(rate.update(after(1500), 1000), 0.0);
        assert_eq!(rate.update(after(1500), 1000), 0.0);
        assert_eq!(rate.update(after(3500), 2000), 500.0);
    }

    #[test]
    fn the_line_says_what_was_dropped_only_if_something_was() {
        let mut snapshot = Snapshot {
            delivered: 12,
            processing: Duration::from_millis(8),
            delay: Duration::from_micros(90),
            backlog_bytes: 3_100_000,
            live_bytes: 14_000,
            ..Snapshot::default()
        };
        assert_eq!(
            line(&snapshot, 1_234_567.0),
            "epoch 12  1.2M rows/s  8 ms processing  90 us delay  3.1MB waiting  14.0kB alive"
        );
        snapshot.dropped = 2;
        assert!(line(&snapshot, 0.0).ends_with("  2 dropped"));
    }
}
