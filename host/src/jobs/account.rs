//! What pipelines have used since it was last asked: added up from figures, which begin at zero with each run.
//!
//! What a runner has not told when it is killed is lost: a second's worth at most.

use std::collections::BTreeMap;
use std::time::Duration;

use super::protocol::RunId;
use super::{Figures, Usage};
use crate::ids::{NodeName, PipelineName, TenantId};
use crate::telemetry::NodeCounts;

/// Who has used something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spender {
    /// Whose.
    pub tenant: TenantId,
    /// Which pipeline.
    pub pipeline: PipelineName,
    /// Of its definition, which says what plugin the node was.
    pub version: u32,
    /// Which source, step or sink.
    pub node: NodeName,
}

/// What the runners of a tenant have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunnerSpent {
    /// Milliseconds of processor time, plugins and everything else.
    pub cpu_ms: u64,
    /// Memory times the time that it was held.
    pub memory_byte_seconds: u64,
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// By nodes of pipelines; those that have used nothing are not there.
    pub nodes: BTreeMap<Spender, NodeCounts>,
    /// By runners.
    pub runners: BTreeMap<TenantId, RunnerSpent>,
}

impl Spent {
    /// Whether nothing was used.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.runners.is_empty()
    }

    /// Adds what was used after it.
    pub fn add(&mut self, later: Self) {
        for (spender, counts) in later.nodes {
            self.nodes.entry(spender).or_default().add(&counts);
        }
        for (tenant, spent) in later.runners {
            let sum = self.runners.entry(tenant).or_default();
            sum.cpu_ms += spent.cpu_ms;
            sum.memory_byte_seconds += spent.memory_byte_seconds;
        }
    }
}

/// The account that is kept until somebody asks for it.
#[derive(Debug, Default)]
pub struct Account {
    spent: Spent,
    /// What each run had counted when it was last heard of.
    counted: BTreeMap<RunId, BTreeMap<NodeName, NodeCounts>>,
}

impl Account {
    /// A run of a version of a pipeline has these figures by now.
    pub fn note(
        &mut self,
        run: RunId,
        (tenant, pipeline): &(TenantId, PipelineName),
        version: u32,
        figures: &Figures,
    ) {
        let counted = self.counted.entry(run).or_default();
        for (node, counts) in &figures.nodes {
            let before = counted.insert(node.clone(), counts.clone());
            let more = counts.since(&before.unwrap_or_default());
            if more != NodeCounts::default() {
                let spender = Spender {
                    tenant: tenant.clone(),
                    pipeline: pipeline.clone(),
                    version,
                    node: node.clone(),
                };
                self.spent.nodes.entry(spender).or_default().add(&more);
            }
        }
    }

    /// A run is over.
    pub fn end(&mut self, run: RunId) {
        self.counted.remove(&run);
    }

    /// A runner of a tenant that had used so much before has used so much now, `passed` later.
    pub fn note_runner(&mut self, tenant: &TenantId, before: Usage, now: Usage, passed: Duration) {
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let sum = self.spent.runners.entry(tenant.clone()).or_default();
        sum.cpu_ms += now.cpu_ms.saturating_sub(before.cpu_ms);
        sum.memory_byte_seconds += now.memory_bytes.saturating_mul(passed) / 1000;
    }

    /// What was used since this was last asked.
    pub fn take(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(calls: u64) -> Figures {
        let counts = NodeCounts {
            calls,
            ..NodeCounts::default()
        };
        Figures {
            nodes: BTreeMap::from([
                ("words".into(), counts),
                ("idle".into(), NodeCounts::default()),
            ]),
            ..Figures::default()
        }
    }

    fn calls(spent: &Spent) -> Vec<(u32, u64)> {
        let nodes = spent.nodes.iter();
        nodes
            .map(|(spender, counts)| (spender.version, counts.calls))
            .collect()
    }

    #[test]
    fn each_run_begins_at_zero_and_nothing_is_counted_twice() {
        let acme = TenantId::parse("acme").unwrap();
        let key = (acme.clone(), "counts".into());
        let mut account = Account::default();
        account.note(RunId(1), &key, 1, &figures(3));
        account.note(RunId(1), &key, 1, &figures(3));
        account.note(RunId(1), &key, 1, &figures(5));
        account.end(RunId(1));
        account.note(RunId(2), &key, 2, &figures(4));
        let first = account.take();
        assert_eq!(calls(&first), [(1, 5), (2, 4)]);
        assert!(account.take().is_empty());
        account.note(RunId(2), &key, 2, &figures(6));
        let mut all = first;
        all.add(account.take());
        assert_eq!(calls(&all), [(1, 5), (2, 6)]);
    }

    #[test]
    fn memory_counts_for_the_time_that_it_is_held() {
        let acme = TenantId::parse("acme").unwrap();
        let usage = |cpu_ms| Usage {
            cpu_ms,
            memory_bytes: 1000,
            ..Usage::default()
        };
        let mut account = Account::default();
        let second = Duration::from_secs(1);
        account.note_runner(&acme, Usage::default(), usage(20), second);
        account.note_runner(&acme, usage(20), usage(50), second / 2);
        let expected = RunnerSpent {
            cpu_ms: 50,
            memory_byte_seconds: 1500,
        };
        assert_eq!(account.take().runners[&acme], expected);
    }
}
