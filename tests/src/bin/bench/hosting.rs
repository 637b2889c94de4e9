//! A server with 500 idle pipelines, and one with a tenant who means harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use serde_json::{Value, json};
use wasmill::plugin::Engine;
use wasmill_tests::collector::{Collector, Span, text};
use wasmill_tests::hostile::{self, Hostile};
use wasmill_tests::server::{Server, apply, put};

use crate::report::Report;
use crate::wasmill::Wasmill;

const TENANTS: usize = 50;
const PIPELINES: usize = 10;
/// Starts that are timed, one after another.
const STARTS: usize = 20;
/// Requests that are timed, over one connection.
const REQUESTS: usize = 3_000;
/// Time for a component to do its harm and be found out.
const FAILS: Duration = Duration::from_secs(30);
/// Of the tenant who means harm, as a server has it that is for strangers: thousandths of a processor.
const QUOTA: u32 = 250;
/// What takes longer to compile is refused.
const COMPILE_TIME: &str = "5s";
/// How often each component that means harm is met alone.
const MEETINGS: usize = 5;
/// How long the neighbour is watched, alone and beside the tenant who means harm, in each of so many turns.
const WATCHED: Duration = Duration::from_secs(20);
const TURNS: usize = 6;
/// How long idle pipelines are watched.
const IDLE_WATCHED: Duration = Duration::from_secs(10);
/// In which the kernel counts processor time, on every machine that Linux runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Looks for files every second, and finds none.
const IDLE: &str = r#"name = "{name}"

[epoch]
interval = "1s"

[sources.lines]
type = "files"
path = "in"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.counts]
input = "words"
group_by = ["word"]
aggregate = { n = "count()" }

[sinks.out]
input = "counts"
type = "files"
path = "out-{name}"
"#;

const NEIGHBOUR: &str = r#"name = "neighbour"

[epoch]
interval = "100ms"

[sources.rows]
type = "generate"
rows_per_second = 20000
words = 8

[steps.words]
input = "rows"
plugin = "split-words"
config = { column = "text" }

[steps.counts]
input = "words"
plugin = "running-count"
group_by = ["word"]

[sinks.out]
input = "counts"
type = "files"
path = "out"
"#;

/// Adds `idle_pipeline_mb`, `idle_pipeline_cpu` (thousandths of a processor), `pipeline_start_ms`, `api_p50_ms` and `api_p99_ms`; then
/// `neighbour_p99_ms`, `neighbour_p99_ratio`, `hostile_survived` and `hostile_total`; and `hostile_late_ms`.
pub fn measure(wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    idle(wasmill, report)?;
    harm(wasmill, report)?;
    late(wasmill, report)
}

fn start(wasmill: &Wasmill, more: &[&str]) -> Server {
    let arguments = [&["--compile-time", COMPILE_TIME], more].concat();
    Server::of(Command::new(&wasmill.binary), &arguments)
}

fn push(
    server: &Server,
    wasmill: &Wasmill,
    token: &str,
    tenant: &str,
    name: &str,
) -> anyhow::Result<()> {
    let bytes = fs::read(wasmill.plugins.join(format!("{name}.wasm")))?;
    let answer = put(server, token, tenant, name, &bytes);
    anyhow::ensure!(answer.status == 200, "the push failed: {answer:?}");
    Ok(())
}

/// Applies a pipeline.
fn begin(server: &Server, token: &str, tenant: &str, text: &str) -> anyhow::Result<()> {
    let answer = apply(server, token, tenant, text);
    anyhow::ensure!(answer.status == 200, "the apply failed: {answer:?}");
    Ok(())
}

fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

fn idle(wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("hosting: {TENANTS} tenants of {PIPELINES} idle pipelines");
    let server = start(wasmill, &[]);
    let tokens = fill(&server, wasmill)?;
    // Whatever starting needed is given back within a few epochs.
    std::thread::sleep(Duration::from_secs(10));
    let bytes = memory_of_family(server.id())?;
    let each = bytes as f64 / 1e6 / (TENANTS * PIPELINES) as f64;
    report.add("idle_pipeline_mb", each, "MB");
    let before = processor_time_of_family(server.id())?;
    std::thread::sleep(IDLE_WATCHED);
    let spent = processor_time_of_family(server.id())? - before;
    let each = spent / IDLE_WATCHED.as_secs_f64() / (TENANTS * PIPELINES) as f64;
    report.add("idle_pipeline_cpu", each * 1e3, "m");
    let mut starts = Vec::new();
    for (number, token) in tokens.iter().take(STARTS).enumerate() {
        let (name, tenant) = (format!("late-{number}"), tenant(number));
        let began = Instant::now();
        begin(&server, token, &tenant, &IDLE.replace("{name}", &name))?;
        server.wait_for_phase(token, &tenant, &name, "running");
        starts.push(began.elapsed().as_secs_f64() * 1e3);
    }
    report.add("pipeline_start_ms", percentile(&mut starts, 0.5), "ms");
    let mut answers = requests(&server, &tokens[0])?;
    report.add("api_p50_ms", percentile(&mut answers, 0.5), "ms");
    report.add("api_p99_ms", percentile(&mut answers, 0.99), "ms");
    server.stop().succeeded();
    Ok(())
}

