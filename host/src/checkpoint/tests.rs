//! Two processes write one checkpoint, and what comes of it is what one of them would have written.

mod packs;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{AsArray as _, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::storage::{Location, Storage};
use super::*;
use crate::ids::BatchTime;
use crate::receive::Range;

type Hook = Box<dyn FnMut() + Send>;

/// What an object store has, in memory.
type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// An object store on which something happens before a certain operation.
struct Interrupted {
    objects: Objects,
    operations: AtomicUsize,
    at: usize,
    /// Whether the process is killed then.
    dies: bool,
    hook: Mutex<Hook>,
}

impl Interrupted {
    fn records(objects: &Objects, at: usize, dies: bool, hook: Hook) -> (Records, Arc<Self>) {
        let storage = Arc::new(Self {
            objects: objects.clone(),
            operations: AtomicUsize::new(0),
            at,
            dies,
            hook: Mutex::new(hook),
        });
        let records = Records {
            location: Location::Folder("memory".into()),
            storage: storage.clone(),
        };
        (records, storage)
    }

    fn objects(&self) -> io::Result<MutexGuard<'_, BTreeMap<String, Vec<u8>>>> {
        if self.operations.fetch_add(1, Ordering::Relaxed) == self.at {
            (self.hook.lock().unwrap())();
        }
        if self.dies && self.has_happened() {
            return Err(io::Error::other("killed"));
        }
        Ok(self.objects.lock().unwrap())
    }

    fn has_happened(&self) -> bool {
        self.operations.load(Ordering::Relaxed) > self.at
    }
}

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("memory")
    }
}

impl Storage for Interrupted {
    fn claim(&self) -> io::Result<Claim> {
        Ok(Claim::default())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut objects = self.objects()?;
        if objects.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        objects.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.objects()?.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.objects()?.get(name).cloned())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let objects = self.objects()?;
        let below = objects.keys().filter_map(|name| name.strip_prefix(folder));
        let below = below.filter_map(|name| name.strip_prefix('/')?.split('/').next());
        let names: BTreeSet<&str> = below.collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.objects()?.remove(name);
        Ok(())
    }
}

fn undisturbed(objects: &Objects) -> Records {
    Interrupted::records(objects, usize::MAX, false, Box::new(|| ())).0
}

fn pipeline() -> PipelineRecord {
    PipelineRecord {
        name: "p".into(),
        nodes: BTreeMap::from([("in".into(), "source".to_owned())]),
        partitions: 1,
    }
}

/// The state of the step `s`: one key, whose value says which start has written it in which epoch.
fn delta(generation: Generation, epoch: Epoch) -> RecordBatch {
    let value = (generation.0 * 1000 + epoch.0) as i64;
    RecordBatch::try_from_iter([
        ("live", Arc::new(BooleanArray::from(vec![true])) as _),
        ("timer", Arc::new(Int64Array::from(vec![0])) as _),
        (
            "k",
            Arc::new(Int64Array::from(vec![epoch.0 as i64 % 2])) as _,
        ),
        ("n", Arc::new(Int64Array::from(vec![value])) as _),
    ])
    .unwrap()
}

fn states() -> BTreeMap<NodeName, StateRecord> {
    let state = StateRecord {
        keys: Vec::new(),
        columns: Vec::new(),
        version: 0,
        migrates_from: Vec::new(),
    };
    BTreeMap::from([("s".into(), state)])
}

const PARTITION: PartitionId = PartitionId(0);

/// What one process did: the epochs that it began and those that it committed.
#[derive(Debug, Default)]
struct Life {
    generation: Generation,
    begun: Vec<Epoch>,
    committed: Vec<Epoch>,
}

fn definition() -> Definition {
    Definition {
        record: pipeline(),
        states: states(),
        code: Code::new(
            Path::new("p.toml"),
            "name = \"p\"".to_owned(),
            BTreeMap::new(),
        ),
    }
}

