//! WASI for plugins whose language cannot do without it: every question has an answer, and the same answer in every run.
//!
//! The environment is empty, there are no files and no network, the clock stands at the batch time, random numbers follow from the
//! call's seed, and what is printed goes to the plugin's log. Nothing here waits: a plugin that sleeps finds its time gone at
//! once. A sink that is granted `wasi:http` speaks with the outside, so it has the clocks and random numbers of the machine instead.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_core::TryRng;
use tokio::io::{AsyncWrite, Sink, sink};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView, async_trait,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::call::CallContext;
use super::component::ImportedFunction;
use super::host::State;
use super::http::Http;
use super::imports::HostPort;
use super::reach::Reach;

/// Resources (streams, requests, headers) that an instance may hold at once; each takes host memory.
const RESOURCES: usize = 10_000;
/// Random bytes that one question may ask for.
const RANDOM_BYTES: u64 = 1 << 20;
/// Bytes that a call may print; the rest is dropped, as the log would do.
const PRINTED_BYTES: usize = 64 << 10;

/// The interface that would wait, in the version that wasmtime-wasi 48 has the types of.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";

/// The packages that are answered, at any patch of their version.
const ANSWERED: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Whether the function is answered without a grant.
pub fn is_answered(function: &ImportedFunction) -> bool {
    let interface = &function.interface;
    let known = ANSWERED
        .iter()
        .any(|package| interface.starts_with(package));
    known && interface.contains("@0.2.")
}

/// Links the stubs into steps, whose calls are synchronous.
pub(super) fn link_to_steps(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    link_clock(linker)
}

/// Links them into sinks, whose calls may wait, and with them `wasi:http`.
pub(super) fn link_to_sinks(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    link_clock(linker)?;
    super::http::link(linker)
}

/// Exchanges the clock that waits for one that does so only where it is the machine's.
fn link_clock(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(MONOTONIC_CLOCK)?;
    clock.func_wrap("now", |store: StoreContextMut<'_, State>, ()| {
        Ok((store.data().answers().now(),))
    })?;
    clock.func_wrap("resolution", |_store: StoreContextMut<'_, State>, ()| {
        Ok((1_u64,))
    })?;
    clock.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, State>, (when,): (u64,)| {
            let wasi = store.data_mut().answers_mut();
            let duration = when.saturating_sub(wasi.now());
            Ok((wasi.sleep(duration)?,))
        },
    )?;
    clock.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, State>, (duration,): (u64,)| {
            Ok((store.data_mut().answers_mut().sleep(duration)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What WASI is in one instance.
pub(super) struct Wasi {
    pub table: ResourceTable,
    pub http: Http,
    ctx: WasiCtx,
    printed: Printed,
    /// Nanoseconds since 1970 that a monotonic clock shows which is not the machine's.
    elapsed: u64,
    /// Whether the clocks are the machine's.
    is_real: bool,
    made: Instant,
}

impl Wasi {
    /// With requests to the `granted` hosts as far as they are within `reach`.
    pub fn new(granted: Arc<[HostPort]>, reach: Arc<Reach>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let printed = Printed::default();
        let is_real = !granted.is_empty();
        Self {
            table,
            http: Http::new(granted, reach),
            ctx: match is_real {
                true => printed.attached().build(),
                false => stubbed(&printed, &CallContext::NONE),
            },
            printed,
            elapsed: 0,
            is_real,
            made: Instant::now(),
        }
    }

    /// Sets clock and random numbers for a call.
    pub fn begin(&mut self, context: &CallContext) {
        if !self.is_real {
            self.ctx = stubbed(&self.printed, context);
            self.elapsed = nanoseconds(context);
        }
    }

    /// What was printed since it was last asked.
    pub fn printed(&self) -> Lines {
        std::mem::take(&mut self.printed.lock())
    }

    fn now(&self) -> u64 {
        match self.is_real {
            true => u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX),
            false => self.elapsed,
        }
    }

    fn sleep(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        if self.is_real {
            let until = Instant::now().checked_add(Duration::from_nanos(nanoseconds));
            let asleep = self.table.push(Asleep(until))?;
            return subscribe(&mut self.table, asleep);
        }
        self.elapsed = self.elapsed.saturating_add(nanoseconds);
        let awake = self.table.push(Awake)?;
        subscribe(&mut self.table, awake)
    }
}

fn stubbed(printed: &Printed, context: &CallContext) -> WasiCtx {
    let clock = StandingClock(nanoseconds(context));
    let seed = xxh3_64_with_seed(&context.call.to_le_bytes(), context.seed);
    let mut wasi = printed.attached();
    wasi.wall_clock(clock)
        .monotonic_clock(clock)
        .secure_random(Random { seed, drawn: 0 })
        // Another stream of numbers than the secure one's.
        .insecure_random(Random {
            seed: !seed,
            drawn: 0,
        })
        .insecure_random_seed(seed.into())
        .max_random_size(RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false);
    wasi.build()
}

/// A batch time before 1970 is shown as 1970: WASI's time has no sign.
fn nanoseconds(context: &CallContext) -> u64 {
    u64::try_from(context.time.0).map_or(0, |milliseconds| milliseconds.saturating_mul(1_000_000))
}

impl State {
    fn answers(&self) -> &Wasi {
        self.wasi
            .as_ref()
            .expect("linked only into instances that have its state")
    }

    pub fn answers_mut(&mut self) -> &mut Wasi {
        self.wasi
            .as_mut()
            .expect("linked only into instances that have its state")
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = self.answers_mut();
        WasiCtxView { ctx, table }
    }
}

/// A sleep that is over.
struct Awake;

#[async_trait]
impl Pollable for Awake {
    async fn ready(&mut self) {}
}

/// One that takes its time, until then; without a time, for good.
struct Asleep(Option<Instant>);

#[async_trait]
impl Pollable for Asleep {
    async fn ready(&mut self) {
        match self.0 {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// Nanoseconds since 1970.
#[derive(Clone, Copy)]
struct StandingClock(u64);

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl HostMonotonicClock for StandingClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0
    }
}

/// Numbers that follow from a seed, the same on every machine and in every version.
struct Random {
    seed: u64,
    drawn: u64,
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.drawn += 1;
        Ok(xxh3_64_with_seed(&self.drawn.to_le_bytes(), self.seed))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

/// What a plugin has printed, by stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub output: Vec<u8>,
    pub error: Vec<u8>,
}

/// Standard output and standard error of an instance.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Lines>>);

impl Printed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attached(&self) -> wasmtime_wasi::WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        let stream = |bytes_of: fn(&mut Lines) -> &mut Vec<u8>| Stream {
            printed: self.clone(),
            bytes_of,
        };
        wasi.stdout(stream(|lines| &mut lines.output));
        wasi.stderr(stream(|lines| &mut lines.error));
        wasi
    }
}

/// One of them.
#[derive(Clone)]
struct Stream {
    printed: Printed,
    bytes_of: fn(&mut Lines) -> &mut Vec<u8>,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Of WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        let nowhere: Sink = sink();
        Box::new(nowhere)
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut lines = self.printed.lock();
        let kept = (self.bytes_of)(&mut lines);
        let room = PRINTED_BYTES.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINTED_BYTES)
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}
