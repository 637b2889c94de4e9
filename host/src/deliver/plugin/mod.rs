//! `type = "plugin"`: a sink that a user wrote, behind the world `sink-plugin`.
//!
//! A plugin's instance writes one partition of one epoch at a time: `begin`, `write` for each chunk, `prepare`. Partitions
//! arrive interleaved, so each open one has an instance of its own; an instance that is done serves the next.
//!
//! A call that fails in a way that may pass (the plugin says `retryable`, or does not answer in time) is repeated with growing
//! pauses. What a failed call left behind in the plugin nobody knows, so the partition begins again, under the same idempotency key
//! and with all that was written so far; an open partition's rows are kept for that until it is prepared. What a receiver gets
//! twice it can tell by the key.
//!
//! The tokens of a two-phase plugin are kept with the epoch's commit, and then given to `commit` all at once, in process 0. Those of any other
//! plugin go to `commit` when the epoch is finished, in the process that prepared them.

#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use tokio::runtime::Runtime;
use written::Written;
use xxhash_rust::xxh3::xxh3_64;

use super::{EpochInfo, HeldBack, OpenOptions, Refused, Sink};
use crate::checkpoint::{Lineage, Prepared, Token, Tokens};
use crate::error::Failure;
use crate::ids::{Epoch, NodeName, PartitionId, PipelineName};
use crate::plugin::{
    CallContext, CallError, Delivery, ErrorKind, SinkInstance, SinkPlugin, chunks,
};

/// The first pause before a call is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also if the plugin asks for more: the run waits for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A checked sink of this kind.
#[derive(Clone, Debug)]
pub struct PluginSink {
    /// The plugin, bound to the sink's configuration and input.
    pub plugin: SinkPlugin,
    /// How often a call is repeated that may succeed later. `retries`; default [`Self::RETRIES`].
    pub retries: u32,
}

impl PluginSink {
    /// With pauses of 0.1 s, doubled, and the plugin's own wishes: enough for a server's restart, not for its outage.
    pub const RETRIES: u32 = 5;

    /// Makes it ready to take rows.
    ///
    /// # Errors
    /// When its I/O cannot be set up.
    pub fn open(&self, options: OpenOptions) -> Result<Box<dyn Sink>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::external(format!("the sink's I/O cannot start: {error}")))?;
        Ok(Box::new(Writer {
            sink: self.clone(),
            pipeline: options.pipeline,
            node: options.node,
            lineage: options.lineage,
            runtime: Arc::new(runtime),
            idle: Vec::new(),
            parts: BTreeMap::new(),
            tokens: BTreeMap::new(),
            held: BTreeMap::new(),
        }))
    }
}

struct Writer {
    sink: PluginSink,
    pipeline: PipelineName,
    node: NodeName,
    lineage: Lineage,
    runtime: Arc<Runtime>,
    /// Instances between two partitions.
    idle: Vec<SinkInstance>,
    parts: BTreeMap<(Epoch, PartitionId), Part>,
    /// Of prepared partitions of unfinished epochs.
    tokens: BTreeMap<Epoch, Tokens>,
    /// What a marker sink held of each partition when this run first wrote to it.
    held: BTreeMap<PartitionId, Option<Epoch>>,
}

/// A partition of an epoch between `begin` and `prepare`.
struct Part {
    context: CallContext,
    key: String,
    /// `None` before it has begun, and after a call failed.
    instance: Option<SinkInstance>,
    /// What it is given again when it begins again.
    written: Written,
}

/// What a plugin does with an epoch's tokens: commits or aborts them.
type Settle = fn(&mut SinkInstance, Epoch, &[&[u8]]) -> Result<(), CallError>;

/// Why a partition could not be given on.
enum Trouble {
    /// The plugin's call failed.
    Call(CallError),
    /// What was kept of the partition could not be read again.
    Kept(ArrowError),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<ArrowError> for Trouble {
    fn from(error: ArrowError) -> Self {
        Self::Kept(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Call(error) => failure(&error),
            Trouble::Kept(error) => Failure::external(format!(
                "rows cannot be kept for a further try: {error}"
            ))
            .help("they are kept in temporary files; look for room in the folder of `TMPDIR`"),
        }
    }
}

impl Sink for Writer {
    fn write(
        &mut self,
        info: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        last: bool,
    ) -> Result<Vec<Refused>, Failure> {
        let place = (info.epoch, partition);
        self.write_part(info, partition, batch, last)
            .map_err(|failure| {
                self.parts.remove(&place);
                failure.at_node(&self.node).at(place.0, place.1)
            })
    }

    fn finish(&mut self, info: EpochInfo) -> Result<Tokens, Failure> {
        let open: Vec<_> = self
            .parts
            .keys()
            .filter(|(epoch, _)| *epoch == info.epoch)
            .copied()
            .collect();
        for (epoch, partition) in open {
            if let Some(part) = self.parts.remove(&(epoch, partition)) {
                self.prepare(part)
                    .map_err(|failure| failure.at(epoch, partition).at_node(&self.node))?;
            }
        }
        let tokens = self.tokens.remove(&info.epoch).unwrap_or_default();
        if self.sink.plugin.delivery() == Delivery::TwoPhase {
            return Ok(tokens);
        }
        self.settle(info.epoch, &tokens, SinkInstance::commit)?;
        Ok(Tokens::new())
    }

