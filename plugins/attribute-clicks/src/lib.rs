//! Says which campaign each click is owed to: that of the last impression before it.
//!
//! ```toml
//! [steps.attributed]
//! inputs = ["impressions", "clicks"]
//! plugin = "attribute-clicks"
//! group_by = ["user"]
//! config = { within = "30m" }
//! ```
//!
//! Of the impressions it reads `shown`, their time, and `campaign`; of the clicks `clicked`. Settings of these names name
//! other columns. It gives, for each click, the key's columns, `clicked`, and `campaign`, which is null if nothing was
//! shown to the key at most `within` before. Impressions and clicks may be in any order in an epoch. The latest impression of a
//! key is remembered for later epochs, until there has been none for `within`.
//!
//! Sixth lesson on keyed plugins: two inputs. The rows of a key come from both at once (Spark's `cogroup`), also if it has
//! rows in one of them only. No join says "the last one before", and a click may come epochs later. `whole_groups` has all
//! rows of a key come in one call, since any impression may be the last before any click.

use std::time::Duration;

use wasmill_sdk::Timestamp;
use wasmill_sdk::prelude::*;

#[derive(Deserialize)]
struct Config {
    #[serde(deserialize_with = "wasmill_sdk::duration")]
    within: Duration,
}

/// What was shown, and what is remembered of it.
#[derive(Record, Clone, Copy, Debug, PartialEq)]
struct Impression<'a> {
    #[record(setting = "shown")]
    shown: Timestamp,
    #[record(setting = "campaign")]
    campaign: &'a str,
}

#[derive(Record)]
struct Click {
    #[record(setting = "clicked")]
    clicked: Timestamp,
}

#[derive(Record)]
struct Attributed<'a> {
    clicked: Timestamp,
    campaign: Option<&'a str>,
}

impl Impression<'_> {
    /// Whether a click that comes after it can be owed to it.
    fn reaches(&self, click: &Click, within: Duration) -> bool {
        let since = click.clicked.0.saturating_sub(self.shown.0);
        i128::from(since) <= within.as_micros().cast_signed()
    }
}

fn attribute<'a>(
    config: &Config,
    _: (),
    (impressions, clicks): (Rows<'a, Impression<'a>>, Rows<Click>),
    state: &mut State<'a, Impression<'a>>,
    out: &mut Emit<Attributed>,
) {
    let is_new = !impressions.is_empty();
    let mut shown: Vec<Impression> = state.get().into_iter().chain(impressions).collect();
    // Of several at one time the last one counts.
    shown.sort_by_key(|impression| impression.shown);
    for click in clicks {
        let before = shown.partition_point(|impression| impression.shown <= click.clicked);
        let last = shown[..before].last();
        out.emit(Attributed {
            clicked: click.clicked,
            campaign: last
                .filter(|last| last.reaches(&click, config.within))
                .map(|last| last.campaign),
        });
    }
    match shown.last() {
        Some(latest) if is_new => {
            state.put(*latest);
            state.timeout_after(config.within);
        }
        _ if state.timed_out() => state.remove(),
        _ => {}
    }
}

export_keyed! {
    config: Config,
    carry: |_| true,
    whole_groups: true,
    update: attribute,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing::{self, KeyedRun};

    use super::*;

    fn start() -> KeyedRun<Plugin> {
        testing::keyed::<Plugin>()
            .config(json!({"within": "10m", "shown": "at"}))
            .key(&["user"])
            .input(&[("user", "utf8"), ("campaign", "utf8?"), ("at", "timestamp")])
            .input(&[("clicked", "timestamp"), ("user", "utf8")])
            .start()
            .expect("the inputs have the columns")
    }

    fn impression(user: &str, campaign: &str, minute: u32) -> String {
        format!(
            r#"{{"user": "{user}", "campaign": "{campaign}", "at": "2026-05-25T12:{minute:02}:00Z"}}"#
        )
    }

    fn click(user: &str, minute: u32) -> String {
        format!(r#"{{"user": "{user}", "clicked": "2026-05-25T12:{minute:02}:00Z"}}"#)
    }

    /// Who clicked when, and owed to which campaign, in an epoch at a minute.
    fn attributed(
        run: &mut KeyedRun<Plugin>,
        minute: i64,
        impressions: &[String],
        clicks: &[String],
    ) -> Vec<String> {
        let impressions: Vec<&str> = impressions.iter().map(String::as_str).collect();
        let clicks: Vec<&str> = clicks.iter().map(String::as_str).collect();
        let epoch = run.epoch_of(minute * 60_000, &[&impressions, &clicks]);
        epoch.expect("nothing fails").json("out")
    }

    fn row(user: &str, minute: u32, campaign: &str) -> String {
        format!(
            r#"{{"user":"{user}","clicked":"2026-05-25T12:{minute:02}:00Z","campaign":{campaign}}}"#
        )
    }

    #[test]
    fn a_click_is_owed_to_the_last_impression_before_it() {
        let mut run = start();
        let impressions = [("b", 5), ("a", 1), ("c", 5), ("d", 9)];
        let impressions = impressions.map(|(campaign, minute)| impression("ann", campaign, minute));
        let clicks = [0, 1, 4, 5, 8].map(|minute| click("ann", minute));
        assert_eq!(
            attributed(&mut run, 0, &impressions, &clicks),
            [
                row("ann", 0, "null"),
                row("ann", 1, r#""a""#),
                row("ann", 4, r#""a""#),
                row("ann", 5, r#""c""#),
                row("ann", 8, r#""c""#),
            ]
        );
    }

    #[test]
    fn the_latest_impression_is_remembered_until_none_came_for_so_long() {
        let mut run = start();
        let both = [impression("ann", "a", 3), impression("ann", "late", 2)];
        assert!(attributed(&mut run, 3, &both, &[]).is_empty());
        let clicks = [click("ann", 13), click("ann", 14), click("bob", 3)];
        assert_eq!(
            attributed(&mut run, 12, &[], &clicks),
            [
                row("ann", 13, r#""a""#),
                row("ann", 14, "null"),
                row("bob", 3, "null"),
            ]
        );
        assert_eq!(run.timers(), [(r#"{"user":"ann"}"#, 13 * 60_000)]);
        let last = attributed(&mut run, 13, &[], &[click("ann", 4)]);
        assert_eq!(last, [row("ann", 4, r#""a""#)]);
        assert!(run.state().is_empty() && run.timers().is_empty());
        let forgotten = attributed(&mut run, 14, &[], &[click("ann", 4)]);
        assert_eq!(forgotten, [row("ann", 4, "null")]);
    }

    #[test]
    fn an_impression_of_no_campaign_is_rejected() {
        let mut run = start();
        let nameless = r#"{"user": "ann", "at": "2026-05-25T12:00:00Z"}"#;
        let epoch = run.epoch_of(0, &[&[nameless], &[]]).expect("nothing fails");
        assert_eq!(epoch.rejected(0), [(0, "column `campaign` is null")]);
        assert!(run.state().is_empty());
    }
}
