//! The partial results of one pane's epochs, in order. Neighbours are combined so that there are never many, and by their
//! sizes alone, so that a restart finds the same.

use super::{Combine, Rows};
use crate::ids::Epoch;

/// So many parts are left as they are, however small.
const FEW: usize = 4;

/// What some epochs in a row gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<B> {
    /// The first of the epochs.
    pub first: Epoch,
    /// The last.
    pub last: Epoch,
    /// Their partial result.
    pub content: B,
}

/// Parts of one pane.
#[derive(Debug)]
pub struct Parts<B>(Vec<Part<B>>);

impl<B> Default for Parts<B> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<B: Rows> Parts<B> {
    /// Adds an epoch's partial result behind all others.
    pub fn push<E>(
        &mut self,
        epoch: Epoch,
        content: B,
        combine: &mut Combine<'_, B, E>,
    ) -> Result<(), E> {
        self.0.push(Part {
            first: epoch,
            last: epoch,
            content,
        });
        while let [.., older, newer] = self.0.as_slice()
            && self.0.len() > FEW
            && older.content.rows() < 2 * newer.content.rows()
        {
            let both = Part {
                first: older.first,
                last: newer.last,
                content: combine(&[&older.content, &newer.content])?,
            };
            self.0.truncate(self.0.len() - 2);
            self.0.push(both);
        }
        Ok(())
    }

    /// Adds a part as it was kept.
    pub fn restore(&mut self, part: Part<B>) {
        self.0.push(part);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Part<B>> {
        self.0.iter()
    }

    /// What they hold.
    pub fn contents(&mut self) -> impl Iterator<Item = &mut B> {
        self.0.iter_mut().map(|part| &mut part.content)
    }

    /// All of them as one.
    pub fn whole<E>(mut self, combine: &mut Combine<'_, B, E>) -> Result<Option<Part<B>>, E> {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return Ok(None);
        };
        if self.0.len() == 1 {
            return Ok(self.0.pop());
        }
        let contents: Vec<&B> = self.0.iter().map(|part| &part.content).collect();
        Ok(Some(Part {
            first: first.first,
            last: last.last,
            content: combine(&contents)?,
        }))
    }
}