/// Makes all tenants and pipelines, waits until they run, and gives the tenants' tokens.
fn fill(server: &Server, wasmill: &Wasmill) -> anyhow::Result<Vec<String>> {
    let mut tokens = Vec::new();
    let names = || (0..PIPELINES).map(|pipeline| format!("idle-{pipeline}"));
    for tenant in (0..TENANTS).map(tenant) {
        let token = server.tenant(&tenant);
        fs::create_dir_all(server.files(&tenant).join("in"))?;
        push(server, wasmill, &token, &tenant, "split-words")?;
        for name in names() {
            begin(server, &token, &tenant, &IDLE.replace("{name}", &name))?;
        }
        tokens.push(token);
    }
    for (number, token) in tokens.iter().enumerate() {
        for name in names() {
            server.wait_for_phase(token, &tenant(number), &name, "running");
        }
    }
    Ok(tokens)
}

/// Times of reads of a status and of a list, over one connection that stays open.
fn requests(server: &Server, token: &str) -> anyhow::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_nodelay(true)?;
    let paths = [
        "/v1/tenants/tenant-0/pipelines/idle-0/status",
        "/v1/tenants/tenant-0/pipelines",
    ];
    let mut times = Vec::new();
    for request in 0..REQUESTS {
        let path = paths[request % paths.len()];
        let began = Instant::now();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
        )?;
        read_answer(&mut stream)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

fn read_answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        let read = stream.read(&mut piece)?;
        anyhow::ensure!(read > 0, "the server hung up");
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse::<usize>()
                .ok()
        });
        if body.len() >= length.context("an answer has a length")? {
            return Ok(());
        }
    }
}

fn harm(wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("hosting: a neighbour, alone and beside harm");
    let (collector, traces) = Collector::start();
    let server = start(wasmill, &["--traces", &traces]);
    let neighbour = server.tenant("neighbour");
    for plugin in ["split-words", "running-count"] {
        push(&server, wasmill, &neighbour, "neighbour", plugin)?;
    }
    begin(&server, &neighbour, "neighbour", NEIGHBOUR)?;
    server.wait_for_phase(&neighbour, "neighbour", "neighbour", "running");
    std::thread::sleep(Duration::from_secs(5));
    let mallory = server.tenant("mallory");
    let policy = json!({ "max_pipelines": 1000, "plugin_millicores": QUOTA });
    server.done(&server.admin, "PUT", "/v1/tenants/mallory/policy", &policy);
    let lines = server.files("mallory").join("in");
    fs::create_dir(&lines)?;
    fs::write(lines.join("lines.txt"), "to be\nor not\n")?;
    let mut suite = hostile::all();
    suite.push(Hostile {
        name: "stalls-the-compiler",
        bytes: hostile::stalls_the_compiler(),
        expected: "",
    });
    let mut fatal = BTreeSet::new();
    let mut met = 0;
    // All of them, again and again, as new ones that nobody has compiled yet.
    let mut meet = |met: &mut usize| {
        let component = &suite[*met % suite.len()];
        if !survives(&server, &mallory, &neighbour, *met, component) {
            fatal.insert(component.name);
        }
        *met += 1;
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(turn(|| ())?);
        beside.push(turn(|| meet(&mut met))?);
    }
    while met < suite.len() {
        meet(&mut met);
    }
    // It tells the last of its spans as it ends.
    server.stop().succeeded();
    let epochs = epochs_of(&collector.spans(), "neighbour");
    let p99 = |how: &str, turns: &[Range<u64>]| {
        let within = |began: &u64| turns.iter().any(|turn| turn.contains(began));
        let took = epochs.iter().filter(|(began, _)| within(began));
        let mut took: Vec<_> = took.map(|(_, took)| *took).collect();
        let [half, p99] = [0.5, 0.99].map(|share| percentile(&mut took, share));
        eprintln!("hosting: {how} {half:.1} ms an epoch, p99 {p99:.1}");
        p99
    };
    let (alone, beside) = (p99("alone", &alone), p99("beside harm", &beside));
    report.add("neighbour_p99_ms", alone, "ms");
    report.add("neighbour_p99_ratio", beside / alone, "");
    let survived = suite.len() - fatal.len();
    report.add("hostile_survived", survived as f64, "");
    report.add("hostile_total", suite.len() as f64, "");
    Ok(())
}

