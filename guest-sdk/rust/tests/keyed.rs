//! Keyed plugins, run as `testing` runs them: through the buffers and back, with state between epochs.

use std::time::Duration;

use wasmill_sdk::prelude::*;
use wasmill_sdk::{Keyed, testing};

mod counts {
    use super::*;

    #[derive(Record)]
    struct Word<'a> {
        word: &'a str,
    }

    #[derive(Record)]
    struct Line {
        n: i64,
    }

    #[derive(Record, Debug, PartialEq)]
    struct Count {
        n: i64,
    }

    #[derive(Record, Debug, PartialEq)]
    struct Total<'a> {
        length: i64,
        head: &'a str,
        n: i64,
    }

    /// A word starts over at zero, and `!` is no word.
    fn count(
        key: Word,
        rows: Rows<Line>,
        state: &mut State<Count>,
        out: &mut Emit<Total>,
    ) -> Result<(), Reject> {
        let mut n = state.get().map_or(0, |count| count.n);
        rows.each(|line| {
            if line.n < 0 {
                return reject("a negative number");
            }
            n += line.n;
            Ok(())
        });
        out.emit(Total {
            length: key.word.len() as i64,
            head: &key.word[..1],
            n,
        });
        state.put(Count { n: -1 }); // the last put counts
        state.put(Count { n });
        if n == 0 {
            state.remove();
        }
        if key.word == "!" {
            return reject("no word");
        }
        Ok(())
    }

    export_keyed! {
        carry: |_| true,
        version: 3,
        update: count,
    }

    fn test() -> testing::KeyedTest<Plugin> {
        testing::keyed::<Plugin>().key(&["word"]).input(&[
            ("other", "int64?"),
            ("word", "utf8?"),
            ("n", "int64?"),
        ])
    }

    #[test]
    fn state_lasts_from_epoch_to_epoch() {
        let mut run = test().start().unwrap();
        let rows = [
            r#"{"word": "b", "n": 1}"#,
            r#"{"word": "aa", "n": 2}"#,
            r#"{"word": "b", "n": 3}"#,
            r#"{"word": "c", "n": 0}"#,
        ];
        let epoch = run.epoch(0, rows).unwrap();
        assert_eq!(
            epoch.json("out"),
            [
                r#"{"word":"aa","length":2,"head":"a","n":2}"#,
                r#"{"word":"b","length":1,"head":"b","n":4}"#,
                r#"{"word":"c","length":1,"head":"c","n":0}"#,
            ]
        );
        let epoch = run.epoch(1, [r#"{"word": "aa", "n": 5}"#]).unwrap();
        assert_eq!(
            epoch.rows::<Total>("out"),
            [Total {
                length: 2,
                head: "a",
                n: 7
            }]
        );
        assert_eq!(
            run.state(),
            [r#"{"word":"aa","n":7}"#, r#"{"word":"b","n":4}"#]
        );
        let epoch = run.epoch(2, []).unwrap();
        assert_eq!(epoch.json("out"), [""; 0]);
    }

    #[test]
    fn rows_and_keys_are_turned_away_and_the_others_go_on() {
        let mut run = test().start().unwrap();
        run.epoch(0, [r#"{"word": "a", "n": 1}"#]).unwrap();
        let rows = [
            r#"{"word": "a", "n": -1}"#,
            r#"{"word": "!", "n": -1}"#,
            r#"{"word": "a", "n": 1}"#,
            r#"{"word": "a"}"#,
            r#"{"n": 1}"#,
            r#"{"word": "!", "n": 1}"#,
            r#"{"word": "z", "n": 1}"#,
        ];
        let epoch = run.epoch(1, rows).unwrap();
        let mut rejected = epoch.rejected(0);
        rejected.sort_unstable();
        assert_eq!(
            rejected,
            [
                (0, "a negative number"),
                (1, "a negative number"),
                (3, "column `n` is null"),
                (4, "column `word` is null"),
                (5, "no word"),
            ]
        );
        let heads: Vec<&str> = epoch
            .rows::<Total>("out")
            .iter()
            .map(|total| total.head)
            .collect();
        assert_eq!(heads, ["a", "z"]);
        assert_eq!(
            run.state(),
            [r#"{"word":"a","n":2}"#, r#"{"word":"z","n":1}"#]
        );
    }

    #[test]
    fn a_plan_tells_state_inputs_and_version() {
        let plan = test().describe().unwrap();
        assert_eq!(plan.inputs, [["n"]]);
        assert_eq!((plan.state_version, plan.whole_groups), (3, false));
        let state: Vec<_> = plan
            .state
            .iter()
            .map(|field| {
                (
                    field.name.as_str(),
                    field.data_type.as_str(),
                    field.nullable,
                )
            })
            .collect();
        assert_eq!(state, [("n", "int64", false)]);
        assert!(plan.ports[0].carry);
    }

    #[test]
    fn a_missing_column_says_where() {
        let describe = |keys: &[&str], inputs: &[&[(&str, &str)]]| {
            let mut test = testing::keyed::<Plugin>().key(keys);
            for input in inputs {
                test = test.input(input);
            }
            test.describe().unwrap_err().message
        };
        assert_eq!(
            describe(&["wort"], &[&[("wort", "utf8"), ("n", "int64")]]),
            "key: the plugin reads column `word` of type utf8, which the input does not have; did you mean `wort`?"
        );
        assert_eq!(
            describe(&["word"], &[&[("word", "utf8")]]),
            "the plugin reads column `n` of type int64, which the input does not have; it has `word` utf8"
        );
        let good: &[(&str, &str)] = &[("word", "utf8"), ("n", "int64")];
        assert_eq!(
            describe(&["word"], &[good, good]),
            "the step has 2 inputs, and the plugin reads 1"
        );
    }
}

mod parts {
    use super::*;

    #[derive(Record)]
    struct Seen {
        rows: i64,
        calls: i64,
    }

    fn see(_: (), rows: Rows<()>, state: &mut State<Seen>, out: &mut Emit<Seen>) {
        let before = state.get().filter(|_| !state.is_first_part());
        let mut seen = before.unwrap_or(Seen { rows: 0, calls: 0 });
        seen.rows += rows.count() as i64;
        seen.calls += 1;
        if state.is_last_part() {
            out.emit(Seen { ..seen });
        }
        state.put(seen);
    }

    export_keyed!(update: see);

    mod whole {
        use super::*;

        export_keyed!(whole_groups: true, update: see);
    }

    fn calls<K: Keyed>(part: usize) -> Vec<String> {
        let mut run = testing::keyed::<K>()
            .key(&["k"])
            .input(&[("k", "int64")])
            .parts_of(part)
            .start()
            .expect("the input has the key");
        let rows = [1, 2, 1, 1, 1, 1].map(|k| format!(r#"{{"k": {k}}}"#));
        run.epoch(0, rows.iter().map(String::as_str))
            .expect("rows are counted");
        run.epoch(0, rows.iter().map(String::as_str))
            .expect("rows are counted");
        run.state()
    }

    #[test]
    fn a_key_of_many_rows_comes_in_parts() {
        let two = r#"{"k":2,"rows":1,"calls":1}"#;
        assert_eq!(calls::<Plugin>(2), [r#"{"k":1,"rows":5,"calls":3}"#, two]);
        assert_eq!(calls::<Plugin>(9), [r#"{"k":1,"rows":5,"calls":1}"#, two]);
    }

    #[test]
    fn a_plugin_may_ask_for_whole_groups() {
        assert_eq!(calls::<whole::Plugin>(1), calls::<Plugin>(9));
    }
}

mod contract {
    use super::*;
    use wasmill_sdk::context;
    use wasmill_sdk::wit::{Buffers, Field, Group, KeyedBatch};

    #[derive(Record)]
    struct Count {
        n: i64,
    }

    fn count(_: (), rows: Rows<()>, state: &mut State<Count>, _: &mut Emit<Count>) {
        let before = state.get().map_or(0, |count| count.n);
        state.put(Count {
            n: before + rows.count() as i64,
        });
    }

    export_keyed!(update: count);

    fn numbers(numbers: &[i64]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    #[test]
    fn the_example_of_the_contract_is_true() {
        let word = Field {
            name: "word".to_owned(),
            data_type: "utf8".to_owned(),
            nullable: false,
        };
        let mut plugin = Plugin::open("{}", &[word], &[Vec::new()]).unwrap();
        let words = Buffers {
            validity: Vec::new(),
            offsets: [0u32, 2, 4].map(u32::to_le_bytes).concat(),
            data: b"beto".to_vec(),
        };
        let four = Buffers {
            validity: Vec::new(),
            offsets: Vec::new(),
            data: numbers(&[4]),
        };
        let batch = KeyedBatch {
            rows: 2,
            status: vec![0x0d, 0x0c],
            keys: vec![words],
            state: vec![four],
            inputs: vec![Group {
                ends: vec![1, 0, 0, 0, 3, 0, 0, 0],
                columns: Vec::new(),
            }],
        };
        let changes = plugin.process(context(), batch).unwrap();
        assert_eq!(changes.ops, [1, 1]);
        assert_eq!(changes.state[0].data, numbers(&[5, 2]));
        assert!(changes.timers.is_empty() && changes.rejected.is_empty());
        assert_eq!(changes.outputs[0].rows, 0);
    }
}

mod timers {
    use super::*;

    #[derive(Record)]
    struct Order<'a> {
        what: &'a str,
    }

    #[derive(Record)]
    struct Known {
        calls: i64,
    }

    #[derive(Record)]
    struct Call {
        calls: i64,
        timed_out: bool,
    }

    fn obey(
        _: (),
        orders: Rows<Order>,
        state: &mut State<Known>,
        out: &mut Emit<Call>,
    ) -> Result<(), Reject> {
        let calls = state.get().map_or(0, |known| known.calls) + 1;
        out.emit(Call {
            calls,
            timed_out: state.timed_out(),
        });
        if orders.clone().any(|order| order.what == "nothing") {
            return Ok(());
        }
        state.put(Known { calls });
        for order in orders {
            match order.what {
                "wait" => state.timeout_after(Duration::from_secs(1)),
                "clear" => state.clear_timer(),
                "forget" => state.remove(),
                "wait after all" => state.set_timer(i64::MAX),
                "refuse" => {
                    state.set_timer(0);
                    return reject("refused");
                }
                _ => {}
            }
        }
        if calls == 5 {
            return reject("the fifth call");
        }
        Ok(())
    }

    export_keyed!(carry: |_| true, update: obey);

    fn run() -> testing::KeyedRun<Plugin> {
        testing::keyed::<Plugin>()
            .key(&["k"])
            .input(&[("k", "int64"), ("what", "utf8")])
            .start()
            .expect("the input has the columns")
    }

    #[test]
    fn a_timer_is_due_once_and_not_before_its_time() {
        let mut run = run();
        let wait = r#"{"k": 1, "what": "wait"}"#;
        run.epoch(500, [wait]).unwrap();
        assert_eq!(run.timers(), [(r#"{"k":1}"#, 1500)]);
        assert!(run.epoch(1499, []).unwrap().json("out").is_empty());
        let epoch = run.epoch(1600, []).unwrap();
        assert_eq!(epoch.json("out"), [r#"{"k":1,"calls":2,"timed_out":true}"#]);
        assert_eq!(run.timers(), []);
        assert!(run.epoch(9999, []).unwrap().json("out").is_empty());
    }

    #[test]
    fn keys_before_and_after_one_that_sets_its_timer_keep_theirs() {
        let mut run = run();
        let rows = [
            r#"{"k": 1, "what": "wait"}"#,
            r#"{"k": 2, "what": ""}"#,
            r#"{"k": 3, "what": "wait"}"#,
        ];
        run.epoch(0, rows).unwrap();
        let rows = [
            r#"{"k": 1, "what": ""}"#,
            r#"{"k": 2, "what": "wait"}"#,
            r#"{"k": 3, "what": ""}"#,
        ];
        run.epoch(500, rows).unwrap();
        let due = [
            (r#"{"k":1}"#, 1000),
            (r#"{"k":2}"#, 1500),
            (r#"{"k":3}"#, 1000),
        ];
        assert_eq!(run.timers(), due);
    }

    #[test]
    fn a_timer_is_moved_cleared_and_forgotten() {
        let mut run = run();
        let rows = [
            r#"{"k": 1, "what": "wait"}"#,
            r#"{"k": 2, "what": "wait"}"#,
            r#"{"k": 3, "what": "wait"}"#,
            r#"{"k": 4, "what": "wait"}"#,
        ];
        run.epoch(0, rows).unwrap();
        let rows = [
            r#"{"k": 1, "what": "wait"}"#,
            r#"{"k": 2, "what": "clear"}"#,
            r#"{"k": 3, "what": "forget"}"#,
            r#"{"k": 4, "what": "refuse"}"#,
        ];
        let epoch = run.epoch(700, rows).unwrap();
        assert_eq!(epoch.rejected(0), [(3, "refused")]);
        assert_eq!(run.timers(), [(r#"{"k":1}"#, 1700), (r#"{"k":4}"#, 1000)]);
        assert_eq!(run.state().len(), 3);
    }

    #[test]
    fn a_timer_that_is_due_meets_rows() {
        let mut run = run();
        run.epoch(0, [r#"{"k": 1, "what": "wait"}"#]).unwrap();
        let epoch = run.epoch(1000, [r#"{"k": 1, "what": ""}"#]).unwrap();
        assert_eq!(epoch.json("out"), [r#"{"k":1,"calls":2,"timed_out":true}"#]);
        assert_eq!(run.timers(), []);
    }

    #[test]
    fn a_timer_without_state_is_an_error() {
        let rows = [
            r#"{"k": 1, "what": "forget"}"#,
            r#"{"k": 1, "what": "wait after all"}"#,
        ];
        let error = run().epoch(0, rows).unwrap_err();
        assert!(error.message.contains("set a timer for a key"), "{error}");
    }

    #[test]
    fn a_reason_without_rows_is_not_lost() {
        let mut run = run();
        for time in [0, 1, 2] {
            run.epoch(time, [r#"{"k": 1, "what": ""}"#]).unwrap();
        }
        run.epoch(3, [r#"{"k": 1, "what": "wait"}"#]).unwrap();
        let error = run.epoch(2000, []).unwrap_err();
        assert_eq!(error.message, "the fifth call");
    }
}

mod inputs {
    use super::*;

    #[derive(Record)]
    struct View<'a> {
        page: &'a str,
    }

    #[derive(Record)]
    struct Click {
        cost: f64,
    }

    #[derive(Record)]
    struct Visit<'a> {
        pages: Option<&'a str>,
        cost: f64,
    }

    #[derive(Record)]
    struct Nobody {
        rows: i64,
    }

    #[derive(Ports)]
    struct Out {
        visits: Emit<Visit<'static>>,
        nobodies: Emit<Nobody>,
    }

    fn join(_: (), (views, clicks): (Rows<View>, Rows<Click>), _: &mut State<()>, out: &mut Out) {
        let rows = views.clone().count() + clicks.clone().count();
        out.nobodies.emit(Nobody { rows: rows as i64 });
        let pages: Vec<&str> = views.map(|view| view.page).collect();
        let joined = pages.join("+");
        out.visits.emit(Visit {
            pages: (!pages.is_empty()).then_some(joined.as_str()),
            cost: clicks.fold(0.0, |sum, click| sum + click.cost),
        });
    }

    export_keyed!(update: join);

    #[test]
    fn the_rows_of_each_input_come_together() {
        let mut run = testing::keyed::<Plugin>()
            .key(&["user"])
            .input(&[("user", "utf8"), ("page", "utf8")])
            .input(&[("cost", "float64?"), ("user", "utf8")])
            .start()
            .unwrap();
        let views: &[&str] = &[
            r#"{"user": "a", "page": "x"}"#,
            r#"{"user": "b", "page": "y"}"#,
            r#"{"user": "a", "page": "z"}"#,
        ];
        let clicks: &[&str] = &[
            r#"{"user": "a", "cost": 0.5}"#,
            r#"{"user": "c", "cost": 2}"#,
            r#"{"user": "c"}"#,
        ];
        let epoch = run.epoch_of(0, &[views, clicks]).unwrap();
        assert_eq!(
            epoch.json("visits"),
            [
                r#"{"pages":"x+z","cost":0.5}"#,
                r#"{"pages":"y","cost":0.0}"#,
                r#"{"pages":null,"cost":2.0}"#,
            ]
        );
        assert_eq!(
            epoch.json("nobodies"),
            [r#"{"rows":3}"#, r#"{"rows":1}"#, r#"{"rows":1}"#]
        );
        assert_eq!(epoch.rejected(0), []);
        assert_eq!(epoch.rejected(1), [(2, "column `cost` is null")]);
        assert!(run.state().is_empty());
    }

    #[test]
    fn a_missing_column_names_its_input() {
        let error = testing::keyed::<Plugin>()
            .key(&["user"])
            .input(&[("user", "utf8"), ("page", "utf8")])
            .input(&[("user", "utf8"), ("cost", "int64")])
            .describe()
            .unwrap_err();
        assert_eq!(
            error.message,
            "input 2: column `cost` is int64, and the plugin reads it as float64"
        );
    }
}

mod settings {
    use super::*;
    use wasmill_sdk::{Cell, Cells, Column, DataType};

    #[derive(Deserialize)]
    struct Config {
        names: Vec<String>,
    }

    struct Rule(Vec<String>);

    impl Rule {
        fn new(config: Config) -> Result<Self, Error> {
            match config.names.is_empty() {
                true => Err(Error::fatal("there are no names")),
                false => Ok(Self(config.names)),
            }
        }
    }

    #[derive(Record)]
    struct Key<'a> {
        #[record(setting = "by")]
        key: &'a str,
    }

    #[derive(Record)]
    struct Value {
        #[record(setting = "value")]
        value: i64,
    }

    fn spread(rule: &Rule, key: Key, rows: Rows<Value>, _: &mut State<()>, out: &mut Emit<Cells>) {
        let sum: i64 = rows.map(|row| row.value).sum();
        let cell = |name: &String| match name.as_str() == key.key {
            true => Cell::Int64(sum),
            false => Cell::Null,
        };
        out.emit(Cells(rule.0.iter().map(cell).collect()));
    }

    export_keyed! {
        config: Config,
        open: Rule::new,
        columns: |rule| rule.0.iter().map(|name| Column::new(name, DataType::Int64, true)).collect(),
        update: spread,
    }

    #[test]
    fn the_configuration_names_columns_and_makes_some() {
        let test = |config| {
            testing::keyed::<Plugin>()
                .config(config)
                .key(&["what"])
                .input(&[("what", "utf8"), ("n", "int64")])
        };
        let config = serde_json::json!({"names": ["a", "b"], "by": "what", "value": "n"});
        let mut run = test(config).start().unwrap();
        let rows = [r#"{"what": "b", "n": 1}"#, r#"{"what": "b", "n": 2}"#];
        let epoch = run.epoch(0, rows).unwrap();
        assert_eq!(epoch.json("out"), [r#"{"a":null,"b":3}"#]);

        let error = |config| test(config).describe().unwrap_err().message;
        assert_eq!(
            error(serde_json::json!({"names": [], "by": "what"})),
            "there are no names"
        );
        assert!(error(serde_json::json!({"name": []})).contains("did you mean `names`?"));
    }
}

mod versions {
    use super::*;

    #[derive(Record)]
    struct Count {
        n: i64,
    }

    fn count(_: (), rows: Rows<()>, state: &mut State<Count>, _: &mut Emit<Count>) {
        let before = state.get().map_or(0, |count| count.n);
        let n = before + rows.count() as i64;
        state.put(Count { n });
        state.timeout_after(Duration::from_millis(5));
    }

    mod one {
        use super::*;
        export_keyed!(update: count);
    }

    mod two {
        use super::*;

        #[derive(Record)]
        pub struct Both<'a> {
            note: Option<&'a str>,
            n: f64,
        }

        #[derive(Record)]
        struct Old {
            n: i64,
        }

        fn widen(old: Old) -> Both<'static> {
            Both {
                note: Some("from 1"),
                n: old.n as f64,
            }
        }

        fn check(old: Both<'_>) -> Result<Both<'_>, Error> {
            match old.n < 0.0 {
                true => Err(Error::fatal("a negative count")),
                false => Ok(Both { note: None, ..old }),
            }
        }

        fn same(_: (), rows: Rows<()>, state: &mut State<Both>, out: &mut Emit<Both>) {
            let note = state.get().and_then(|both| both.note);
            let n = rows.count() as f64;
            out.emit(Both { note, n });
            state.put(Both { note, n });
        }

        export_keyed! {
            version: 3,
            migrate: { 1 => widen, 2 => check },
            update: same,
        }
    }

    fn start<K: Keyed>() -> testing::KeyedTest<K> {
        testing::keyed::<K>().key(&["k"]).input(&[("k", "int64")])
    }

    #[test]
    fn old_state_becomes_new_state() {
        let mut old = start::<one::Plugin>().start().unwrap();
        old.epoch(0, [r#"{"k": 1}"#, r#"{"k": 2}"#, r#"{"k": 1}"#])
            .unwrap();
        let mut new = start::<two::Plugin>().start_from(&old).unwrap();
        assert_eq!(new.plan().migrates_from, [1, 2]);
        assert_eq!(
            new.state(),
            [
                r#"{"k":1,"note":"from 1","n":2.0}"#,
                r#"{"k":2,"note":"from 1","n":1.0}"#
            ]
        );
        assert_eq!(new.timers().len(), 2);
        let epoch = new.epoch(4, [r#"{"k": 2}"#]).unwrap();
        assert_eq!(epoch.json("out"), [r#"{"note":"from 1","n":1.0}"#]);
        let error = start::<one::Plugin>().start_from(&new).unwrap_err();
        assert_eq!(
            error.message,
            "the plugin does not migrate from state of version 3"
        );
    }

    #[test]
    fn the_same_version_needs_no_migration() {
        let mut old = start::<one::Plugin>().start().unwrap();
        old.epoch(0, [r#"{"k": 1}"#]).unwrap();
        let new = start::<one::Plugin>().start_from(&old).unwrap();
        assert_eq!(new.state(), old.state());
    }

    #[test]
    fn a_number_that_is_not_known_is_refused() {
        let error = two::Plugin::migrate(7, &[], 0, Vec::new()).unwrap_err();
        assert_eq!(
            error.message,
            "the plugin cannot take over state of version 7"
        );
    }
}