/// Goes on with the pipeline as a process does, for so many epochs; tells `life` before it goes on.
fn live(records: Records, epochs: u64, life: &mut Life) -> Result<Manifest, Failure> {
    let (mut checkpoint, resume) = Checkpoint::open(records.clone(), 2, definition(), false)?;
    life.generation = checkpoint.generation();
    let store = records.store_of(checkpoint.generation());
    let mut state = records.lineage(checkpoint.generation(), &states())?.state;
    let mut work = |checkpoint: &mut Checkpoint, plan: &EpochRecord, life: &mut Life| {
        let kept = checkpoint.kept_input(plan, PARTITION)?;
        // What is run once more was kept by whoever had it first.
        let planner = match plan.state {
            None => plan.generation,
            Some(_) => Generation(1),
        };
        assert_eq!(kept, planner.to_string().into_bytes());
        let step = state.entry("s".into()).or_default();
        let partition = step.partitions.entry(PARTITION).or_default();
        let delta = delta(checkpoint.generation(), plan.epoch);
        let mut unwritten = Unwritten::new(&"s".into(), plan.epoch);
        let segments = &mut partition.segments;
        store.add(&mut unwritten, PARTITION, segments, &delta, 0, 1)?;
        store.write_all(unwritten)?;
        checkpoint.commit(CommitRecord {
            first: plan.epoch,
            epoch: plan.epoch,
            generation: checkpoint.generation(),
            time: plan.time,
            state: state.clone(),
            pending: Pending::new(),
        })?;
        life.committed.push(plan.epoch);
        checkpoint.forget_surplus()
    };
    for plan in &resume.planned {
        life.begun.push(plan.epoch);
        work(&mut checkpoint, plan, life)?;
    }
    for epoch in (resume.next.0..resume.next.0 + epochs).map(Epoch) {
        let input = checkpoint.generation().to_string();
        let mut keeping = checkpoint.keep_input(epoch);
        let kept = keeping.add(input.into_bytes())?;
        keeping.finish()?;
        let plan = EpochRecord {
            epoch,
            generation: checkpoint.generation(),
            time: BatchTime(epoch.0 as i64),
            pipeline: Digest([0; 32]),
            reads: vec![RecordedRead {
                source: "in".into(),
                range: Range::Held {
                    block: 0,
                    rows: 1,
                    bytes: 1,
                },
                kept: Some(kept),
            }],
            positions: BTreeMap::new(),
            state: None,
        };
        checkpoint.plan_epoch(&plan)?;
        life.begun.push(epoch);
        work(&mut checkpoint, &plan, life)?;
    }
    Ok(state)
}

/// The rows of every segment that the last commit names, by who has written them in which epoch.
fn written(records: &Records) -> Vec<i64> {
    let committed = records.committed().unwrap().last().copied();
    let (_, manifest) = records.state_after(committed).unwrap();
    let mut written = Vec::new();
    for (node, state) in &manifest {
        for (partition, state) in &state.partitions {
            let rows = records.store().rows((node, *partition), state, 1).unwrap();
            for (_, rows) in rows {
                let values = rows.column(rows.num_columns() - 1);
                written.extend(values.as_primitive::<Int64Type>().values());
            }
        }
    }
    written.sort_unstable();
    written
}

/// Whatever an older process was doing when it slept or died and a newer one starts and lives for `epochs`.
fn taken_over_at(at: usize, dies: bool, epochs: u64) -> bool {
    let objects = Objects::default();
    live(undisturbed(&objects), 3, &mut Life::default()).unwrap();
    let newer = Arc::new(Mutex::new((Life::default(), Ok(Manifest::new()))));
    let (told, shared) = (newer.clone(), objects.clone());
    let hook = Box::new(move || {
        let mut life = Life::default();
        let ended = live(undisturbed(&shared), epochs, &mut life);
        *told.lock().unwrap() = (life, ended);
    });
    let (records, storage) = Interrupted::records(&objects, at, dies, hook);
    let mut older = Life::default();
    let ended = live(records, 4, &mut older);
    if !storage.has_happened() {
        ended.unwrap();
        return false;
    }
    let (newer, newer_ended) = &*newer.lock().unwrap();
    if let Err(failure) = newer_ended {
        panic!("operation {at}: the newer one was alone: {failure}");
    }
    if let Err(failure) = ended {
        let known = [
            "has taken over",
            "at the same time",
            "another process has written",
            "damaged",
            "killed",
        ];
        assert!(
            known.iter().any(|text| failure.message.contains(text)),
            "{at}: {failure}"
        );
    } else {
        // It had nothing left to write.
        assert_eq!(older.committed.len(), 4, "operation {at}");
    }
    let twice = older
        .committed
        .iter()
        .find(|epoch| newer.committed.contains(epoch));
    assert_eq!(twice, None, "operation {at}: committed by both");
    let records = undisturbed(&objects);
    let last = *records.committed().unwrap().last().unwrap();
    let owner = |epoch: Epoch| {
        let commit: Option<CommitRecord> = records.read(&name(COMMITS, epoch)).unwrap();
        (commit.unwrap().generation.0 * 1000 + epoch.0) as i64
    };
    let mut expected = [owner(last), owner(Epoch(last.0 - 1))];
    expected.sort_unstable();
    assert_eq!(written(&records), expected, "operation {at}");
    // One more start finds records that fit together, and leaves nothing of what nobody committed.
    let mut third = Life::default();
    live(records.clone(), 3, &mut third).unwrap();
    assert!(
        third.begun[0] > last && third.committed == third.begun,
        "operation {at}: {third:?}"
    );
    let kept = records.committed().unwrap().into_iter();
    let kept = kept.flat_map(|epoch| state::names(&records.state_after(Some(epoch)).unwrap().1));
    let there = records.storage.list("state/s/0000000000").unwrap();
    let kept: BTreeSet<_> = kept.collect();
    let stray = there
        .iter()
        .find(|name| !kept.contains(&format!("state/s/0000000000/{name}")));
    // What a sleeper writes after all that stays.
    assert!(stray.is_none() || !dies, "operation {at}: {stray:?}");
    true
}

