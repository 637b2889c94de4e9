//! Reducers, run as `testing` runs them: through the buffers and back, cut everywhere.

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing;

mod numbers {
    use super::*;
    use wasmill_sdk::{Date, Decimal, Timestamp};

    /// Every type of fixed width, and a column that may be missing.
    #[derive(Record, Clone, Debug, PartialEq)]
    struct Sums {
        any: bool,
        total: i64,
        price: Decimal<20, 2>,
        last: Timestamp,
        first_day: Date,
        mean: f64,
        highest: Option<i64>,
    }

    fn add(a: Sums, b: Sums) -> Sums {
        Sums {
            any: a.any | b.any,
            total: a.total + b.total,
            price: Decimal(a.price.0 + b.price.0),
            last: a.last.max(b.last),
            first_day: a.first_day.min(b.first_day),
            mean: a.mean + b.mean,
            highest: a.highest.max(b.highest),
        }
    }

    export_reducer!(reduce: add);

    fn sums(n: i64) -> Sums {
        Sums {
            any: n == 3,
            total: n,
            price: Decimal(i128::from(n) * 150),
            last: Timestamp(n * 10),
            first_day: Date(-(n as i32)),
            mean: n as f64 / 10.0,
            highest: (n % 2 == 0).then_some(n),
        }
    }

    #[test]
    fn each_group_becomes_one_row() {
        let run = testing::reducer::<Plugin>()
            .rows((1..=6).map(sums))
            .groups([1, 3, 2])
            .run()
            .unwrap();
        let reduced: Vec<Sums> = run.rows();
        assert_eq!(reduced[0], sums(1));
        assert_eq!(
            reduced[1],
            Sums {
                any: true,
                total: 9,
                price: Decimal(1350),
                last: Timestamp(40),
                first_day: Date(-4),
                mean: 0.2 + 0.3 + 0.4,
                highest: Some(4),
            }
        );
        assert_eq!(reduced[2].total, 11);
        assert!(!run.plan().invertible);
    }

    #[test]
    fn a_plugin_without_an_inverse_says_so() {
        let run = testing::reducer::<Plugin>().rows([sums(1)]);
        let plan = run.describe().unwrap();
        assert_eq!(
            plan.columns,
            [
                "any",
                "total",
                "price",
                "last",
                "first_day",
                "mean",
                "highest"
            ]
        );
        let mut open = <Plugin as wasmill_sdk::Reducer>::open("", &[]).unwrap();
        let context = wasmill_sdk::context();
        let error = wasmill_sdk::Reducer::inverse(&mut open, context, 0, Vec::new(), Vec::new())
            .unwrap_err();
        assert_eq!(error.message, "this reducer has no inverse");
    }
}

mod texts {
    use super::*;