/// How long after its deadline the last of them was stopped, each called several times.
fn late(wasmill: &Wasmill, report: &mut Report) -> anyhow::Result<()> {
    let engine = Engine::new(&wasmill.dir.join("cache"))?;
    let suite = hostile::all();
    let meetings = (0..MEETINGS).flat_map(|_| &suite);
    let late = meetings.map(|component| {
        let took = component.meet(&engine).took;
        took.saturating_sub(hostile::DEADLINE)
    });
    let latest = late.max().unwrap_or_default();
    report.add("hostile_late_ms", latest.as_secs_f64() * 1e3, "ms");
    Ok(())
}

/// Whether a component ends in a refusal or in a pipeline that says why it failed, and the server and the neighbour go on.
fn survives(
    server: &Server,
    mallory: &str,
    neighbour: &str,
    meeting: usize,
    component: &Hostile,
) -> bool {
    let name = &format!("{}-{meeting}", component.name);
    let mut bytes = component.bytes.clone();
    // A section of its own, which nobody reads: its number as a name.
    let number = meeting.to_string();
    let length = u8::try_from(number.len()).expect("a few digits");
    bytes.extend([0, length + 1, length]);
    bytes.extend(number.as_bytes());
    let pushed = put(server, mallory, "mallory", name, &bytes);
    let answer = match pushed.status {
        200 => apply(server, mallory, "mallory", &hostile::pipeline(name)),
        _ => pushed,
    };
    let ended = match answer.status {
        // One that only takes long to compile may be done in time, and harms nobody then.
        200 => component.expected.is_empty() || fails(server, mallory, name),
        status => (400..500).contains(&status) && answer.json["error"]["message"].is_string(),
    };
    let status = server.status(neighbour, "neighbour", "neighbour");
    let goes_on = status["phase"]["phase"] == "running" && status["restarts"] == 0;
    if !ended || !goes_on {
        eprintln!("  {name} was not survived: {answer:?}, {status}");
    }
    ended && goes_on
}

/// Whether a pipeline says why it failed; it is stopped then.
fn fails(server: &Server, mallory: &str, name: &str) -> bool {
    let has_failed = || server.status(mallory, "mallory", name)["failure"].is_string();
    let deadline = Instant::now() + FAILS;
    while !has_failed() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let failed = has_failed();
    let stop = format!("/v1/tenants/mallory/pipelines/{name}/stop");
    server.done(mallory, "POST", &stop, &Value::Null);
    failed
}

/// Does something again and again for [`WATCHED`]; from when until when, in nanoseconds since 1970.
fn turn(mut act: impl FnMut()) -> anyhow::Result<Range<u64>> {
    let (began, end) = (since_1970()?, Instant::now() + WATCHED);
    while Instant::now() < end {
        act();
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(began..since_1970()?)
}

fn since_1970() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}

/// Of each committed epoch of a tenant's pipelines when it was cut, in nanoseconds since 1970, and how many milliseconds later it was committed. By its
/// spans: the times of files are those of the kernel's last tick, which on an idle processor is behind by milliseconds.
fn epochs_of(spans: &[Span], tenant: &str) -> Vec<(u64, f64)> {
    let of_tenant = |span: &&Span| text(&span.attributes, "wasmill.tenant") == tenant;
    let own: Vec<&Span> = spans.iter().filter(of_tenant).collect();
    let commits = own.iter().filter(|span| span.name == "commit");
    let committed: BTreeMap<_, _> = commits
        .map(|commit| (&commit.trace_id, commit.end_time_unix_nano))
        .collect();
    let epochs = own.iter().filter(|span| span.name == "epoch");
    let epochs = epochs.filter_map(|epoch| {
        let (cut, committed) = (epoch.start_time_unix_nano, committed.get(&epoch.trace_id)?);
        Some((cut, committed.saturating_sub(cut) as f64 / 1e6))
    });
    epochs.collect()
}

/// Resident bytes of a process and its children, of which each page counts once.
fn memory_of_family(parent: u32) -> anyhow::Result<u64> {
    family(parent)?.into_iter().map(proportional).sum()
}

/// Seconds of processor time that a process and its children have used.
fn processor_time_of_family(parent: u32) -> anyhow::Result<f64> {
    let ticks: u64 = family(parent)?
        .into_iter()
        .map(ticks)
        .sum::<anyhow::Result<u64>>()?;
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// A process and its children.
fn family(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut family = vec![parent];
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Ok(pid) = name.to_string_lossy().parse::<u32>() else {
            continue;
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is_child = status.lines().any(|line| {
            line.strip_prefix("PPid:")
                .is_some_and(|id| id.trim() == parent.to_string())
        });
        if is_child {
            family.push(pid);
        }
    }
    Ok(family)
}

/// Processor time of a process, in the kernel's ticks.
fn ticks(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it may have spaces.
    let (_, fields) = text.rsplit_once(')').context("a process has a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let time = |field: usize| -> anyhow::Result<u64> {
        let field = fields.get(field).context("the kernel tells it")?;
        Ok(field.parse()?)
    };
    Ok(time(11)? + time(12)?)
}

fn proportional(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .context("the kernel tells it")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
