//! Any values of any types, with any nulls, survive the way through a plugin.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wasmill_sdk::prelude::*;
use wasmill_sdk::{Date, Decimal, Timestamp, testing};

#[derive(Record, Clone, Debug, PartialEq)]
struct Everything {
    boolean: bool,
    int: i64,
    float: f64,
    decimal: Decimal<38, 4>,
    date: Date,
    timestamp: Timestamp,
    text: String,
    bytes: Vec<u8>,
    maybe_boolean: Option<bool>,
    maybe_int: Option<i64>,
    maybe_decimal: Option<Decimal<10, 2>>,
    maybe_date: Option<Date>,
    maybe_text: Option<String>,
    maybe_bytes: Option<Vec<u8>>,
}

fn everything() -> impl Strategy<Value = Everything> {
    let sure = (
        any::<bool>(),
        any::<i64>(),
        -1e300..1e300,
        any::<i64>(),
        any::<i32>(),
        any::<i64>(),
        ".{0,40}",
        vec(any::<u8>(), 0..40),
    );
    let maybe = (
        option::of(any::<bool>()),
        option::of(any::<i64>()),
        option::of(-9_999_999_999i64..=9_999_999_999),
        option::of(any::<i32>()),
        option::of(".{0,20}"),
        option::of(vec(any::<u8>(), 0..20)),
    );
    (sure, maybe).prop_map(|(sure, maybe)| Everything {
        boolean: sure.0,
        int: sure.1,
        float: sure.2,
        decimal: Decimal(sure.3.into()),
        date: Date(sure.4),
        timestamp: Timestamp(sure.5),
        text: sure.6,
        bytes: sure.7,
        maybe_boolean: maybe.0,
        maybe_int: maybe.1,
        maybe_decimal: maybe.2.map(|unscaled| Decimal(unscaled.into())),
        maybe_date: maybe.3.map(Date),
        maybe_text: maybe.4,
        maybe_bytes: maybe.5,
    })
}

/// Emits a row, twice if its boolean is set, and turns it away after that if its integer is odd.
fn mangle(row: Everything, out: &mut Emit<Everything>) -> Result<(), Reject> {
    out.emit(row.clone());
    if row.boolean {
        out.emit(row.clone());
    }
    if row.int % 2 != 0 {
        return reject(row.text);
    }
    Ok(())
}

export_transform!(flat_map: mangle);

proptest! {
    #[test]
    fn rows_come_out_as_they_went_in(rows in vec(everything(), 0..60)) {
        let run = testing::transform::<Plugin>().rows(rows.clone()).run().unwrap();

        let (mut kept, mut parents, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            if row.int % 2 != 0 {
                rejected.push((at as u32, row.text.as_str()));
                continue;
            }
            for _ in 0..1 + usize::from(row.boolean) {
                kept.push(row.clone());
                parents.push(at);
            }
        }
        prop_assert_eq!(run.rows::<Everything>("out"), kept);
        prop_assert_eq!(run.parents("out"), parents);
        prop_assert_eq!(run.rejected(), rejected);
    }
}

/// Any values of any types are remembered as they were put.
mod states {
    use super::*;

    /// Remembers the last row of a key, and emits it as it comes and as it is remembered.
    fn remember(
        _: (),
        rows: Rows<Everything>,
        state: &mut State<Everything>,
        out: &mut Emit<Everything>,
    ) {
        if let Some(before) = state.get() {
            out.emit(before);
        }
        if let Some(row) = rows.last() {
            state.put(row.clone());
            out.emit(row);
        }
    }

    export_keyed!(update: remember);

    const SCHEMA: [(&str, &str); 14] = [
        ("boolean", "boolean"),
        ("int", "int64"),
        ("float", "float64"),
        ("decimal", "decimal(38,4)"),
        ("date", "date"),
        ("timestamp", "timestamp"),
        ("text", "utf8"),
        ("bytes", "binary"),
        ("maybe_boolean", "boolean?"),
        ("maybe_int", "int64?"),
        ("maybe_decimal", "decimal(10,2)?"),
        ("maybe_date", "date?"),
        ("maybe_text", "utf8?"),
        ("maybe_bytes", "binary?"),
    ];

    /// Days and moments of years of four digits, which a test can write down.
    fn written_down(row: Everything) -> Everything {
        Everything {
            int: row.int / 2 * 2,
            date: Date(row.date.0 % 100_000),
            timestamp: Timestamp(row.timestamp.0 % 1_000_000_000_000_000),
            maybe_date: row.maybe_date.map(|date| Date(date.0 % 100_000)),
            ..row
        }
    }

    proptest! {
        #[test]
        fn a_state_is_read_as_it_was_put(rows in vec(everything().prop_map(written_down), 1..20)) {
            let json = testing::transform::<super::Plugin>().rows(rows).run().unwrap().json("out");
            let lines = || json.iter().map(String::as_str);
            let mut run = testing::keyed::<Plugin>().key(&["maybe_boolean"]).input(&SCHEMA).start().unwrap();

            let first = run.epoch(0, lines()).unwrap();
            let put: Vec<Everything> = first.rows("out");
            prop_assert_eq!(run.state().len(), put.len());
            let second = run.epoch(1, lines()).unwrap();
            let read: Vec<Everything> = second.rows("out");
            let twice = put.into_iter().flat_map(|row| [row.clone(), row]);
            prop_assert_eq!(read, twice.collect::<Vec<_>>());
        }
    }
}