    #[derive(Record, Clone, Copy, Debug, PartialEq)]
    struct Word<'a> {
        #[record(setting = "column", or_first)]
        word: Text<'a>,
    }

    fn longest<'a>(a: Word<'a>, b: Word<'a>) -> Word<'a> {
        if b.word.len() > a.word.len() { b } else { a }
    }

    export_reducer!(reduce: longest);

    #[test]
    fn a_record_may_borrow_its_texts() {
        let words = ["to", "be", "or", "not", "too"].map(|word| Word { word: word.into() });
        let run = testing::reducer::<Plugin>()
            .rows(words)
            .groups([2, 3])
            .run()
            .unwrap();
        assert_eq!(run.rows::<Word>(), [words[0], words[3]]);
    }

    #[test]
    fn a_setting_names_the_column() {
        let run = testing::reducer::<Plugin>()
            .config(serde_json::json!({"column": "b"}))
            .json(
                &[("a", "utf8"), ("b", "utf8?")],
                [r#"{"a": "xxx", "b": "y"}"#, r#"{"a": "x", "b": "yy"}"#],
            )
            .run()
            .unwrap();
        assert_eq!(run.json(), [r#"{"b":"yy"}"#]);
    }

    #[test]
    fn rows_with_a_null_are_at_fault() {
        let error = testing::reducer::<Plugin>()
            .json(&[("a", "utf8?")], ["{}", r#"{"a": "x"}"#, r#"{"a": null}"#])
            .run()
            .unwrap_err();
        assert_eq!(error.kind, wasmill_sdk::ErrorKind::Rejected);
        assert_eq!(
            (error.message.as_str(), error.rows),
            ("column `a` is null", vec![0, 2])
        );
    }
}

mod joined {
    use super::*;
    use std::borrow::Cow;

    /// A text that is made, not picked.
    #[derive(Record)]
    struct Path<'a> {
        path: Cow<'a, str>,
    }

    #[derive(Deserialize)]
    struct Config {
        separator: String,
    }

    fn join<'a>(config: &Config, a: Path<'a>, b: Path<'a>) -> Result<Path<'a>, Error> {
        if a.path.len() + b.path.len() > 40 {
            return Err(Error::fatal("the path is too long"));
        }
        let path = Cow::Owned([a.path, b.path].join(&config.separator));
        Ok(Path { path })
    }

    fn leave<'a>(config: &Config, total: Path<'a>, gone: Path<'a>) -> Result<Path<'a>, Error> {
        let gone = gone.path.len() + config.separator.len();
        let path = Cow::Owned(total.path[gone..].to_owned());
        Ok(Path { path })
    }

    export_reducer! {
        config: Config,
        reduce: join,
        inverse: leave,
    }

    fn test(paths: &[&'static str]) -> testing::ReducerTest<Plugin> {
        testing::reducer::<Plugin>()
            .config(serde_json::json!({"separator": "/"}))
            .rows(paths.iter().map(|path| Path {
                path: (*path).into(),
            }))
    }

    #[test]
    fn the_order_of_the_rows_is_kept_and_the_oldest_leave() {
        let run = test(&["usr", "local", "bin", "x"]).run().unwrap();
        assert_eq!(run.json(), [r#"{"path":"usr/local/bin/x"}"#]);
        assert!(run.plan().invertible);
    }

    #[test]
    fn an_error_of_the_function_fails_the_call() {
        let error = test(&["0123456789012345678901234567890", "0123456789"])
            .run()
            .unwrap_err();
        assert_eq!(error.message, "the path is too long");
    }
}

mod contract {
    use super::*;
    use wasmill_sdk::wit::{Buffers, Field};
    use wasmill_sdk::{Reducer, context};

    #[derive(Record)]
    struct Number {
        n: i64,
    }

    fn add(a: Number, b: Number) -> Number {
        Number { n: a.n + b.n }
    }

    export_reducer!(reduce: add);

    fn column(numbers: &[i64]) -> Vec<Buffers> {
        vec![Buffers {
            validity: Vec::new(),
            offsets: Vec::new(),
            data: numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        }]
    }

    #[test]
    fn the_example_of_the_contract_is_true() {
        let field = Field {
            name: "n".to_owned(),
            data_type: "int64".to_owned(),
            nullable: false,
        };
        let mut plugin = Plugin::open("{}", &[field]).unwrap();
        let ends = vec![2, 0, 0, 0, 3, 0, 0, 0];
        let reduced = plugin.reduce(context(), ends, column(&[1, 2, 3])).unwrap();
        assert_eq!(reduced.len(), 1);
        assert_eq!(reduced[0].data, [[3, 0, 0, 0, 0, 0, 0, 0]; 2].concat());
        assert!(reduced[0].validity.is_empty() && reduced[0].offsets.is_empty());
    }
}

mod wrong {
    use super::*;

    #[derive(Record)]
    struct Number {
        n: i64,
    }

    fn difference(a: Number, b: Number) -> Number {
        Number { n: a.n - b.n }
    }

    export_reducer!(reduce: difference);

    #[test]
    #[should_panic(expected = "reduced in parts of [1, 2] rows")]
    fn a_function_that_minds_the_cuts_is_found_out() {
        let _ = testing::reducer::<Plugin>()
            .rows([1, 2, 3].map(|n| Number { n }))
            .run();
    }
}

mod wrong_inverse {
    use super::*;

    #[derive(Record)]
    struct Number {
        n: i64,
    }

    fn largest(a: Number, b: Number) -> Number {
        Number { n: a.n.max(b.n) }
    }

    fn keep(total: Number, _: Number) -> Number {
        total
    }

    export_reducer!(reduce: largest, inverse: keep);

    #[test]
    #[should_panic(
        expected = r#"{"n":3} without the first 1 rows, {"n":3}, is {"n":3} instead of {"n":2}"#
    )]
    fn an_inverse_that_leaves_what_is_gone_is_found_out() {
        let _ = testing::reducer::<Plugin>()
            .rows([3, 2].map(|n| Number { n }))
            .run();
    }
}
