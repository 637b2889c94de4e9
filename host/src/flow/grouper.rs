//! What both kinds of grouping have in common: native aggregates and reducers written by users.
//!
//! [`Combiner`]s make partial results of the rows of a source partition, before anything moves; a [`Grouper`] makes one of several
//! behind the exchange. The operators [`combine`](super::combine), [`aggregate`](super::aggregate) and [`window`](super::window) know no more.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::context::Shared;
use super::reduce::Reducing;
use crate::aggregate::key_group::by_partition;
use crate::aggregate::{self, Aggregate, Merger};
use crate::error::Failure;
use crate::ids::PartitionId;
use crate::pipeline::plan::ReduceStep;
use crate::plugin::CallContext;

/// A grouping as the plan has it.
#[derive(Clone)]
pub enum Grouping {
    /// Native, over an input of these columns.
    Native(Aggregate, SchemaRef),
    /// By a plugin.
    Plugin(ReduceStep),
}

impl Grouping {
    /// Whether there is a result even of no rows: all rows are one group, and of nothing there are 0.
    pub fn counts_nothing(&self) -> bool {
        match self {
            Self::Native(aggregate, _) => aggregate.keys.is_empty(),
            // Of no rows a plugin has nothing to say.
            Self::Plugin(_) => false,
        }
    }

    /// What makes combiners on a worker, for the node at `index`.
    pub fn combiners(self, context: &Shared, index: usize) -> Box<Fresh> {
        match self {
            Self::Native(aggregate, input) => Box::new(move || {
                let native = aggregate::Combiner::new(&aggregate, &input)?;
                Ok(Box::new(native))
            }),
            Self::Plugin(step) => {
                let keys = step.group_by.len();
                let reducing = Rc::new(RefCell::new(reducing(step, context, index)));
                Box::new(move || {
                    Ok(Box::new(Reduced {
                        reducing: reducing.clone(),
                        keys,
                        parts: Vec::new(),
                        context: None,
                    }))
                })
            }
        }
    }

    /// What merges partial results on a worker.
    pub fn grouper(self, context: &Shared, index: usize) -> Box<dyn Grouper> {
        match self {
            Self::Native(aggregate, input) => Box::new(Native { aggregate, input }),
            Self::Plugin(step) => Box::new(reducing(step, context, index)),
        }
    }
}

fn reducing(step: ReduceStep, context: &Shared, index: usize) -> Reducing {
    let name = &context.plan.nodes[index].name;
    Reducing::new(step, Arc::clone(&context.counters.of(name)))
}

/// Makes a combiner.
pub type Fresh = dyn Fn() -> Result<Box<dyn Combiner>, Failure>;

/// Makes partial results of rows.
pub trait Combiner {
    /// Takes rows in.
    fn update(&mut self, context: CallContext, rows: &RecordBatch) -> Result<(), Failure>;

    /// Groups held, at most.
    fn groups(&self) -> usize;

    /// Gives what it has, by the partitions that own the keys, and is empty.
    fn flush(&mut self, partitions: u32) -> Result<Vec<(PartitionId, RecordBatch)>, Failure>;
}

impl Combiner for aggregate::Combiner {
    fn update(&mut self, _: CallContext, rows: &RecordBatch) -> Result<(), Failure> {
        Self::update(self, rows)
    }

    fn groups(&self) -> usize {
        Self::groups(self)
    }

    fn flush(&mut self, partitions: u32) -> Result<Vec<(PartitionId, RecordBatch)>, Failure> {
        Self::flush(self, partitions)
    }
}

/// Rows reduced by a plugin, a part for each update.
struct Reduced {
    reducing: Rc<RefCell<Reducing>>,
    keys: usize,
    parts: Vec<RecordBatch>,
    context: Option<CallContext>,
}

impl Combiner for Reduced {
    fn update(&mut self, context: CallContext, rows: &RecordBatch) -> Result<(), Failure> {
        self.context = Some(context);
        if rows.num_rows() > 0 {
            let part = self.reducing.borrow_mut().rows(context, rows)?;
            self.parts.push(part);
        }
        Ok(())
    }

    fn groups(&self) -> usize {
        self.parts.iter().map(RecordBatch::num_rows).sum()
    }

    fn flush(&mut self, partitions: u32) -> Result<Vec<(PartitionId, RecordBatch)>, Failure> {
        let (Some(context), false) = (self.context.take(), self.parts.is_empty()) else {
            return Ok(Vec::new());
        };
        let parts = std::mem::take(&mut self.parts);
        let parts: Vec<&RecordBatch> = parts.iter().collect();
        let all = self.reducing.borrow_mut().partials(context, &parts)?;
        let keys = &all.columns()[..self.keys];
        by_partition(&all, keys, partitions).map_err(|error| {
            Failure::internal(format!("partial results could not be cut by key: {error}"))
        })
    }
}

/// Makes results of partial results.
pub trait Grouper {
    /// Several as one, in their order.
    fn merge(
        &mut self,
        context: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure>;

    /// The result of several, in their order: the key's columns and what is computed.
    fn finish(
        &mut self,
        context: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure>;
}

struct Native {
    aggregate: Aggregate,
    input: SchemaRef,
}

impl Native {
    fn merged(&self, partials: &[&RecordBatch]) -> Result<Merger, Failure> {
        let mut merger = Merger::new(&self.aggregate, &self.input)?;
        for partial in partials {
            merger.merge(partial)?;
        }
        Ok(merger)
    }
}

impl Grouper for Native {
    fn merge(&mut self, _: CallContext, partials: &[&RecordBatch]) -> Result<RecordBatch, Failure> {
        self.merged(partials)?.partial()
    }

    fn finish(
        &mut self,
        _: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure> {
        self.merged(partials)?.finish()
    }
}

impl Grouper for Reducing {
    fn merge(
        &mut self,
        context: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure> {
        self.partials(context, partials)
    }

    /// What a plugin makes of rows is their result as well.
    fn finish(
        &mut self,
        context: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure> {
        self.partials(context, partials)
    }
}
