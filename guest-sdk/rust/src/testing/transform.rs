//! The test of a transform.

use std::marker::PhantomData;

use super::check;
use super::input::Input;
use super::port::PortRows;
use super::test::Test;
use crate::record::Row;
use crate::wit::{Context, Produced, TransformPlan};
use crate::{Batch, Result, Transform};

/// A transform with its input; see [`transform`](super::transform()).
pub type TransformTest<T> = Test<TransformUnderTest<T>>;

/// A transform, and what its calls are given.
#[derive(Debug)]
pub struct TransformUnderTest<T> {
    context: Context,
    transform: PhantomData<T>,
}

impl<T: Transform> TransformTest<T> {
    pub(super) fn new() -> Self {
        Self::of(TransformUnderTest {
            context: crate::context(),
            transform: PhantomData,
        })
    }

    /// What [`context`](crate::context()) answers during the run.
    pub fn context(mut self, context: Context) -> Self {
        self.plugin.context = context;
        self
    }

    /// What `describe` answers.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn describe(&self) -> Result<TransformPlan> {
        T::describe(&self.config, &self.input.fields())
    }

    /// Describes, opens, and processes all rows in one call.
    ///
    /// # Errors
    /// The plugin's own.
    ///
    /// # Panics
    /// If what comes back breaks the contract.
    pub fn run(self) -> Result<Run> {
        let plan = self.describe()?;
        let (fields, buffers) = self.input.planned(&plan.columns);
        let mut open = T::open(&self.config, &fields)?;
        let produced = open.process(self.plugin.context, self.input.rows, buffers)?;
        Ok(Run::checked(plan, self.input, produced))
    }
}

/// What a transform made.
#[derive(Debug)]
pub struct Run {
    plan: TransformPlan,
    input: Batch,
    ports: Vec<PortRows>,
    rejected: Vec<(u32, String)>,
}

impl Run {
    fn checked(plan: TransformPlan, input: Input, produced: Produced) -> Self {
        let rows = input.rows;
        assert!(
            produced.rejected.rows.is_sorted(),
            "rejected rows are in ascending order"
        );
        let ports = produced
            .outputs
            .into_iter()
            .map(|output| PortRows::checked(&plan.ports, output, rows))
            .collect();
        Self {
            plan,
            ports,
            input: input.into_batch(),
            rejected: check::rejects(produced.rejected, rows),
        }
    }

    /// What `describe` answered.
    pub fn plan(&self) -> &TransformPlan {
        &self.plan
    }

    fn port(&self, name: &str) -> (&PortRows, bool) {
        let at = self
            .plan
            .ports
            .iter()
            .position(|port| port.name == name)
            .unwrap_or_else(|| panic!("the plan has no port `{name}`"));
        (&self.ports[at], self.plan.ports[at].carry)
    }

    /// What the plugin made for a port, as records.
    ///
    /// # Panics
    /// If there is no such port, or the record's columns are not those of the port.
    pub fn rows<'a, R: Row<'a>>(&'a self, port: &str) -> Vec<R> {
        let (port, _) = self.port(port);
        port.rows()
    }

    /// The rows of a port as the next step sees them, as JSON objects: the carried columns, then what the plugin made.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn json(&self, port: &str) -> Vec<String> {
        let (port, carry) = self.port(port);
        port.json(&self.input, carry)
    }

    /// The input row that each row of a port came from.
    ///
    /// # Panics
    /// If there is no such port, or its rows have no parents.
    pub fn parents(&self, port: &str) -> Vec<usize> {
        let (port, _) = self.port(port);
        port.parents()
    }

    /// The rows turned away, each with its reason.
    pub fn rejected(&self) -> Vec<(u32, &str)> {
        self.rejected
            .iter()
            .map(|(row, reason)| (*row, reason.as_str()))
            .collect()
    }
}
