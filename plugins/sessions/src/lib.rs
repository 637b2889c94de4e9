//! Finds sessions: the events of a key, as of a user, without a long gap between them.
//!
//! ```toml
//! [steps.sessions]
//! input = "requests"
//! plugin = "sessions"
//! group_by = ["user"]
//! config = { gap = "30m" }
//! ```
//!
//! It reads the column that `time` names, else `time`, else the first column of type timestamp. A session ends when its
//! key has been without events for `gap`, or when an event comes whose time is further than that from all of the
//! session. It then gives one row: the key's columns, `start` and `end`, the times of its earliest and its latest event,
//! and `events`, how many there were.
//!
//! Second lesson on keyed plugins: a timer has the function called for a key that has no rows. The timer follows the
//! batch time, the time of the epoch, since nothing tells how far the times in the rows have got.

use std::time::Duration;

use wasmill_sdk::Timestamp;
use wasmill_sdk::prelude::*;

#[derive(Deserialize)]
struct Config {
    #[serde(deserialize_with = "wasmill_sdk::duration")]
    gap: Duration,
}

#[derive(Record)]
struct Event {
    #[record(setting = "time", or_first)]
    time: Timestamp,
}

/// What is remembered of a session, and what is emitted when it has ended.
#[derive(Record, Clone, Debug, PartialEq)]
struct Session {
    start: Timestamp,
    end: Timestamp,
    events: i64,
}

impl Session {
    fn of(event: &Event) -> Self {
        Self {
            start: event.time,
            end: event.time,
            events: 1,
        }
    }

    /// Whether an event is no further than `gap` from the session.
    fn reaches(&self, event: &Event, gap: Duration) -> bool {
        let before = self.start.0.saturating_sub(event.time.0);
        let after = event.time.0.saturating_sub(self.end.0);
        i128::from(before.max(after)) <= gap.as_micros().cast_signed()
    }

    fn add(&mut self, event: &Event) {
        self.start = self.start.min(event.time);
        self.end = self.end.max(event.time);
        self.events += 1;
    }
}

fn follow(
    config: &Config,
    _: (),
    events: Rows<Event>,
    state: &mut State<Session>,
    out: &mut Emit<Session>,
) {
    let mut session = state.get();
    let silent = state.is_first_part() && events.is_empty();
    for event in events {
        match &mut session {
            Some(session) if session.reaches(&event, config.gap) => session.add(&event),
            _ => {
                if let Some(ended) = session.replace(Session::of(&event)) {
                    out.emit(ended);
                }
            }
        }
    }
    match session {
        Some(ended) if silent && state.timed_out() => {
            out.emit(ended);
            state.remove();
        }
        Some(session) => {
            state.put(session);
            state.timeout_after(config.gap);
        }
        None => {}
    }
}

export_keyed! {
    config: Config,
    carry: |_| true,
    update: follow,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing::{self, KeyedRun};

    use super::*;

    fn start(part: usize) -> KeyedRun<Plugin> {
        testing::keyed::<Plugin>()
            .config(json!({"gap": "10s", "time": "at"}))
            .key(&["user"])
            .input(&[
                ("seen", "timestamp"),
                ("user", "utf8"),
                ("at", "timestamp?"),
            ])
            .parts_of(part)
            .start()
            .expect("the input has the columns")
    }

    fn event(user: &str, at: &str) -> String {
        format!(
            r#"{{"user": "{user}", "seen": "1970-01-01T00:00:00Z", "at": "2026-05-25T12:{at}Z"}}"#
        )
    }

    /// The rows that come out of an epoch at `second`.
    fn sessions(run: &mut KeyedRun<Plugin>, second: i64, events: &[(&str, &str)]) -> Vec<String> {
        let rows: Vec<String> = events.iter().map(|(user, at)| event(user, at)).collect();
        run.epoch(second * 1000, rows.iter().map(String::as_str))
            .expect("events are only noted")
            .json("out")
    }

    const ANN: &str =
        r#"{"user":"ann","start":"2026-05-25T12:00:01Z","end":"2026-05-25T12:00:19Z","events":3}"#;

    #[test]
    fn a_session_ends_after_a_gap_without_events() {
        let mut run = start(usize::MAX);
        let first = [("ann", "00:01"), ("bob", "00:02"), ("ann", "00:09")];
        assert!(sessions(&mut run, 10, &first).is_empty());
        assert!(sessions(&mut run, 19, &[("ann", "00:19")]).is_empty());
        let bob = r#"{"user":"bob","start":"2026-05-25T12:00:02Z","end":"2026-05-25T12:00:02Z","events":1}"#;
        assert_eq!(sessions(&mut run, 20, &[]), [bob]);
        assert!(sessions(&mut run, 28, &[]).is_empty());
        assert_eq!(sessions(&mut run, 29, &[]), [ANN]);
        assert!(run.state().is_empty() && run.timers().is_empty());
    }

    #[test]
    fn events_keep_a_session_that_was_due_open() {
        let mut run = start(usize::MAX);
        sessions(&mut run, 0, &[("ann", "00:01"), ("ann", "00:10")]);
        assert!(sessions(&mut run, 10, &[("ann", "00:19")]).is_empty());
        assert_eq!(run.timers(), [(r#"{"user":"ann"}"#, 20_000)]);
        assert_eq!(sessions(&mut run, 20, &[]), [ANN]);
    }

    #[test]
    fn an_event_far_from_the_others_begins_a_session() {
        for part in 1..5 {
            let mut run = start(part);
            let events = [
                ("ann", "00:19"),
                ("ann", "00:09"),
                ("ann", "00:01"),
                ("ann", "00:30"),
            ];
            assert_eq!(sessions(&mut run, 0, &events), [ANN], "parts of {part}");
            assert_eq!(
                run.state(),
                [
                    r#"{"user":"ann","start":"2026-05-25T12:00:30Z","end":"2026-05-25T12:00:30Z","events":1}"#
                ]
            );
        }
    }

    #[test]
    fn an_event_without_a_time_is_rejected() {
        let mut run = start(usize::MAX);
        let rows = [r#"{"user": "ann", "seen": "1970-01-01T00:00:00Z"}"#];
        let epoch = run.epoch(0, rows).expect("events are only noted");
        assert_eq!(epoch.rejected(0), [(0, "column `at` is null")]);
        assert!(run.state().is_empty());
    }

    #[test]
    fn a_gap_is_a_duration() {
        let error = testing::keyed::<Plugin>()
            .config(json!({"gap": "soon"}))
            .key(&["user"])
            .input(&[("user", "utf8"), ("time", "timestamp")])
            .describe()
            .expect_err("no duration");
        assert_eq!(
            error.message,
            "the configuration is wrong: `gap`: `soon` is not a duration as `30s`, `1h 30m` or `250ms`"
        );
    }
}
