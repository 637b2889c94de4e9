//! The tables of a process: read at the start, shared by its workers, and read again when their files change.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::error::Failure;
use crate::ids::NodeName;
use crate::join::{Join, Lookup};
use crate::pipeline::{NodeKind, Plan};
use crate::receive::{FileState, TableSource};
use crate::thread;

/// A table as a join looks it up.
#[derive(Debug)]
pub struct Table {
    name: NodeName,
    source: TableSource,
    join: Join,
    now: RwLock<Arc<Lookup>>,
}

impl Table {
    /// Its rows as they are now; what was taken stays as it was.
    pub fn now(&self) -> Arc<Lookup> {
        self.now
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The tables that joins read, by the join's index in the plan. When the last clone is dropped, nobody looks for changes.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    by_join: BTreeMap<usize, Arc<Table>>,
    /// Kept for its end: the threads that look for changes see it.
    _running: Option<Sender<()>>,
}

impl Tables {
    /// Reads the tables of a plan, and starts to look for changes of those that are refreshed.
    pub fn open(plan: &Plan) -> Result<Self, Failure> {
        let (running, ended) = crossbeam_channel::bounded(0);
        let mut by_join = BTreeMap::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            let NodeKind::Join(join, _) = &node.kind else {
                continue;
            };
            let read = &plan.nodes[node.inputs[1].ports[0].node];
            let NodeKind::Table(source) = &read.kind else {
                continue;
            };
            let state = source.state();
            let state = state.map_err(|failure| failure.at_node(&read.name))?;
            let lookup = lookup(source, join, state);
            let table = Arc::new(Table {
                name: read.name.clone(),
                source: source.clone(),
                join: join.clone(),
                now: RwLock::new(lookup.map_err(|failure| failure.at_node(&read.name))?),
            });
            if source.refresh().is_some() {
                start_refreshing(table.clone(), state, ended.clone());
            }
            by_join.insert(index, table);
        }
        Ok(Self {
            by_join,
            _running: Some(running),
        })
    }

    /// The table that this join reads, if it reads one.
    pub fn of(&self, join: usize) -> Option<Arc<Table>> {
        self.by_join.get(&join).cloned()
    }
}

fn lookup(source: &TableSource, join: &Join, state: FileState) -> Result<Arc<Lookup>, Failure> {
    let rows = source.read(state)?;
    let lookup = Lookup::new(join, rows);
    lookup
        .map(Arc::new)
        .map_err(|error| Failure::internal(format!("a table could not be prepared: {error}")))
}

fn start_refreshing(table: Arc<Table>, state: FileState, ended: Receiver<()>) {
    let name = format!("table:{}", table.name);
    thread::spawn(name, move || refresh(&table, state, &ended));
}

/// Looks for changes until the run is over. A file that cannot be read, or is wrong, leaves the rows as they were.
fn refresh(table: &Table, mut known: FileState, ended: &Receiver<()>) {
    let Some(interval) = table.source.refresh() else {
        return;
    };
    while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let read = table.source.state().and_then(|state| {
            if state == known {
                return Ok(None);
            }
            known = state;
            lookup(&table.source, &table.join, state).map(Some)
        });
        match read {
            Ok(None) => {}
            Ok(Some(lookup)) => {
                let rows = lookup.batch().num_rows();
                *table.now.write().unwrap_or_else(PoisonError::into_inner) = lookup;
                tracing::info!(table = %table.name, "read again: {rows} rows");
            }
            Err(failure) => {
                tracing::warn!(table = %table.name, "kept as it was, since it cannot be read again: {failure}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::{Problems, parse};
    use crate::join::{Column, Kind};

    fn source(folder: &Path) -> TableSource {
        let text = "path = 't.jsonl'\nformat = 'json'\nschema = { key = 'int64' }\nrefresh = '2ms'";
        let problems = Problems::default();
        let source = TableSource::from_table(&mut parse(text, folder, &problems).unwrap());
        assert_eq!(problems.take(), []);
        source.unwrap()
    }

    fn join() -> Join {
        Join {
            kind: Kind::Inner,
            keys: [vec![0], vec![0]],
            columns: vec![Column::Key(0)],
        }
    }

    #[test]
    fn a_table_is_read_again_when_it_changes_and_kept_when_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            let aside = folder.path().join("aside");
            std::fs::write(&aside, text).unwrap();
            std::fs::rename(aside, folder.path().join("t.jsonl")).unwrap();
        };
        write("{\"key\":1}\n");
        let source = source(folder.path());
        let state = source.state().unwrap();
        let table = Arc::new(Table {
            name: "t".into(),
            now: RwLock::new(lookup(&source, &join(), state).unwrap()),
            join: join(),
            source,
        });
        let (running, ended) = crossbeam_channel::bounded(0);
        start_refreshing(table.clone(), state, ended);
        let taken = table.now();
        let rows = || table.now().batch().num_rows();
        write("{\"key\":\n{\"key\":3}\n{\"key\":4}\n");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(rows(), 1);
        write("{\"key\":1}\n{\"key\":2}\n");
        let deadline = Instant::now() + Duration::from_secs(10);
        while rows() == 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!((rows(), taken.batch().num_rows()), (2, 1));
        drop(running);
    }
}
