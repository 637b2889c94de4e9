//! What a plugin may use up, and the settings for it: a step's or sink's `limits` table.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

use super::pool::MemoryPool;
use crate::config::{Table, format_size};

/// The bounds of one instance, or of one call into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time for one call: wall clock, or under a [`super::Quota`] processor time. `limits.deadline`; default 1 s, for a sink 30 s since its calls wait for the outside.
    pub deadline: Duration,
    /// Bytes of linear memory of an instance. `limits.memory`; default 128 MiB.
    pub memory: u64,
    /// Elements in all tables of an instance. `limits.table_elements`; default 1,000,000 (8 MB), at most ten times that: a language runtime
    /// has some tens of thousands.
    pub table_elements: u64,
    /// Core instances in a component's instance. `limits.instances`; default 100: a language runtime has some tens.
    pub instances: u64,
    /// Bytes of stack. `limits.stack`; default 512 KiB, between 64 KiB and 1 MiB: guests run on workers' own stacks of 2 MiB.
    pub stack: u64,
    /// Bytes that one call may hand back. `limits.output`; default 64 MiB, at most 1 GiB: offsets are 32 bits wide.
    pub output: u64,
}

/// From one page to all that a guest of 32 bits can address.
const MEMORY_RANGE: RangeInclusive<u64> = (64 << 10)..=(4 << 30);
const STACK_RANGE: RangeInclusive<u64> = (64 << 10)..=(1 << 20);
/// More than any guest has. Slots of instances have address space for it.
pub(super) const MOST_TABLE_ELEMENTS: u64 = 10_000_000;
const OUTPUT_RANGE: RangeInclusive<u64> = 1..=(1 << 30);
/// A call is at least this long, else the granularity of ticks would be most of it.
const DEADLINE_LEAST: Duration = Duration::from_millis(10);
/// Longer than a person waits for anything; keeps the arithmetic of ticks far from its ends.
const DEADLINE_MOST: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            memory: 128 << 20,
            table_elements: 1_000_000,
            instances: 100,
            stack: 512 << 10,
            output: 64 << 20,
        }
    }
}

impl Limits {
    /// What a sink has unless its table says otherwise.
    pub fn of_sinks() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            ..Self::default()
        }
    }

    /// Reads a `limits` table to its end; what it does not set is as here.
    pub fn with(self, mut table: Table<'_>) -> Self {
        let limits = Self {
            deadline: deadline(&mut table).unwrap_or(self.deadline),
            memory: size(&mut table, "memory", MEMORY_RANGE).unwrap_or(self.memory),
            table_elements: count(&mut table, "table_elements", MOST_TABLE_ELEMENTS)
                .unwrap_or(self.table_elements),
            instances: count(&mut table, "instances", u64::MAX).unwrap_or(self.instances),
            stack: size(&mut table, "stack", STACK_RANGE).unwrap_or(self.stack),
            output: size(&mut table, "output", OUTPUT_RANGE).unwrap_or(self.output),
        };
        table.finish();
        limits
    }
}

fn deadline(table: &mut Table<'_>) -> Option<Duration> {
    let value = table.duration("deadline")?;
    if (DEADLINE_LEAST..=DEADLINE_MOST).contains(value.get_ref()) {
        return Some(*value.get_ref());
    }
    let message = format!(
        "`deadline` must be between {DEADLINE_LEAST:?} and {} hours",
        DEADLINE_MOST.as_secs() / 3600
    );
    table.problem(value.span(), message, None);
    None
}

fn count(table: &mut Table<'_>, key: &str, most: u64) -> Option<u64> {
    let value = table.integer(key, 1)?;
    if *value.get_ref() <= most {
        return Some(*value.get_ref());
    }
    table.problem(
        value.span(),
        format!("`{key}` must be at most {most}"),
        None,
    );
    None
}

fn size(table: &mut Table<'_>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let value = table.size(key)?;
    if range.contains(value.get_ref()) {
        return Some(*value.get_ref());
    }
    let (least, most) = (format_size(*range.start()), format_size(*range.end()));
    let message = format!("`{key}` must be between {least} and {most}");
    table.problem(value.span(), message, None);
    None
}

