//! Keeps the last pages of each key, as of a user.
//!
//! ```toml
//! [steps.history]
//! input = "requests"
//! plugin = "last-pages"
//! group_by = ["user"]
//! config = { page = "path", n = 5 }   # both may be left out
//! ```
//!
//! It reads the column that `page` names, else `page`, else the first text column, and gives, for each key with rows in an
//! epoch, the key's columns and `pages`: a JSON array of the last `n` pages, 10 unless said otherwise, the latest at the end.
//!
//! Third lesson on keyed plugins: a state that is no handful of numbers. A column cannot hold a list, but JSON can, and
//! `Json` writes and reads any value that serde knows.

use std::borrow::Cow;
use std::collections::VecDeque;

use wasmill_sdk::Json;
use wasmill_sdk::prelude::*;

#[derive(Deserialize)]
struct Config {
    #[serde(default = "ten")]
    n: usize,
}

fn ten() -> usize {
    10
}

#[derive(Record)]
struct Visit<'a> {
    #[record(setting = "page", or_first)]
    page: &'a str,
}

#[derive(Record)]
struct History<'a> {
    pages: Json<'a>,
}

fn remember(
    config: &Config,
    _: (),
    visits: Rows<Visit>,
    state: &mut State<History>,
    out: &mut Emit<History>,
) -> Result<(), Reject> {
    let before = state.get();
    let mut pages: VecDeque<Cow<str>> = match &before {
        Some(history) => history.pages.read()?,
        None => VecDeque::new(),
    };
    pages.extend(visits.map(|visit| Cow::Borrowed(visit.page)));
    pages.drain(..pages.len().saturating_sub(config.n));
    let pages = Json::of(&pages)?;
    if state.is_last_part() {
        out.emit(History {
            pages: pages.clone(),
        });
    }
    state.put(History { pages });
    Ok(())
}

export_keyed! {
    config: Config,
    carry: |_| true,
    update: remember,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wasmill_sdk::testing::{self, KeyedTest};

    use super::*;

    fn test(config: Value) -> KeyedTest<Plugin> {
        testing::keyed::<Plugin>()
            .config(config)
            .key(&["user"])
            .input(&[("user", "int64"), ("path", "utf8")])
    }

    fn visit(path: &str) -> String {
        json!({"user": 1, "path": path}).to_string()
    }

    #[test]
    fn the_oldest_page_makes_room_for_the_latest() {
        for part in [1, 2, usize::MAX] {
            let mut run = test(json!({"page": "path", "n": 3}))
                .parts_of(part)
                .start()
                .expect("the input has the column");
            let mut epoch = |time, paths: &[&str]| {
                let rows: Vec<String> = paths.iter().map(|path| visit(path)).collect();
                run.epoch(time, rows.iter().map(String::as_str))
                    .expect("pages are only noted")
                    .json("out")
            };
            assert_eq!(
                epoch(0, &["/a", "/\"b\""]),
                [r#"{"user":1,"pages":["/a","/\"b\""]}"#]
            );
            assert_eq!(
                epoch(1, &["/c", "/d"]),
                [r#"{"user":1,"pages":["/\"b\"","/c","/d"]}"#]
            );
            assert_eq!(
                epoch(2, &["/1", "/2", "/3", "/4"]),
                [r#"{"user":1,"pages":["/2","/3","/4"]}"#]
            );
            assert_eq!(run.state(), [r#"{"user":1,"pages":["/2","/3","/4"]}"#]);
        }
    }

    #[test]
    fn ten_pages_are_kept_unless_said_otherwise() {
        let mut run = test(json!({}))
            .start()
            .expect("the input has a text column");
        let rows: Vec<String> = (0..12).map(|n| visit(&n.to_string())).collect();
        run.epoch(0, rows.iter().map(String::as_str))
            .expect("pages are only noted");
        let expected = r#"{"user":1,"pages":["2","3","4","5","6","7","8","9","10","11"]}"#;
        assert_eq!(run.state(), [expected]);
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let error = test(json!({"m": 3}))
            .describe()
            .expect_err("no such setting");
        assert!(
            error
                .message
                .contains("there is no setting `m`; did you mean `n`?"),
            "{error}"
        );
    }
}
