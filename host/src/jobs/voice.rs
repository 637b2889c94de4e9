//! The voice of a run: what its threads log and its `print` sinks print, as lines that go to its supervisor.
//!
//! It is the [`tracing::Subscriber`] of the run's threads ([`crate::thread`] hands it on), so what a pipeline says can reach no other's log.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;
use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use super::protocol::{Report, RunId};
use super::quotas::Allowance;
use super::{LogLevel, LogLine};
use crate::throttle::Throttle;

/// Lines of a run in a second: some for each node, and what a `print` sink with its usual limit prints.
const LINES: u32 = 200;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 4 << 10;
/// Names of fields that say which source, step or sink an event is about.
const NODE_FIELDS: [&str; 4] = ["node", "source", "sink", "table"];

/// Cheap to clone.
#[derive(Clone)]
pub struct Voice(Arc<Inner>);

struct Inner {
    run: RunId,
    /// Lines that do not fit are lost: a supervisor that is slow must not slow down the data plane.
    reports: Sender<Option<Report>>,
    throttle: Mutex<Throttle>,
    /// What it shares with all other runs of its tenant: how many lines, and what none of them may say.
    shared: Allowance,
    dropped: AtomicU64,
}

impl Voice {
    /// Of a run, into a channel whose other end is the supervisor's; `shared` is what it has with other runs.
    pub fn new(run: RunId, reports: Sender<Option<Report>>, shared: Allowance) -> Self {
        Self(Arc::new(Inner {
            run,
            reports,
            throttle: Mutex::new(Throttle::new(LINES, Instant::now())),
            shared,
            dropped: AtomicU64::new(0),
        }))
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Says a line, unless there were too many in this second.
    pub fn say(&self, level: LogLevel, node: Option<String>, message: String) {
        let now = Instant::now();
        let own = self.0.throttle.lock();
        let own = own.unwrap_or_else(PoisonError::into_inner).admit(now);
        self.tell_lost(own.lost, "too many in a second");
        if !own.passes {
            return self.drop_one();
        }
        let shared = self.0.shared.lines.admit(now);
        let why = "the tenant's pipelines said too many in a second, this one or others";
        self.tell_lost(shared.lost, why);
        match shared.passes {
            true => self.send(level, node, message),
            false => self.drop_one(),
        }
    }

    fn tell_lost(&self, lost: u64, why: &str) {
        if lost > 0 {
            let told = format!("{lost} lines were dropped: {why}");
            self.send(LogLevel::Warn, None, told);
        }
    }

    fn drop_one(&self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// What is printed to it is said.
    pub fn printer(&self) -> impl Write + Send + 'static {
        Printer {
            voice: self.clone(),
            line: Vec::new(),
        }
    }

    fn send(&self, level: LogLevel, node: Option<String>, message: String) {
        let mut message = self.0.shared.hide(&message).into_owned();
        if message.len() > LINE_BYTES {
            message.truncate(message.floor_char_boundary(LINE_BYTES));
            message.push_str(" ...");
        }
        let report = Report::Log {
            run: self.0.run,
            line: LogLine {
                time: Timestamp::now(),
                level,
                node,
                message,
            },
        };
        if self.0.reports.try_send(Some(report)).is_err() {
            self.drop_one();
        }
    }
}

impl Subscriber for Voice {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries say of themselves is the operator's business.
        *metadata.level() <= Level::INFO && metadata.target().starts_with("wasmill")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Spans are of no interest; all of them are this one.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            _ => LogLevel::Info,
        };
        self.say(level, told.node, told.message + &told.fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's fields.
#[derive(Default)]
struct Told {
    node: Option<String>,
    message: String,
    fields: String,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name if NODE_FIELDS.contains(&name) => self.node = Some(format!("{value:?}")),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}

/// Cuts what is printed into lines.
struct Printer {
    voice: Voice,
    line: Vec<u8>,
}

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // One byte more than is kept, so that the line is marked as cut.
            let room = (LINE_BYTES + 1).saturating_sub(self.line.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.line.extend(&text[..text.len().min(room)]);
            if text.len() < piece.len() {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line).into_owned();
                self.voice.say(LogLevel::Print, None, text);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, unbounded};
    use tracing::Dispatch;

    use super::*;
    use crate::jobs::Terms;
    use crate::secret::SecretText;
    use crate::thread;

    fn voice(run: u64) -> (Voice, Receiver<Option<Report>>) {
        let (reports, said) = unbounded();
        (Voice::new(RunId(run), reports, Allowance::default()), said)
    }

    fn lines(said: &Receiver<Option<Report>>) -> Vec<(u64, LogLevel, Option<String>, String)> {
        let line = |report| match report {
            Some(Report::Log { run, line }) => (run.0, line.level, line.node, line.message),
            other => panic!("{other:?} is no line"),
        };
        said.try_iter().map(line).collect()
    }

    #[test]
    fn an_event_is_a_line_of_its_own_run_on_whatever_thread_it_comes() {
        let voices = [1, 2].map(voice);
        let threads = [0, 1].map(|run| {
            let dispatch = Dispatch::new(voices[run].0.clone());
            tracing::dispatcher::with_default(&dispatch, || {
                tracing::debug!("not for tenants");
                tracing::warn!(node = "words", epoch = 3, "too long: {run}");
                thread::spawn("inner", move || tracing::info!(source = %"lines", "ended"))
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        for (run, (_, said)) in (1..).zip(&voices) {
            let warned = format!("too long: {} epoch=3", run - 1);
            assert_eq!(
                lines(said),
                [
                    (run, LogLevel::Warn, Some("words".into()), warned),
                    (run, LogLevel::Info, Some("lines".into()), "ended".into()),
                ]
            );
        }
    }

    #[test]
    fn what_is_printed_comes_line_by_line_and_is_cut() {
        let (voice, said) = voice(1);
        let mut printer = voice.printer();
        printer.write_all(b"one\ntw").unwrap();
        printer.write_all(b"o\n").unwrap();
        for _ in 0..3 {
            printer.write_all(&[b'x'; LINE_BYTES]).unwrap();
        }
        printer.write_all(b"\n").unwrap();
        let messages: Vec<String> = lines(&said).into_iter().map(|line| line.3).collect();
        let long = "x".repeat(LINE_BYTES) + " ...";
        assert_eq!(messages, ["one", "two", &long]);
    }

    #[test]
    fn runs_of_a_tenant_share_its_lines_and_what_is_dropped_is_counted_where_it_was_said() {
        let shared = Allowance::default();
        shared.lines.set(Some(3));
        let (reports, said) = unbounded();
        let voices = [1, 2].map(|run| Voice::new(RunId(run), reports.clone(), shared.clone()));
        for voice in &voices {
            for line in 0..2 {
                voice.say(LogLevel::Info, None, line.to_string());
            }
        }
        assert_eq!(lines(&said).len(), 3);
        assert_eq!(voices.map(|voice| voice.dropped()), [0, 1]);
    }

    #[test]
    fn nobody_says_a_secret() {
        let shared = Allowance::default();
        let name = crate::ids::SecretName::parse("token").unwrap();
        let text = SecretText::new("swordfish-7".into());
        let terms = Terms {
            secrets: [(name, text)].into(),
            ..Terms::default()
        };
        shared.set(terms, None);
        let (reports, said) = unbounded();
        let voice = Voice::new(RunId(1), reports, shared.clone());
        voice.say(LogLevel::Info, None, "with swordfish-7 it opens".into());
        // It is no secret of the tenant any more, but this run may still have it.
        shared.set(Terms::default(), None);
        voice.say(LogLevel::Print, None, "swordfish-7".into());
        let messages: Vec<String> = lines(&said).into_iter().map(|line| line.3).collect();
        assert_eq!(messages, ["with *** it opens", "***"]);
    }

    #[test]
    fn a_flood_is_cut_and_no_reader_holds_it_up() {
        let (reports, said) = crossbeam_channel::bounded(1);
        let voice = Voice::new(RunId(1), reports, Allowance::default());
        for line in 0..LINES * 2 {
            voice.say(LogLevel::Info, None, line.to_string());
        }
        assert_eq!(lines(&said).len(), 1, "the others did not wait");
        assert_eq!(voice.dropped(), u64::from(LINES * 2 - 1));
        let lost = voice.0.throttle.lock().unwrap().take_lost();
        assert!(lost > 0, "the limit is the run's own");
    }
}
