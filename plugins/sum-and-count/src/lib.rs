//! Adds up sums and counts: what a mean is made of.
//!
//! ```toml
//! [steps.load]
//! input = "requests"          # a row has its bytes, and a 1
//! plugin = "sum-and-count"
//! group_by = ["host"]
//! config = { sum = "bytes", count = "requests" }
//! ```
//!
//! It reads the columns that `sum` and `count` name, else `sum` and `count`; the result has those columns. A sum that does
//! not fit its column ends the run.
//!
//! Second lesson on reducers: an inverse. A window that slides takes out what has become too old instead of adding up
//! everything again. The inverse must be exact, so the columns are of integers: floats that come and go leave dust. The
//! `Err` of a reducer fails the whole call.

use wasmill_sdk::prelude::*;

#[derive(Record, Clone, Debug, PartialEq)]
struct Sum {
    #[record(setting = "sum")]
    sum: i64,
    #[record(setting = "count")]
    count: i64,
}

fn add(a: Sum, b: Sum) -> Result<Sum, Error> {
    combine(a, b, i64::checked_add)
}

fn subtract(total: Sum, gone: Sum) -> Result<Sum, Error> {
    combine(total, gone, i64::checked_sub)
}

fn combine(a: Sum, b: Sum, by: fn(i64, i64) -> Option<i64>) -> Result<Sum, Error> {
    match (by(a.sum, b.sum), by(a.count, b.count)) {
        (Some(sum), Some(count)) => Ok(Sum { sum, count }),
        _ => Err(Error::fatal("the sum does not fit an int64")),
    }
}

export_reducer! {
    reduce: add,
    inverse: subtract,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing;

    use super::*;

    #[test]
    fn what_was_added_can_be_taken_out() {
        let run = testing::reducer::<Plugin>()
            .rows([5, -7, 0, 12].map(|sum| Sum { sum, count: 1 }))
            .groups([1, 3])
            .run()
            .expect("the input has the columns");
        assert_eq!(
            run.rows::<Sum>(),
            [Sum { sum: 5, count: 1 }, Sum { sum: 5, count: 3 }]
        );
        assert!(run.plan().invertible);
    }

    #[test]
    fn settings_name_the_columns() {
        let run = testing::reducer::<Plugin>()
            .config(json!({"sum": "bytes"}))
            .json(
                &[("count", "int64"), ("bytes", "int64")],
                [
                    r#"{"bytes": 10, "count": 1}"#,
                    r#"{"bytes": 3, "count": 2}"#,
                ],
            )
            .run()
            .expect("the input has the columns");
        assert_eq!(run.json(), [r#"{"bytes":13,"count":3}"#]);
    }

    #[test]
    fn a_sum_that_does_not_fit_is_an_error() {
        let error = testing::reducer::<Plugin>()
            .rows([i64::MAX, 1].map(|sum| Sum { sum, count: 1 }))
            .run()
            .expect_err("it does not fit");
        assert_eq!(error.message, "the sum does not fit an int64");
    }
}
