//! What comes out of an epoch of a keyed plugin's test.

use super::check;
use super::input::Input;
use super::port::PortRows;
use crate::Batch;
use crate::record::Row;
use crate::wit::{KeyedPlan, Output, Rejects};

/// What a keyed plugin made of an epoch.
#[derive(Debug)]
pub struct Epoch {
    plan: KeyedPlan,
    calls: Vec<(Batch, Vec<(usize, PortRows)>)>,
    rejected: Vec<Vec<(u32, String)>>,
}

impl Epoch {
    pub(super) fn new(plan: &KeyedPlan) -> Self {
        Self {
            plan: plan.clone(),
            calls: Vec::new(),
            rejected: vec![Vec::new(); plan.inputs.len()],
        }
    }

    /// Takes the outputs and the rejects of a call; `numbers` are the rows of each input that it had.
    ///
    /// # Panics
    /// If they break the contract.
    pub(super) fn take(
        &mut self,
        keys: Input,
        outputs: Vec<Output>,
        rejected: Vec<Rejects>,
        numbers: &[Vec<usize>],
    ) {
        let outputs = outputs
            .into_iter()
            .map(|output| {
                let port = output.port as usize;
                let rows = PortRows::checked(&self.plan.ports, output, keys.rows);
                (port, rows)
            })
            .collect();
        self.calls.push((keys.into_batch(), outputs));
        assert!(
            rejected.is_empty() || rejected.len() == numbers.len(),
            "rejects of each input, or none at all"
        );
        for (at, (rejects, numbers)) in rejected.into_iter().zip(numbers).enumerate() {
            let rows = u32::try_from(numbers.len()).expect("rows are numbered by u32");
            for (row, reason) in check::rejects(rejects, rows) {
                let number = numbers[row as usize];
                let number = u32::try_from(number).expect("rows are numbered by u32");
                self.rejected[at].push((number, reason));
            }
        }
    }

    fn rows_of(&self, name: &str) -> impl Iterator<Item = (&Batch, &PortRows, bool)> {
        let ports = &self.plan.ports;
        let position = ports.iter().position(|port| port.name == name);
        let at = position.unwrap_or_else(|| panic!("the plan has no port `{name}`"));
        self.calls.iter().flat_map(move |(keys, outputs)| {
            let of_port = outputs.iter().filter(move |(port, _)| *port == at);
            of_port.map(move |(_, rows)| (keys, rows, ports[at].carry))
        })
    }

    /// What the plugin made for a port, as records.
    ///
    /// # Panics
    /// If there is no such port, or the record's columns are not those of the port.
    pub fn rows<'a, R: Row<'a>>(&'a self, port: &str) -> Vec<R> {
        self.rows_of(port)
            .flat_map(|(_, rows, _)| rows.rows())
            .collect()
    }

    /// The rows of a port as the next step sees them, as JSON objects: the key's columns if it carries them, then what
    /// the plugin made.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn json(&self, port: &str) -> Vec<String> {
        self.rows_of(port)
            .flat_map(|(keys, rows, carry)| rows.json(keys, carry))
            .collect()
    }

    /// The rows of an input, by its position, that were turned away, each with its reason.
    ///
    /// # Panics
    /// If there is no such input.
    pub fn rejected(&self, input: usize) -> Vec<(u32, &str)> {
        self.rejected[input]
            .iter()
            .map(|(row, reason)| (*row, reason.as_str()))
            .collect()
    }
}