/// A growth that a limit forbids; the guest traps with it instead of seeing its allocation fail, so that the message
/// names the limit and not whatever the guest does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {0} is reached")]
pub(super) struct LimitReached(pub String);

/// Counts what an instance holds.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_left: usize,
    table_elements_left: usize,
    limits: Limits,
    /// What it shares with all instances of the engine.
    pool: Arc<MemoryPool>,
    /// Bytes that it has of it.
    pooled: u64,
}

impl Limiter {
    pub fn new(limits: &Limits, pool: Arc<MemoryPool>) -> Self {
        Self {
            memory_left: usize_of(limits.memory),
            table_elements_left: usize_of(limits.table_elements),
            limits: limits.clone(),
            pool,
            pooled: 0,
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.pool.give_back(self.pooled);
    }
}

impl Limiter {
    /// Bytes of linear memory that the instance has.
    pub fn memory(&self) -> u64 {
        self.limits.memory - self.memory_left as u64
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Takes growth out of what is left. `maximum` is the guest's own declared bound, beyond which growth fails as the guest expects.
fn take(
    left: &mut usize,
    current: usize,
    desired: usize,
    maximum: Option<usize>,
    limit: impl FnOnce() -> String,
) -> wasmtime::Result<bool> {
    if maximum.is_some_and(|maximum| desired > maximum) {
        return Ok(false);
    }
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            Ok(true)
        }
        None => Err(wasmtime::Error::new(LimitReached(limit()))),
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let Limits { memory, .. } = self.limits;
        let fits = take(&mut self.memory_left, current, desired, maximum, || {
            format!("{} of memory", format_size(memory))
        })?;
        if fits {
            let more = desired.saturating_sub(current) as u64;
            self.pool.take(more)?;
            self.pooled += more;
        }
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let Limits { table_elements, .. } = self.limits;
        let left = &mut self.table_elements_left;
        take(left, current, desired, maximum, || {
            format!("{table_elements} table elements")
        })
    }

    fn instances(&self) -> usize {
        usize_of(self.limits.instances)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Problems, parse};

    fn read(text: &str) -> (Limits, Vec<String>) {
        let problems = Problems::default();
        let table = parse(text, Path::new("."), &problems).expect("the test's text is TOML");
        let limits = Limits::default().with(table);
        let messages = problems.take().into_iter().map(|problem| problem.message);
        (limits, messages.collect())
    }

    #[test]
    fn every_limit_can_be_set() {
        let (limits, problems) = read(
            "deadline = '200ms'\nmemory = '1MiB'\ntable_elements = 10\ninstances = 2\nstack = '64KiB'\noutput = '1kB'",
        );
        assert_eq!(problems, Vec::<String>::new());
        let expected = Limits {
            deadline: Duration::from_millis(200),
            memory: 1 << 20,
            table_elements: 10,
            instances: 2,
            stack: 64 << 10,
            output: 1000,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_stack_that_a_worker_does_not_have_is_refused() {
        let (limits, problems) = read("stack = '8MiB'");
        assert_eq!(limits, Limits::default());
        assert_eq!(problems, ["`stack` must be between 64KiB and 1MiB"]);
    }

    #[test]
    fn a_table_that_no_slot_has_room_for_is_refused() {
        let (limits, problems) = read("table_elements = 10000001");
        assert_eq!(limits, Limits::default());
        assert_eq!(problems, ["`table_elements` must be at most 10000000"]);
    }

    #[test]
    fn a_misspelt_limit_is_a_problem() {
        assert_eq!(
            read("memroy = '1MiB'").1,
            ["the file has no setting `memroy`"]
        );
    }

    #[test]
    fn growth_counts_over_all_memories() {
        let pool = Arc::new(MemoryPool::default());
        let limits = Limits {
            memory: 100,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits, pool.clone());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        let error = limiter.memory_growing(40, 41, None).unwrap_err();
        assert!(error.downcast_ref::<LimitReached>().is_some());
        assert!(!limiter.memory_growing(40, 50, Some(45)).unwrap());
        assert_eq!(pool.held(), 100);
        drop(limiter);
        assert_eq!(pool.held(), 0);
    }
}
