//! Calls a transform plugin on a chunk, and decides what happens when a call fails.
//!
//! Under `on_error = "fail"` the first failure ends the run, and its message names the row where that can be found. Else
//! the rows at fault are isolated: the chunk is halved on fresh instances until the row stands alone, within
//! [`ISOLATION_BUDGET`] per epoch; what cannot be split further in that time is turned away whole.

use std::ops::Range;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use crate::error::Failure;
use crate::pipeline::OnError;
use crate::pipeline::plan::TransformStep;
use crate::plugin::{CallContext, CallError, ErrorKind, Produced, Rejected, TransformInstance};
use crate::telemetry::{NodeCounters, count};

/// Time per epoch for finding rows at fault: a few calls that run into their deadline, or thousands that trap at once.
pub const ISOLATION_BUDGET: Duration = Duration::from_secs(5);

/// How often a call is repeated that the plugin itself calls retryable.
const RETRIES: u32 = 3;

/// What came of a part of a chunk.
#[derive(Debug)]
pub enum Piece {
    /// The plugin's answer for these rows of the chunk; its row numbers count from the start of the range.
    Produced(Range<usize>, Produced),
    /// These rows were turned away for this reason.
    Rejected(Range<usize>, String),
}

/// Calls one step's plugin for one epoch and partition.
pub struct Caller<'a> {
    /// The step.
    pub step: &'a TransformStep,
    /// What to do with rows at fault.
    pub on_error: OnError,
    /// The instance in use; taken out and dropped when it trapped.
    pub instance: &'a mut Option<TransformInstance>,
    /// Calls so far in this (step, epoch, partition).
    pub calls: &'a mut u32,
    /// Time spent on isolating rows in this epoch.
    pub spent: &'a mut Duration,
    /// The step's counters.
    pub counters: &'a NodeCounters,
    /// What the plugin is told.
    pub context: CallContext,
    /// The rows.
    pub batch: &'a RecordBatch,
}

impl Caller<'_> {
    /// Works through `rows`, calling `give` with what comes of them, in order.
    pub fn run(&mut self, rows: Range<usize>, give: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        let began = Instant::now();
        match self.attempt(&rows) {
            Ok(produced) => {
                give(Piece::Produced(rows, produced));
                Ok(())
            }
            Err(error) => {
                // Only the time of failed attempts counts: the rest is the plugin's ordinary work.
                *self.spent += began.elapsed();
                self.recover(rows, error, give)
            }
        }
    }

    fn attempt(&mut self, rows: &Range<usize>) -> Result<Produced, CallError> {
        with_retries(|| self.call(rows))
    }

    fn call(&mut self, rows: &Range<usize>) -> Result<Produced, CallError> {
        let context = CallContext {
            call: *self.calls,
            ..self.context
        };
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.step.transform.open(&context)?,
        };
        let whole = rows.start == 0 && rows.end == self.batch.num_rows();
        let slice;
        let input = if whole {
            self.batch
        } else {
            slice = self.batch.slice(rows.start, rows.len());
            &slice
        };
        *self.calls += 1;
        count(&self.counters.calls, 1);
        let began = Instant::now();
        let result = instance.process(&context, input);
        count(&self.counters.busy_nanos, began.elapsed().as_nanos() as u64);
        match &result {
            // An answer, even a refusal, leaves the instance whole.
            Ok(_) | Err(CallError::Refused { .. }) => *self.instance = Some(instance),
            Err(_) => count(&self.counters.traps, 1),
        }
        result
    }

    fn recover(
        &mut self,
        rows: Range<usize>,
        error: CallError,
        give: &mut dyn FnMut(Piece),
    ) -> Result<(), Failure> {
        match &error {
            CallError::OutputTooLarge { .. } if rows.len() > 1 => return self.halves(rows, give),
            CallError::Refused {
                kind: ErrorKind::Rejected,
                message,
                rows: blamed,
                ..
            } if self.on_error != OnError::Fail && !blamed.is_empty() => {
                let (message, blamed) = (message.clone(), blamed.clone());
                return self.without(rows, &blamed, &message, give);
            }
            error if is_fatal(error) => return Err(failure_at(error, &rows)),
            _ => {}
        }
        if self.on_error == OnError::Fail {
            return Err(self.locate(rows, error));
        }
        if rows.len() == 1 || *self.spent >= ISOLATION_BUDGET {
            give(Piece::Rejected(rows, error.to_string()));
            return Ok(());
        }
        self.halves(rows, give)
    }

    fn halves(&mut self, rows: Range<usize>, give: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        let middle = rows.start + rows.len() / 2;
        self.run(rows.start..middle, give)?;
        self.run(middle..rows.end, give)
    }

    /// The plugin blamed some rows: turn them away and call it again with the stretches between them.
    fn without(
        &mut self,
        rows: Range<usize>,
        blamed: &[u32],
        message: &str,
        give: &mut dyn FnMut(Piece),
    ) -> Result<(), Failure> {
        let mut start = rows.start;
        for row in blamed {
            let row = rows.start + *row as usize;
            if row < start || row >= rows.end {
                continue; // Named twice, or not a row of this call.
            }
            if start < row {
                self.run(start..row, give)?;
            }
            give(Piece::Rejected(row..row + 1, message.to_owned()));
            start = row + 1;
        }
        if start < rows.end {
            self.run(start..rows.end, give)?;
        }
        Ok(())
    }

    /// The run is going to end: find the first row at fault for the message, if it fails quickly and by itself.
    fn locate(&mut self, mut rows: Range<usize>, error: CallError) -> Failure {
        let mut error = error;
        if let CallError::Refused { rows: blamed, .. } = &error
            && let Some(first) = blamed.first()
        {
            let row = rows.start + *first as usize;
            return failure_at(&error, &(row..row + 1));
        }
        let quick = !matches!(error, CallError::Deadline(_));
        let deadline = Instant::now() + Duration::from_millis(500);
        while quick && rows.len() > 1 && Instant::now() < deadline {
            let middle = rows.start + rows.len() / 2;
            let (first, second) = (rows.start..middle, middle..rows.end);
            if let Err(found) = self.call(&first) {
                (rows, error) = (first, found);
            } else if let Err(found) = self.call(&second) {
                (rows, error) = (second, found);
            } else {
                break; // Only the rows together fail.
            }
        }
        failure_at(&error, &rows)
    }
}

