//! What a supervisor and its runners say to each other: JSON, a line each, over a runner's standard input and output.
//!
//! Both begin with a hello that names the version of this language: the program on disk, from which runners are started, may be newer than the
//! server that runs.

use std::io::{self, BufRead, Read as _, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Figures, LogLine, Terms, Usage};
use crate::checkpoint::storage::Location;
use crate::error::Failure;
use crate::ids::{PipelineName, TenantId};

/// Changes with every change of what follows.
pub const PROTOCOL: u32 = 1;

/// Longest line: figures of a thousand pipelines with ten nodes each fit, and a runner gone mad does not fill the server's memory.
const LONGEST: u64 = 16 << 20;

/// One start of one job. The supervisor counts them, and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// What a runner is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// The first line.
    Hello {
        /// The language that the supervisor speaks.
        protocol: u32,
    },
    /// Run pipelines on these terms from now on.
    Terms(Terms),
    /// Begin a run.
    Start(Start),
    /// Let a run deliver what it has, and end it.
    Drain {
        /// Which.
        run: RunId,
    },
    /// End a run at once.
    Kill {
        /// Which.
        run: RunId,
    },
}

/// What a run needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// How it is called from here on.
    pub run: RunId,
    /// Whose the pipeline is.
    pub tenant: TenantId,
    /// What its threads are called after.
    pub pipeline: PipelineName,
    /// The pipeline file.
    pub file: PathBuf,
    /// Where its checkpoint is.
    pub checkpoint: Location,
    /// Worker threads.
    pub workers: usize,
    /// Whether it may go on from the checkpoint of a pipeline that had other nodes.
    pub accept_changes: bool,
}

/// What a runner has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The first line.
    Hello {
        /// The language that the runner speaks.
        protocol: u32,
    },
    /// The pipeline of a run is right, and it begins.
    Started {
        /// Which.
        run: RunId,
    },
    /// Of all runs, once a second even if there are none: the sign that the runner lives.
    Figures {
        /// By run.
        runs: Vec<(RunId, Figures)>,
        /// Of the runner.
        usage: Usage,
    },
    /// A run has said something.
    Log {
        /// Which.
        run: RunId,
        /// What.
        line: LogLine,
    },
    /// A run has delivered all it had.
    Ended {
        /// Which.
        run: RunId,
        /// Whether it was asked to.
        drained: bool,
        /// Its last.
        figures: Figures,
    },
    /// A run has failed, or could not begin.
    Failed {
        /// Which.
        run: RunId,
        /// Why.
        failure: Failure,
        /// Its last.
        figures: Figures,
    },
}

/// Says one thing.
///
/// # Errors
/// When the other side has gone.
pub fn say(writer: &mut impl Write, thing: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(thing)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

/// Hears one thing; nothing when the other side has gone.
///
/// # Errors
/// When a line is no such thing, or longer than any, or cannot be read.
pub fn hear<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader.take(LONGEST).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) if line.len() as u64 == LONGEST => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the line does not end",
        )),
        // It went in the middle of a line.
        Some(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Quotas;

    /// What stands on the wire, so that a change of it is seen, and [`PROTOCOL`] changed with it.
    #[test]
    fn orders_and_reports_are_these_lines() {
        let run = RunId(7);
        let start = Order::Start(Start {
            run,
            tenant: TenantId::parse("acme").unwrap(),
            pipeline: "counts".into(),
            file: "p/pipeline.toml".into(),
            checkpoint: Location::Folder("c".into()),
            workers: 2,
            accept_changes: false,
        });
        let mut wire = Vec::new();
        let quotas = Quotas {
            millicores: Some(250),
            ..Quotas::default()
        };
        let terms = Order::Terms(Terms {
            quotas,
            ..Terms::default()
        });
        for order in [
            Order::Hello { protocol: 1 },
            start,
            Order::Drain { run },
            terms,
        ] {
            say(&mut wire, &order).unwrap();
        }
        let figures = Report::Figures {
            runs: vec![(run, Figures::default())],
            usage: Usage::default(),
        };
        say(&mut wire, &figures).unwrap();
        let failed = Report::Failed {
            run,
            failure: Failure::user("no"),
            figures: Figures::default(),
        };
        say(&mut wire, &failed).unwrap();
        let zeros = r#"{"cut":0,"delivered":0,"processing_ms":0,"delay_ms":0,"backlog_bytes":0,"live_bytes":0,"state_bytes":0,"held_ms":0,"log_lines_dropped":0,"rows_in":0,"bytes_in":0,"dropped":0,"recent":[],"nodes":{}}"#;
        let expected = [
            r#"{"order":"hello","protocol":1}"#.to_owned(),
            r#"{"order":"start","run":7,"tenant":"acme","pipeline":"counts","file":"p/pipeline.toml","checkpoint":"c","workers":2,"accept_changes":false}"#.to_owned(),
            r#"{"order":"drain","run":7}"#.to_owned(),
            r#"{"order":"terms","quotas":{"millicores":250,"memory":null,"state":null,"rows_per_second":null,"log_lines_per_second":null},"private_hosts":[],"secrets":{},"folders":[]}"#.to_owned(),
            format!(r#"{{"report":"figures","runs":[[7,{zeros}]],"usage":{{"cpu_ms":0,"memory_bytes":0,"plugin_memory_bytes":0,"plugin_waits_ms":0}}}}"#),
            format!(
                r#"{{"report":"failed","run":7,"failure":{{"fault":"User","message":"no","place":{{"node":null,"epoch":null,"partition":null,"row":null,"origin":null}},"help":null}},"figures":{zeros}}}"#
            ),
        ];
        assert_eq!(
            String::from_utf8(wire).unwrap().trim_end(),
            expected.join("\n")
        );
        let mut back = expected[5].as_bytes().to_vec();
        back.push(b'\n');
        assert_eq!(hear(&mut back.as_slice()).unwrap(), Some(failed));
    }

    #[test]
    fn who_goes_in_the_middle_of_a_line_has_gone() {
        assert_eq!(hear::<Order>(&mut &b""[..]).unwrap(), None);
        assert_eq!(hear::<Order>(&mut &br#"{"order":"#[..]).unwrap(), None);
    }

    #[test]
    fn a_line_that_is_nothing_is_an_error_and_the_next_one_is_heard() {
        let mut wire = &b"nonsense\n{\"order\":\"kill\",\"run\":1}\n"[..];
        assert!(hear::<Order>(&mut wire).is_err());
        let kill = Order::Kill { run: RunId(1) };
        assert_eq!(hear(&mut wire).unwrap(), Some(kill));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        assert!(hear::<Order>(&mut endless).is_err());
    }
}
