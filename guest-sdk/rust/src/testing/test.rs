//! What the tests of all plugins have in common.

use serde::Serialize;

use super::input::Input;
use crate::record::Record;

/// A plugin with its input: a [`TransformTest`](super::TransformTest) or a [`SinkTest`](super::SinkTest).
#[derive(Debug)]
pub struct Test<P> {
    pub(super) config: String,
    pub(super) input: Input,
    /// What the kind of plugin needs beside them.
    pub(super) plugin: P,
}

impl<P> Test<P> {
    pub(super) fn of(plugin: P) -> Self {
        Self {
            config: String::new(),
            input: Input::default(),
            plugin,
        }
    }

    /// The plugin's settings, as serde writes them: a struct, or `serde_json::json!({"pattern": "x"})`.
    ///
    /// # Panics
    /// If serde cannot write it as JSON.
    pub fn config(mut self, config: impl Serialize) -> Self {
        self.config = serde_json::to_string(&config).expect("the configuration is JSON");
        self
    }

    /// The input, as records.
    pub fn rows<R: Record>(mut self, rows: impl IntoIterator<Item = R>) -> Self {
        self.input = Input::of_records(rows);
        self
    }

    /// The input, as JSON objects under a schema of names and types; `utf8?` allows nulls.
    ///
    /// # Panics
    /// If a row does not fit the schema.
    pub fn json<'a>(
        mut self,
        schema: &[(&str, &str)],
        rows: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.input = Input::of_json(schema, rows);
        self
    }
}