    fn commit(&mut self, prepared: &Prepared) -> Result<Option<HeldBack>, Failure> {
        self.settle(prepared.epoch, &prepared.tokens, SinkInstance::commit)?;
        Ok(None)
    }

    fn abort(&mut self, prepared: &Prepared) -> Result<(), Failure> {
        self.settle(prepared.epoch, &prepared.tokens, SinkInstance::abort)
    }
}

impl Writer {
    fn write_part(
        &mut self,
        info: EpochInfo,
        partition: PartitionId,
        batch: &RecordBatch,
        last: bool,
    ) -> Result<Vec<Refused>, Failure> {
        let place = (info.epoch, partition);
        // A partition without rows is nothing to the plugin.
        let begun = self.parts.contains_key(&place);
        if (!begun && batch.num_rows() == 0) || self.holds(info.epoch, partition)? {
            return Ok(Vec::new());
        }
        let mut part = match self.parts.remove(&place) {
            Some(part) => part,
            None => self.part(info, partition),
        };
        let mut refused = Vec::new();
        for rows in chunks(batch, self.sink.plugin.columns()) {
            let chunk = batch.slice(rows.start, rows.len());
            self.write_chunk(&mut part, chunk, rows.start, &mut refused)?;
        }
        match last {
            true => self.prepare(part)?,
            false => drop(self.parts.insert(place, part)),
        }
        refused.sort_by_key(|refused: &Refused| refused.row);
        refused.dedup_by_key(|refused| refused.row);
        Ok(refused)
    }

    /// Whether a marker sink holds the epoch already. Without a checkpoint it cannot: what it holds under that number is an
    /// epoch of another run.
    fn holds(&mut self, epoch: Epoch, partition: PartitionId) -> Result<bool, Failure> {
        if self.sink.plugin.delivery() != Delivery::Marker || !self.lineage.is_recorded {
            return Ok(false);
        }
        if !self.held.contains_key(&partition) {
            let held = self.with_idle(|instance| instance.last_epoch(partition))?;
            self.held.insert(partition, held);
        }
        Ok(self.held[&partition].is_some_and(|held| epoch <= held))
    }

    fn part(&self, info: EpochInfo, partition: PartitionId) -> Part {
        let (pipeline, lineage) = (&self.pipeline, &self.lineage.id);
        let key = format!(
            "{pipeline}/{lineage}/{}/{}/{partition}",
            self.node, info.epoch
        );
        let context = CallContext {
            epoch: info.epoch,
            time: info.time,
            partition,
            call: 0,
            seed: xxh3_64(key.as_bytes()),
        };
        Part {
            context,
            key,
            instance: None,
            written: Written::default(),
        }
    }

