//! The data plane: Arrow batches through operators on timely.
//!
//! An epoch is a timely timestamp. Time is driven from one place: process 0 cuts an epoch and hands its plan to
//! [`plan`] on worker 0, which tells every worker what to read ([`source`]). From there rows flow through
//! [`transform`] (user code, inline), [`sql`], [`combine`] and [`aggregate`] or [`window`] (an exchange between them), [`join`] or
//! [`window`], [`keyed`] (user code that remembers) and [`repartition`] (behind [`spread`] and an exchange) and [`lookup`] (a join
//! with a table, inline) to [`sink`], which holds the epoch back until its outlet thread has delivered it. A frontier that has passed an epoch behind every sink is
//! therefore the barrier "delivered", on every worker and process; the epoch driver counts on it.
//!
//! Edges of timely are unbounded queues. What bounds memory is here: sources emit only while the process's
//! [`context::LiveBytes`] are below the limit, and transforms work in small slices.

pub mod aggregate;
pub mod arrivals;
pub mod build;
pub mod caller;
pub mod carry;
pub mod collect;
pub mod combine;
pub mod context;
pub mod gather;
pub mod grouper;
pub mod join;
pub mod keyed;
pub mod lookup;
pub mod outlet;
pub mod parcel;
pub mod plan;
pub mod reduce;
pub mod rejects;
pub mod repartition;
pub mod results;
pub mod route;
pub mod sink;
pub mod slice;
pub mod source;
pub mod spread;
pub mod sql;
pub mod store;
pub mod tables;
pub mod transform;
pub mod window;
