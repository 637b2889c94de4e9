//! Counts the rows of each key since the beginning of the run.
//!
//! ```toml
//! [steps.totals]
//! input = "words"
//! plugin = "running-count"
//! group_by = ["word"]
//! ```
//!
//! It gives, for each key with rows in an epoch, a row of the key's columns and `n`, how many rows there were up to now.
//!
//! First lesson on keyed plugins: what is remembered of a key is a record, and the function sees it as it was after the
//! epoch before. `()` says that neither the key nor a column of the rows is read, so any will do. A key with very many
//! rows comes in several calls; the count is emitted in the last.

use wasmill_sdk::prelude::*;

#[derive(Record, Debug, PartialEq)]
struct Count {
    n: i64,
}

fn count(_: (), rows: Rows<()>, state: &mut State<Count>, out: &mut Emit<Count>) {
    let before = state.get().map_or(0, |count| count.n);
    let n = before + rows.count() as i64;
    if state.is_last_part() {
        out.emit(Count { n });
    }
    state.put(Count { n });
}

export_keyed! {
    carry: |_| true,
    update: count,
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{self, KeyedRun};

    use super::*;

    fn start(part: usize) -> KeyedRun<Plugin> {
        testing::keyed::<Plugin>()
            .key(&["word"])
            .input(&[("line", "int64"), ("word", "utf8?")])
            .parts_of(part)
            .start()
            .expect("any columns will do")
    }

    const LINE: [&str; 4] = [
        r#"{"line": 1, "word": "to"}"#,
        r#"{"line": 1, "word": "be"}"#,
        r#"{"line": 1, "word": "to"}"#,
        r#"{"line": 1, "word": null}"#,
    ];

    #[test]
    fn counts_go_on_from_epoch_to_epoch() {
        let mut run = start(usize::MAX);
        let first = run.epoch(0, LINE).expect("counting never fails");
        assert_eq!(
            first.json("out"),
            [
                r#"{"word":"be","n":1}"#,
                r#"{"word":"to","n":2}"#,
                r#"{"word":null,"n":1}"#
            ]
        );
        let second = run.epoch(1, [LINE[0]]).expect("counting never fails");
        assert_eq!(second.json("out"), [r#"{"word":"to","n":3}"#]);
        assert_eq!(run.state().len(), 3);
    }

    #[test]
    fn a_key_in_several_parts_is_told_once() {
        let mut run = start(1);
        let epoch = run.epoch(0, LINE).expect("counting never fails");
        let mut counts: Vec<i64> = epoch
            .rows("out")
            .iter()
            .map(|count: &Count| count.n)
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 2]);
    }
}
