//! Plugins of every shape, run as `testing` runs them: through the buffers and back.

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{self, Run};

#[derive(Record)]
struct Line<'a> {
    line: &'a str,
}

fn run<T: wasmill_sdk::Transform>(lines: &[&str]) -> Run {
    let rows = lines.iter().map(|line| Line { line });
    testing::transform::<T>()
        .rows(rows)
        .run()
        .expect("a text column")
}

mod ports {
    use super::*;

    #[derive(Record, Debug, PartialEq)]
    struct Number {
        number: i64,
    }

    #[derive(Record, Debug, PartialEq)]
    struct Word<'a> {
        #[record(rename = "the word")]
        word: &'a str,
    }

    #[derive(Ports)]
    struct Out {
        numbers: Emit<Number>,
        words: Emit<Word<'static>>,
    }

    fn sort(row: Line, out: &mut Out) -> Result<(), Reject> {
        for word in row.line.split(' ') {
            match word.parse() {
                Ok(number) => out.numbers.emit(Number { number }),
                Err(_) if word == "!" => return reject("an exclamation mark"),
                Err(_) => out.words.emit(Word { word }),
            }
        }
        Ok(())
    }

    export_transform!(flat_map: sort);

    #[test]
    fn each_port_has_its_own_rows_and_parents() {
        let run = run::<Plugin>(&["1 a 2", "b", "3"]);
        let names: Vec<&str> = run
            .plan()
            .ports
            .iter()
            .map(|port| port.name.as_str())
            .collect();
        assert_eq!(names, ["numbers", "words"]);
        assert_eq!(
            run.rows::<Number>("numbers"),
            [1, 2, 3].map(|number| Number { number })
        );
        assert_eq!(run.parents("numbers"), [0, 0, 2]);
        assert_eq!(
            run.json("words"),
            [r#"{"the word":"a"}"#, r#"{"the word":"b"}"#]
        );
        assert_eq!(run.parents("words"), [0, 1]);
    }

    #[test]
    fn a_rejected_row_leaves_nothing_in_any_port() {
        let run = run::<Plugin>(&["1 a", "2 b !", "3 c"]);
        assert_eq!(run.rejected(), [(1, "an exclamation mark")]);
        assert_eq!(run.parents("numbers"), [0, 2]);
        assert_eq!(
            run.rows::<Word>("words"),
            ["a", "c"].map(|word| Word { word })
        );
    }
}

mod maps {
    use super::*;
    use wasmill_sdk::wit::Origin;

    #[derive(Record, Debug, PartialEq)]
    struct Length {
        length: i64,
    }

    fn measure(row: Line) -> Result<Option<Length>, Reject> {
        match row.line {
            "" => Ok(None),
            "?" => reject("a question"),
            line => Ok(Some(Length {
                length: line.len() as i64,
            })),
        }
    }

    export_transform!(carry: |_| true, map: measure);

    #[test]
    fn a_map_drops_and_rejects_rows() {
        let run = run::<Plugin>(&["abc", "", "?", "de"]);
        assert_eq!(
            run.json("out"),
            [
                r#"{"line":"abc","length":3}"#,
                r#"{"line":"de","length":2}"#
            ]
        );
        assert_eq!(run.rejected(), [(2, "a question")]);
    }

    #[test]
    fn a_map_of_every_row_says_so() {
        let lines = wasmill_sdk::wit::Buffers {
            validity: Vec::new(),
            offsets: [0u32, 1, 3].map(u32::to_le_bytes).concat(),
            data: b"abb".to_vec(),
        };
        let field = wasmill_sdk::wit::Field {
            name: "line".to_owned(),
            data_type: "utf8".to_owned(),
            nullable: false,
        };
        let mut plugin = <Plugin as wasmill_sdk::Transform>::open("", &[field]).unwrap();
        let context = wasmill_sdk::context();
        let produced =
            wasmill_sdk::Transform::process(&mut plugin, context, 2, vec![lines]).unwrap();
        assert!(matches!(produced.outputs[0].origin, Origin::Same));
        assert_eq!(
            produced.outputs[0].columns[0].data,
            [1i64, 2].map(i64::to_le_bytes).concat()
        );
    }
}

mod settings {
    use super::*;
    use wasmill_sdk::{Context, context};

    #[derive(Deserialize)]
    struct Config {
        times: i64,
    }

    #[derive(Record)]
    struct Stamp {
        epoch: i64,
        times: i64,
    }

    fn stamp(config: &Config, _: Line) -> Stamp {
        Stamp {
            epoch: context().epoch as i64,
            times: config.times,
        }
    }

    export_transform!(config: Config, map: stamp);

    #[test]
    fn a_function_sees_its_configuration_and_the_context_of_its_call() {
        let epoch_seven = Context {
            epoch: 7,
            ..context()
        };
        let test = testing::transform::<Plugin>()
            .config(serde_json::json!({ "times": 2 }))
            .context(epoch_seven)
            .rows([Line { line: "" }]);
        assert_eq!(
            test.run().unwrap().json("out"),
            [r#"{"epoch":7,"times":2}"#]
        );
    }

    #[test]
    fn a_plan_asks_for_no_column_that_is_not_read() {
        let test = testing::transform::<Plugin>()
            .config(serde_json::json!({ "times": 2 }))
            .json(
                &[("other", "utf8"), ("line", "json"), ("strange", "binary")],
                [],
            );
        assert_eq!(test.describe().unwrap().columns, ["line"]);
    }
}