/// Makes a call, and again where the plugin itself says that it may succeed later.
pub fn with_retries<T>(mut call: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    let mut tries = 0;
    loop {
        let result = call();
        match &result {
            Err(CallError::Refused {
                kind: ErrorKind::Retryable,
                after,
                ..
            }) if tries < RETRIES => {
                tries += 1;
                std::thread::sleep(after.unwrap_or_default().min(Duration::from_millis(100)));
            }
            _ => return result,
        }
    }
}

/// Whether there is no use in trying other rows: the plugin says so, or its tenant's quota does.
pub fn is_fatal(error: &CallError) -> bool {
    match error {
        CallError::Refused { kind, .. } => *kind == ErrorKind::Fatal,
        error => matches!(error, CallError::Quota(_)),
    }
}

/// A plugin's failure as the end of the run.
pub fn failure(error: &CallError) -> Failure {
    if let CallError::Quota(_) = error {
        return Failure::external(error.to_string()).help(CallError::QUOTA_HELP);
    }
    Failure::user(error.with_stack()).help(match error {
        CallError::Deadline(_) => "raise `limits.deadline`, or mend the plugin",
        CallError::Limit(_) | CallError::OutputTooLarge { .. } => {
            "raise the step's `limits`, or mend the plugin"
        }
        _ => "set `on_error = \"skip\"` or `\"reject\"` on the step to go on without rows at fault",
    })
}

fn failure_at(error: &CallError, rows: &Range<usize>) -> Failure {
    let failure = failure(error);
    if rows.len() == 1 {
        failure.at_row(rows.start as u64)
    } else {
        failure
    }
}

/// Rows that the plugin turned away in its answer, numbered within the chunk.
pub fn turned_away<'a>(
    range: &'a Range<usize>,
    rejected: &'a [Rejected],
) -> impl Iterator<Item = (usize, &'a str)> {
    rejected.iter().map(move |rejected| {
        (
            range.start + rejected.row as usize,
            rejected.reason.as_str(),
        )
    })
}
