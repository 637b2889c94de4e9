//! The one error of a running pipeline: whose fault, where, what, and what to do.
//!
//! [`Failure`] is plain data, so that it crosses threads and, over the control connection, processes.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, NodeName, PartitionId};

/// Whose fault a failure is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The pipeline, its plugin or its data.
    User,
    /// The world outside: disk, network, a peer, a lost process.
    External,
    /// Wasmill itself: a bug to report.
    Internal,
}

/// Where in a run something happened; what is not known stays `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Source, step or sink.
    pub node: Option<NodeName>,
    /// Micro-batch.
    pub epoch: Option<Epoch>,
    /// Partition of that epoch.
    pub partition: Option<PartitionId>,
    /// Row, counted from 0 in the batch that the node was given.
    pub row: Option<u64>,
    /// Where the row came from, as its source says it (`logs/a.txt:17`, `127.0.0.1:9999 line 12`).
    pub origin: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: String| {
            let written = write!(f, "{separator}{text}");
            separator = ", ";
            written
        };
        if let Some(node) = &self.node {
            part(f, format!("`{node}`"))?;
        }
        if let Some(epoch) = self.epoch {
            part(f, format!("epoch {epoch}"))?;
        }
        if let Some(partition) = self.partition {
            part(f, format!("partition {partition}"))?;
        }
        if let Some(row) = self.row {
            part(f, format!("row {row}"))?;
        }
        if let Some(origin) = &self.origin {
            part(f, format!("from {origin}"))?;
        }
        Ok(())
    }
}

/// What ended a run, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault.
    pub fault: Fault,
    /// What happened, one sentence without a full stop.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to do about it.
    pub help: Option<String>,
}

/// More than a sentence and a plugin's stack have.
const LONGEST: usize = 16 << 10;

impl Failure {
    /// No longer than may be kept and told to everyone who watches, whoever has made it.
    pub fn cut(mut self) -> Self {
        for text in [&mut self.message]
            .into_iter()
            .chain(&mut self.help)
            .chain(&mut self.place.origin)
        {
            if text.len() > LONGEST {
                text.truncate(text.floor_char_boundary(LONGEST));
                text.push_str(" ...");
            }
        }
        self
    }

    /// A failure that the pipeline's author must mend.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Fault::User, message)
    }

    /// A failure of something outside.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(Fault::External, message)
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Fault::Internal, message)
    }

    fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            message: message.into(),
            place: Place::default(),
            help: None,
        }
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the node, unless one is named already: the innermost place is the true one.
    pub fn at_node(mut self, node: &NodeName) -> Self {
        self.place.node.get_or_insert_with(|| node.clone());
        self
    }

    /// Adds epoch and partition, unless they are named already.
    pub fn at(mut self, epoch: Epoch, partition: PartitionId) -> Self {
        self.place.epoch.get_or_insert(epoch);
        self.place.partition.get_or_insert(partition);
        self
    }

    /// Adds the row, unless one is named already.
    pub fn at_row(mut self, row: u64) -> Self {
        self.place.row.get_or_insert(row);
        self
    }

    /// Adds where the row came from.
    pub fn from_origin(mut self, origin: impl Into<String>) -> Self {
        self.place.origin.get_or_insert_with(|| origin.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::default() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What came of reading or removing something, which may not be there.
pub fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