    /// Writes a chunk that begins at row `start` of its batch; rows that the plugin blames for a failure are left out.
    fn write_chunk(
        &mut self,
        part: &mut Part,
        chunk: RecordBatch,
        start: usize,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Failure> {
        let mut rows: Vec<u32> = (start as u32..).take(chunk.num_rows()).collect();
        let mut chunk = chunk;
        while chunk.num_rows() > 0 {
            match self.repeated(part, |instance, context| instance.write(context, &chunk)) {
                Ok(rejected) => {
                    let rejected = rejected.into_iter();
                    refused.extend(rejected.map(|one| Refused {
                        row: rows[one.row as usize],
                        reason: one.reason,
                    }));
                    part.written.add(&chunk).map_err(Trouble::Kept)?;
                    return Ok(());
                }
                Err(Trouble::Call(CallError::Refused {
                    kind: ErrorKind::Rejected,
                    message,
                    rows: blamed,
                    ..
                })) if !blamed.is_empty() => {
                    let keep: Vec<bool> = (0..chunk.num_rows() as u32)
                        .map(|row| !blamed.contains(&row))
                        .collect();
                    for row in blamed {
                        refused.push(Refused {
                            row: rows[row as usize],
                            reason: message.clone(),
                        });
                    }
                    let mut kept = keep.iter();
                    rows.retain(|_| kept.next().copied().unwrap_or_default());
                    chunk = filter_record_batch(&chunk, &BooleanArray::from(keep)).map_err(
                        |error| Failure::internal(format!("rows cannot be left out: {error}")),
                    )?;
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
        Ok(())
    }

    fn prepare(&mut self, mut part: Part) -> Result<(), Failure> {
        let token = self.repeated(&mut part, |instance, context| instance.prepare(context))?;
        self.tokens
            .entry(part.context.epoch)
            .or_default()
            .insert(part.context.partition, Token(token));
        self.idle.extend(part.instance);
        Ok(())
    }

    /// Has a plugin that holds an epoch commit or abort it.
    fn settle(&mut self, epoch: Epoch, tokens: &Tokens, call: Settle) -> Result<(), Failure> {
        if tokens.is_empty() {
            return Ok(());
        }
        let tokens: Vec<&[u8]> = tokens.values().map(|token| token.0.as_slice()).collect();
        let settled = self.with_idle(|instance| call(instance, epoch, &tokens));
        settled.map_err(|mut failure| {
            failure.place.epoch = Some(epoch);
            failure.at_node(&self.node)
        })
    }

    /// A call that belongs to no partition, repeated while it may succeed later.
    fn with_idle<R>(
        &mut self,
        mut call: impl FnMut(&mut SinkInstance) -> Result<R, CallError>,
    ) -> Result<R, Failure> {
        let mut tries = 0;
        loop {
            let opened = self.idle_instance(&CallContext::NONE);
            let result = opened.and_then(|mut instance| {
                let result = call(&mut instance);
                self.idle.extend(instance.is_live().then_some(instance));
                result
            });
            match result {
                Ok(value) => return Ok(value),
                Err(error) => self
                    .pause(&mut tries, &error)
                    .ok_or_else(|| failure(&error))?,
            }
        }
    }

    /// A call of a partition that has begun, repeated from its beginning while it may succeed later.
    fn repeated<R>(
        &mut self,
        part: &mut Part,
        mut call: impl FnMut(&mut SinkInstance, &CallContext) -> Result<R, CallError>,
    ) -> Result<R, Trouble> {
        let mut tries = 0;
        loop {
            let (instance, result) = self.attempt(part, &mut call);
            match result {
                Ok(value) => {
                    part.instance = instance;
                    part.context.call += 1;
                    return Ok(value);
                }
                Err(Trouble::Call(error)) => {
                    self.idle.extend(instance.filter(SinkInstance::is_live));
                    self.pause(&mut tries, &error).ok_or(error)?;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// One try, and the instance that it was made with.
    fn attempt<R>(
        &mut self,
        part: &mut Part,
        call: &mut impl FnMut(&mut SinkInstance, &CallContext) -> Result<R, CallError>,
    ) -> (Option<SinkInstance>, Result<R, Trouble>) {
        let mut instance = match part.instance.take() {
            Some(instance) => instance,
            None => match self.idle_instance(&part.context) {
                Ok(mut instance) => match begin(&mut instance, part) {
                    Ok(()) => instance,
                    Err(trouble) => return (Some(instance), Err(trouble)),
                },
                Err(error) => return (None, Err(error.into())),
            },
        };
        let result = call(&mut instance, &part.context);
        (Some(instance), result.map_err(Trouble::Call))
    }

    fn idle_instance(&mut self, context: &CallContext) -> Result<SinkInstance, CallError> {
        match self.idle.pop() {
            Some(instance) => Ok(instance),
            None => self.sink.plugin.open(&self.runtime, context),
        }
    }

    /// Waits before the next try; `None` if there is to be none.
    fn pause(&self, tries: &mut u32, error: &CallError) -> Option<()> {
        let after = match error {
            CallError::Refused {
                kind: ErrorKind::Retryable,
                after,
                ..
            } => *after,
            CallError::Deadline(_) => None,
            _ => return None,
        };
        if *tries == self.sink.retries {
            return None;
        }
        let pause = after
            .unwrap_or(FIRST_PAUSE * 2_u32.saturating_pow(*tries))
            .min(LONGEST_PAUSE);
        *tries += 1;
        tracing::warn!(node = %self.node, %error, tries, ?pause, "a sink's call failed and is repeated");
        std::thread::sleep(pause);
        Some(())
    }
}

/// Begins a partition, and gives it again what was written to it before.
fn begin(instance: &mut SinkInstance, part: &mut Part) -> Result<(), Trouble> {
    let mut context = CallContext {
        call: 0,
        ..part.context
    };
    instance.begin(&context, &part.key)?;
    part.written.give(|batch| {
        // The rows that it refuses now it refused before.
        instance.write(&context, &batch)?;
        context.call += 1;
        Ok(())
    })
}

fn failure(error: &CallError) -> Failure {
    let message = match error {
        CallError::Trap { stack, .. } if !stack.is_empty() => {
            format!("{error}\n  in {}", stack.join("\n  in "))
        }
        _ => error.to_string(),
    };
    match error {
        CallError::Refused {
            kind: ErrorKind::Retryable,
            ..
        } => Failure::external(message).help(
            "it failed each time it was tried; raise the sink's `retries` if it needs longer",
        ),
        CallError::Deadline(_) => Failure::external(message)
            .help("raise the sink's `limits.deadline`, or look at what it waits for"),
        CallError::Quota(_) => Failure::external(message).help(CallError::QUOTA_HELP),
        CallError::Limit(_) | CallError::OutputTooLarge { .. } => {
            Failure::user(message).help("raise the sink's `limits`, or mend the plugin")
        }
        _ => Failure::user(message),
    }
}
