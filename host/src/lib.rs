//! Wasmill: a stream processor whose user code is WebAssembly.
//!
//! A module uses only modules above it in this list; `tests/tests/house.rs` checks that.
//!
//! The way of a row: a receiver ([`receive`]) makes Arrow batches, the data plane ([`flow`]) carries them
//! through plugins ([`plugin`]) and aggregates ([`aggregate`]) to a sink ([`deliver`]). [`pipeline`] turns the
//! file that a user wrote into the [`pipeline::Plan`] that all of that obeys; [`run`] owns threads and processes.

// Words. (Blank lines keep the formatter from sorting what has an order.)
pub mod ids;

pub mod error;
pub mod thread;

pub mod abort;
pub mod batch;
pub mod bucket;
pub mod config;
pub mod key_file;
pub mod prefetch;
pub mod secret;
pub mod telemetry;
pub mod throttle;
pub mod trace;

pub mod behind;
pub mod cgroup;

pub mod bounded;
// User code.
pub mod plugin;
// Data in.
pub mod format;
pub mod receive;
// What a run remembers.
pub mod checkpoint;
// Pure computation.
pub mod aggregate;
pub mod join;
pub mod sql;
pub mod state;
pub mod window;
// Data out.
pub mod deliver;
// To run.
pub mod pipeline;
// Plane.
pub mod flow;
pub mod run;

pub mod replay;
// Hosting.
pub mod jobs;

pub mod server;
// The binary's face.
pub mod cli;
