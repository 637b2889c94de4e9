//! What plugins log while fixtures run.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::log::LogFormat;

/// Keeps the lines of the log. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// From now on, of this process: all that plugins say, and nothing else.
    pub fn start() -> Self {
        let logged = Self::default();
        LogFormat::Json.start("wasmill::plugin::host=trace", logged.clone());
        logged
    }

    /// What has been logged since the last time, a line `info: message` each.
    pub fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = text.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let level = line["level"].as_str()?.to_lowercase();
            Some(format!("{level}: {}\n", line["message"].as_str()?))
        });
        lines.collect()
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
