//! `wasmill plugin bench`: what a plugin costs.

mod generated;
mod subject;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow::array::RecordBatch;
use serde_json::json;

use super::build::Which;
use super::granted::Granted;
use super::test::Case;
use crate::cli::check::Format;
use crate::cli::engine::EngineOptions;
use crate::cli::output;
use crate::config::format_size;
use crate::plugin::{CALL_ROWS, Engine};
use crate::secret::SecretSource;
use subject::Subject;

/// Fresh instances that are timed, and calls of one row.
const INSTANCES: usize = 30;
const SMALL_CALLS: usize = 300;
/// Full calls are timed for so long, and three times at least.
const FULL_CALLS: Duration = Duration::from_secs(2);
/// From this share of a call on, its fixed cost is worth a word.
const DOMINATES: f64 = 0.5;

/// Measure what a plugin costs
///
/// Takes the columns, the settings and the rows of a fixture, repeated to as many rows as asked for (or, with `--generated`, rows made up), and times the
/// calls that the host would make of them: how long the component takes to compile and to load once it is compiled, an instance with its first call, a call of
/// one row, and full calls. Of a sink each is a whole partition of an epoch: begun, written, and made ready. Compare figures of one run of one machine alone.
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(flatten)]
    which: Which,

    /// The fixture whose rows are taken; the first unless said
    #[arg(long, value_name = "NAME")]
    case: Option<String>,

    /// Rows of a full call
    #[arg(long, default_value_t = CALL_ROWS as u32, value_parser = clap::value_parser!(u32).range(1..=CALL_ROWS as i64))]
    rows: u32,

    /// Make rows up, all different, for the columns of the fixture: texts of eight words, numbers below a million
    #[arg(long)]
    generated: bool,

    #[command(flatten)]
    granted: Granted,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    engine: EngineOptions,
}

/// What was measured.
struct Figures {
    file: PathBuf,
    bytes: u64,
    compile: Duration,
    load: Duration,
    instance: Duration,
    small: Duration,
    rows: usize,
    full: Duration,
    memory: Option<u64>,
}

impl Bench {
    /// Measures, and prints.
    ///
    /// # Errors
    /// When the plugin cannot be built or refuses the rows, or a call fails.
    pub fn run(self) -> anyhow::Result<()> {
        let plugin = self.which.component(&self.engine)?;
        let case = Case::all(&self.which.dir.join("fixtures"), self.case.as_deref())?.remove(0);
        let count = self.rows as usize;
        let rows = match self.generated {
            true => generated::rows(&case.schemas()?.remove(0), count)?,
            false => repeated(&subject::rows(&case)?, count)?,
        };
        let figures = Figures::measure(&plugin, &case, &rows, self.granted)?;
        let text = match self.format {
            Format::Json => format!("{:#}\n", figures.as_json()),
            Format::Text => figures.text(),
        };
        output::write(text.as_bytes())
    }
}

/// After so long a file of the cache counts as settled.
const SETTLED: Duration = Duration::from_secs(3);

impl Figures {
    fn measure(
        plugin: &Path,
        case: &Case,
        rows: &RecordBatch,
        granted: Granted,
    ) -> anyhow::Result<Self> {
        // A folder of its own: what is in the user's would be taken.
        let cache = tempfile::tempdir()?;
        let load = || {
            let engine = Engine::new(cache.path())?;
            engine.use_secrets(SecretSource::Environment);
            let began = Instant::now();
            let component = engine.load(plugin)?;
            anyhow::Ok((began.elapsed(), engine, component))
        };
        let (compile, ..) = load()?;
        // As a later start finds it: what was written just now is read again, and what was read is known from then on.
        std::thread::sleep(SETTLED);
        load()?;
        let (load, _engine, component) = load()?;
        let subject = Subject::new(&component, case, &granted.to(component.world()))?;
        let one = rows.slice(0, 1);
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            let began = Instant::now();
            subject.open()?.call(&one)?;
            instances.push(began.elapsed());
        }
        let mut instance = subject.open()?;
        let mut small = Vec::new();
        for _ in 0..SMALL_CALLS {
            let began = Instant::now();
            instance.call(&one)?;
            small.push(began.elapsed());
        }
        let (mut full, began) = (Vec::new(), Instant::now());
        while full.len() < 3 || began.elapsed() < FULL_CALLS {
            let call = Instant::now();
            instance.call(rows)?;
            full.push(call.elapsed());
        }
        Ok(Self {
            file: plugin.to_owned(),
            bytes: std::fs::metadata(plugin)?.len(),
            compile,
            load,
            instance: median(instances),
            small: median(small),
            rows: rows.num_rows(),
            full: median(full),
            memory: instance.memory(),
        })
    }

    fn nanos_per_row(&self) -> f64 {
        self.full.as_secs_f64() * 1e9 / self.rows as f64
    }

    /// The share of a full call that any call costs.
    fn fixed_share(&self) -> f64 {
        self.small.as_secs_f64() / self.full.as_secs_f64()
    }

    fn as_json(&self) -> serde_json::Value {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        json!({
            "component": self.file,
            "bytes": self.bytes,
            "compile_us": micros(self.compile),
            "load_us": micros(self.load),
            "instance_and_first_call_us": micros(self.instance),
            "call_of_one_row_us": micros(self.small),
            "rows": self.rows,
            "full_call_us": micros(self.full),
            "ns_per_row": self.nanos_per_row(),
            "rows_per_s": 1e9 / self.nanos_per_row(),
            "memory": self.memory,
        })
    }

    fn text(&self) -> String {
        let per_row = self.nanos_per_row();
        let memory = self
            .memory
            .map_or_else(|| "unknown".to_owned(), format_size);
        let mut text = format!(
            "{}, {}\n\
             compiled                          {:?}\n\
             loaded once compiled              {:?}\n\
             an instance and its first call    {:?}\n\
             a call of one row                 {:?}\n\
             a call of {:<6} rows             {:?}: {per_row:.0} ns a row, {:.0} rows/s\n\
             memory of the instance            {memory}\n",
            self.file.display(),
            format_size(self.bytes),
            self.compile,
            self.load,
            self.instance,
            self.small,
            self.rows,
            self.full,
            1e9 / per_row,
        );
        if self.fixed_share() > DOMINATES {
            // Writing to a String cannot fail.
            writeln!(
                text,
                "\nwarning: {:.0} % of a call of {} rows is the fixed cost of a call: give it larger epochs or fewer partitions",
                self.fixed_share() * 100.0,
                self.rows
            )
            .ok();
        }
        text
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// So many rows, those there are again and again.
fn repeated(rows: &RecordBatch, wanted: usize) -> anyhow::Result<RecordBatch> {
    let there = rows.num_rows();
    anyhow::ensure!(there > 0, "the fixture has no rows: try --generated");
    let order = (0..wanted).map(|row| (row % there) as u32);
    let order: arrow::array::UInt32Array = order.collect();
    arrow::compute::take_record_batch(rows, &order).context("rows could not be repeated")
}
