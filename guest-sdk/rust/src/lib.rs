//! Write [Wasmill](https://github.com/wasmill/wasmill) plugins in Rust.
//!
//! A transform is a plain function over typed rows. Texts are read in place from the batch that the host wrote, and
//! written once into the batch that it reads back:
//!
//! ```
//! use wasmill_sdk::prelude::*;
//!
//! #[derive(Record)]
//! struct Line<'a> {
//!     line: &'a str,
//! }
//!
//! #[derive(Record)]
//! struct Word<'a> {
//!     word: &'a str,
//!     length: i64,
//! }
//!
//! fn split(row: Line, out: &mut Emit<Word>) -> Result<(), Reject> {
//!     if row.line.is_empty() {
//!         return reject("the line is empty");
//!     }
//!     for word in row.line.split_ascii_whitespace() {
//!         out.emit(Word { word, length: word.len() as i64 });
//!     }
//!     Ok(())
//! }
//!
//! export_transform!(flat_map: split);
//!
//! # fn main() {
//! let run = wasmill_sdk::testing::transform::<Plugin>()
//!     .rows([Line { line: "to be" }, Line { line: "" }])
//!     .run()
//!     .expect("the plugin accepts its own rows");
//! assert_eq!(run.json("out"), [r#"{"word":"to","length":2}"#, r#"{"word":"be","length":2}"#]);
//! assert_eq!(run.rejected(), [(1, "the line is empty")]);
//! # }
//! ```
//!
//! A [reducer] is a function of two rows, a [keyed plugin](keyed) one of the rows of a key and what is remembered
//! of it, a [`Sink`] a type.
//!
//! `wasmill plugin build` makes a component of such a crate. The pages `docs/plugins/rust.md` and
//! `docs/plugins/abi.md` tell the rest.

pub mod bindings;
mod builder;
mod cell;
mod column;
mod config;
mod context;
mod emit;
mod error;
mod export;
#[cfg(target_arch = "wasm32")]
pub mod guest;
#[cfg(feature = "http")]
pub mod http;
pub mod keyed;
pub mod log;
mod read;
mod record;
pub mod reducer;
pub mod sink;
mod suggest;
pub mod testing;
mod text;
pub mod transform;
mod types;
mod value;

pub use cell::{Cell, RowMap};
pub use column::{Column, DataType};
pub use config::{NoConfig, duration};
pub use context::{Context, context};
pub use emit::{Emit, Ports, Rejected};
pub use error::{Error, ErrorKind, Reject, reject};
pub use keyed::Keyed;
pub use read::Batch;
pub use record::{Cells, Readable, Record, Row};
pub use reducer::Reducer;
pub use sink::Sink;
pub use text::{Text, Words};
pub use transform::Transform;
pub use types::{Date, Decimal, Json, Timestamp};
pub use wasmill_macros::{Ports, Record};

/// A result whose error is that of a whole call.
pub type Result<T> = std::result::Result<T, Error>;

/// What nearly every plugin uses.
pub mod prelude {
    pub use crate::keyed::{Rows, State};
    pub use crate::{
        Emit, Error, Ports, Record, Reject, Text, export_keyed, export_reducer, export_sink,
        export_transform, log, reject,
    };
    pub use serde::Deserialize;
}

/// The contract's own types, for a plugin that implements [`Transform`], [`Reducer`] or [`Keyed`] by hand.
pub mod wit {
    pub use crate::bindings::keyed::exports::wasmill::plugin::keyed::{
        Batch as KeyedBatch, Changes, Group, Plan as KeyedPlan,
    };
    pub use crate::bindings::reducer::exports::wasmill::plugin::reducer::Plan as ReducerPlan;
    pub use crate::bindings::sink::exports::wasmill::plugin::sink::Plan as SinkPlan;
    pub use crate::bindings::transform::exports::wasmill::plugin::transform::{
        Plan as TransformPlan, Produced,
    };
    pub use crate::bindings::transform::wasmill::plugin::types::{
        Buffers, Context, Error, Field, Origin, Output, Port, Rejects,
    };
}

/// What the derive macros name.
#[doc(hidden)]
pub mod derive {
    pub use crate::builder::{ColumnBuilder, Size};
    pub use crate::emit::{Port, PortShape};
    pub use crate::record::{Builders, Readable, Record, Row, Wanted};
    pub use crate::value::{ReadValue, Value};
    pub use crate::wit::{Buffers, Output};
    pub use crate::{Batch, Column, Ports};
}
