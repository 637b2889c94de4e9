//! The upgrade of `running-count`: it also knows since when it counts a key.
//!
//! ```toml
//! [steps.totals]
//! input = "words"
//! plugin = "running-count-since"      # was "running-count"
//! group_by = ["word"]
//! ```
//!
//! It gives, for each key with rows in an epoch, the key's columns, `n`, how many rows there were up to now, and `since`,
//! the time of the epoch in which the key was first seen; null of a key that `running-count` counted before.
//!
//! Fifth lesson on keyed plugins: a state with another column is of another version, and `migrate` says what becomes of
//! the states there are. A pipeline that swaps the plugin in goes on with its counts.

use wasmill_sdk::prelude::*;
use wasmill_sdk::{Timestamp, context};

/// What version 1 remembered.
#[derive(Record)]
struct Counted {
    n: i64,
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Count {
    n: i64,
    since: Option<Timestamp>,
}

fn from_version_1(old: Counted) -> Count {
    Count {
        n: old.n,
        since: None,
    }
}

fn count(_: (), rows: Rows<()>, state: &mut State<Count>, out: &mut Emit<Count>) {
    let now = Timestamp(context().batch_time * 1000);
    let before = state.get().unwrap_or(Count {
        n: 0,
        since: Some(now),
    });
    let count = Count {
        n: before.n + rows.count() as i64,
        ..before
    };
    if state.is_last_part() {
        out.emit(count.clone());
    }
    state.put(count);
}

export_keyed! {
    carry: |_| true,
    version: 2,
    migrate: { 1 => from_version_1 },
    update: count,
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing;

    use super::*;

    #[test]
    fn a_key_remembers_the_epoch_in_which_it_was_first_seen() {
        let mut run = testing::keyed::<Plugin>()
            .key(&["word"])
            .input(&[("word", "utf8")])
            .start()
            .expect("any columns will do");
        run.epoch(1000, [r#"{"word": "to"}"#])
            .expect("it never fails");
        let epoch = run.epoch(2000, [r#"{"word": "to"}"#, r#"{"word": "be"}"#]);
        let rows = epoch.expect("it never fails").json("out");
        let since = |second| format!("1970-01-01T00:00:0{second}Z");
        assert_eq!(
            rows,
            [
                format!(r#"{{"word":"be","n":1,"since":"{}"}}"#, since(2)),
                format!(r#"{{"word":"to","n":2,"since":"{}"}}"#, since(1)),
            ]
        );
    }
}
