//! Windows of grouped rows: partial results are kept, and put together when a window ends.

use arrow::array::RecordBatch;

use super::Work;
use crate::error::Failure;
use crate::flow::arrivals::in_order;
use crate::flow::grouper::Grouper;
use crate::flow::parcel::Parcel;
use crate::plugin::CallContext;
use crate::state::Batch;
use crate::window::Spans;

/// A grouping; what comes in are partial results.
pub struct Grouped(pub Box<dyn Grouper>);

impl Work for Grouped {
    fn spans(&self) -> Spans {
        Spans::Combined
    }

    fn take(
        &mut self,
        call: CallContext,
        _: usize,
        mut partials: Vec<Parcel>,
    ) -> Result<RecordBatch, Failure> {
        self.0.merge(call, &in_order(&mut partials))
    }

    fn combine(
        &mut self,
        call: CallContext,
        partials: &[&RecordBatch],
    ) -> Result<RecordBatch, Failure> {
        self.0.merge(call, partials)
    }

    fn finish(
        &mut self,
        call: CallContext,
        inputs: &[Vec<Batch>],
    ) -> Result<Vec<RecordBatch>, Failure> {
        let partials = inputs.iter().flatten().map(Batch::rows);
        let partials = partials.collect::<Result<Vec<_>, _>>()?;
        Ok(vec![
            self.0.finish(call, &partials.iter().collect::<Vec<_>>())?,
        ])
    }
}
