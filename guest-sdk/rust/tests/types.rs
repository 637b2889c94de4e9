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
