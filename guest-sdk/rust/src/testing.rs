//! Runs a plugin natively, in `cargo test`: the same functions over the same buffers as in WebAssembly, with the host's
//! part played by this module. What comes back is checked as the host checks it.
//!
//! ```
//! use wasmill_sdk::prelude::*;
//!
//! #[derive(Record)]
//! struct Reading<'a> {
//!     sensor: &'a str,
//!     celsius: f64,
//! }
//!
//! fn warm(reading: Reading) -> bool {
//!     reading.celsius > 20.0
//! }
//!
//! export_transform!(filter: warm);
//!
//! # fn main() {
//! let run = wasmill_sdk::testing::transform::<Plugin>()
//!     .json(&[("room", "utf8"), ("sensor", "utf8"), ("celsius", "float64")], [
//!         r#"{"room": "hall", "sensor": "a", "celsius": 19.5}"#,
//!         r#"{"room": "attic", "sensor": "b", "celsius": 27.0}"#,
//!     ])
//!     .run()
//!     .expect("the input has the columns");
//! assert_eq!(run.json("out"), [r#"{"room":"attic","sensor":"b","celsius":27.0}"#]);
//! assert_eq!(run.parents("out"), [1]);
//! # }
//! ```

mod check;
mod epoch;
mod input;
mod keyed;
mod port;
mod reducer;
mod sink;
mod test;
mod transform;

pub use epoch::Epoch;
pub use keyed::{KeyedRun, KeyedTest};
pub use reducer::{ReducerRun, ReducerTest};
pub use sink::{SinkRun, SinkTest};
pub use test::Test;
pub use transform::{Run, TransformTest};

/// A test of a transform.
pub fn transform<T: crate::Transform>() -> TransformTest<T> {
    TransformTest::new()
}

/// A test of a sink.
pub fn sink<S: crate::Sink>() -> SinkTest<S> {
    SinkTest::new()
}

/// A test of a reducer.
pub fn reducer<R: crate::Reducer>() -> ReducerTest<R> {
    ReducerTest::new()
}

/// A test of a keyed plugin.
pub fn keyed<K: crate::Keyed>() -> KeyedTest<K> {
    KeyedTest::new()
}
