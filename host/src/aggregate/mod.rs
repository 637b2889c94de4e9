//! Native grouping: `count`, `sum`, `min`, `max`, `avg` over any key columns.
//!
//! Pure: batches in, batches out. The data plane combines per source partition with [`Combiner`], ships partial results
//! and merges them in (partition, sequence) order, so that float sums are equal on any number of workers.

/// A checked `aggregate` step.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Key columns, indices into the node's input schema; empty for one group over all rows.
    pub keys: Vec<usize>,
    /// What is computed, in the order of the output columns after the keys.
    pub measures: Vec<Measure>,
}

/// One computed column.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Output column.
    pub name: String,
    /// What.
    pub function: Function,
    /// Of which input column; `None` for `count()`.
    pub column: Option<usize>,
}

/// The native aggregate functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Rows, or with a column its non-null values. int64.
    Count,
    /// int64 of integers (overflow is an error), float64 of floats, decimal of decimals. Null for no values.
    Sum,
    /// Smallest value of any ordered type. Null for no values.
    Min,
    /// Largest value.
    Max,
    /// float64. Null for no values.
    Avg,
}