#[test]
fn a_newer_process_takes_over_from_an_older_one_at_any_of_its_operations() {
    for (dies, epochs) in [(false, 0), (false, 1), (false, 6), (true, 0), (true, 6)] {
        let happened = (0..)
            .take_while(|at| taken_over_at(*at, dies, epochs))
            .count();
        assert!(happened > 40, "{happened} operations");
    }
}

/// Sets the pipeline back from epoch 2 to epoch 1 and dies at an operation of that; whether it came so far as to die.
fn dies_while_set_back(at: usize) -> bool {
    let objects = Objects::default();
    live(undisturbed(&objects), 3, &mut Life::default()).unwrap();
    let (records, storage) = Interrupted::records(&objects, at, true, Box::new(|| ()));
    let ended = records.set_back(Epoch(1));
    let records = undisturbed(&objects);
    let is_done = records.planned().unwrap().contains(&Epoch(3));
    assert_eq!(ended.is_ok(), !storage.has_happened(), "operation {at}");

    // Whoever starts then finds all of it or nothing.
    let copy = Arc::new(Mutex::new(objects.lock().unwrap().clone()));
    let mut life = Life::default();
    live(undisturbed(&copy), 0, &mut life).unwrap();
    let again = (life.generation.0 * 1000 + 3) as i64;
    let (begun, left) = match is_done {
        true => (vec![Epoch(3)], vec![1000, again]),
        false => (vec![], vec![1001, 1002]),
    };
    assert_eq!(
        (life.begun, written(&undisturbed(&copy))),
        (begun, left),
        "operation {at}"
    );

    // The same again does what is left to do.
    assert_eq!(
        records.set_back(Epoch(1)),
        Ok(Some(Epoch(3))),
        "operation {at}"
    );
    let mut life = Life::default();
    live(records.clone(), 2, &mut life).unwrap();
    assert_eq!(
        life.committed,
        [Epoch(3), Epoch(4), Epoch(5)],
        "operation {at}"
    );
    let own = |epoch| (life.generation.0 * 1000 + epoch) as i64;
    assert_eq!(written(&records), [own(4), own(5)], "operation {at}");
    storage.has_happened()
}

#[test]
fn a_pipeline_is_set_back_or_not_and_a_crash_at_any_operation_leaves_nothing_between() {
    let happened = (0..).take_while(|at| dies_while_set_back(*at)).count();
    assert!(happened > 10, "{happened} operations");
    let objects = Objects::default();
    live(undisturbed(&objects), 3, &mut Life::default()).unwrap();
    let records = undisturbed(&objects);
    assert_eq!(
        records.set_back(Epoch(2)),
        Ok(None),
        "nothing has come since"
    );
    let forgotten = records.set_back(Epoch(0)).unwrap_err();
    assert!(
        forgotten.message.contains("holds no epoch 0"),
        "{forgotten}"
    );
    records.set_back(Epoch(1)).unwrap();
    live(records.clone(), 0, &mut Life::default()).unwrap();
    let twice = records.set_back(Epoch(2)).unwrap_err();
    assert!(
        twice.message.contains("set back before, by epoch 3"),
        "{twice}"
    );
}
