//! Writes each row, as a JSON object, to the pipeline's log.
//!
//! ```toml
//! [sinks.seen]
//! input = "words"
//! type = "plugin"
//! plugin = "sink-log"
//! ```
//!
//! First lesson on sinks: `open` makes what writes, `write` gets the rows of a partition, chunk by chunk. An epoch that is
//! repeated after a crash is logged again: a sink that says nothing else delivers at least once.

use wasmill_sdk::prelude::*;
use wasmill_sdk::{Batch, Column, Rejected, Sink};

/// It has no settings.
#[derive(Deserialize)]
pub struct Config {}

/// It remembers nothing.
pub struct Log;

impl Sink for Log {
    type Config = Config;

    fn open(_: Config, _: &[Column]) -> Result<Self, Error> {
        Ok(Self)
    }

    fn begin(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn write(&mut self, batch: &Batch, _: &mut Rejected) -> Result<(), Error> {
        for row in 0..batch.rows() {
            let row = serde_json::to_string(&batch.row(row)).map_err(|error| error.to_string())?;
            log::text(log::Level::Info, &row);
        }
        Ok(())
    }
}

export_sink!(Log);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wasmill_sdk::testing;

    use super::*;

    #[test]
    fn rows_are_taken_and_none_is_rejected() {
        let run = testing::sink::<Plugin>()
            .json(
                &[("word", "utf8"), ("n", "int64?")],
                [r#"{"word": "a", "n": 1}"#, r#"{"word": "b", "n": null}"#],
            )
            .run()
            .expect("any columns will do");
        assert!(run.rejected().is_empty());
    }

    #[test]
    fn a_setting_is_refused() {
        let test = testing::sink::<Plugin>()
            .config(json!({ "level": "warn" }))
            .json(&[("word", "utf8")], []);
        assert!(test.describe().is_err());
    }
}
