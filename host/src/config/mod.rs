//! Reads a pipeline file strictly: every problem is collected with its place, nothing is skipped silently.
//!
//! [`parse`] turns the file's text into a [`Table`]; each part of the product that takes settings (a receiver, a
//! sink, a plugin's limits) takes its own from one. Each getter takes a key out, and [`Table::finish`] reports what
//! nobody asked for, naming the nearest known key. [`render()`] draws the [`Problem`]s as a compiler does.

mod confines;
mod problem;
mod render;
mod table;
mod units;

pub use confines::Confines;
pub use problem::{Level, Problem, Problems, Span, did_you_mean, nearest};
pub use render::{position, render};
pub use table::{Confined, Pair, Paths, Table, parse, parse_confined};
pub use units::{format_duration, format_size, parse_duration, parse_size};
