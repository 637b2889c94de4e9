//! The runtime, set up once per process, and what it compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, WasmBacktraceDetails};

use super::World;
use super::bindings::wasmill::plugin::host;
use super::cache::Cache;
use super::component::{ImportedFunction, Parsed, parse};
use super::host::State;
use super::http;
use super::limits::Limits;
use super::quota::Quota;
use crate::error::Failure;
use crate::ids::Digest;

/// How often deadlines are looked at: fine enough for a deadline of 10 ms, 200 wake-ups a second of one thread.
const TICK: Duration = Duration::from_millis(5);
/// Stack of a sink's fiber beyond what its guest may use, for the host functions that it calls.
const FIBER_HOST_STACK: u64 = 1 << 20;

/// One wasmtime engine and its compile cache; cheap to clone. A process needs one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    cache: Cache,
    quota: Arc<Quota>,
    /// By stack size, the one bound that wasmtime fixes per engine. All but the default's are made on demand.
    runtimes: Mutex<BTreeMap<u64, Arc<Runtime>>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// An engine with what components can be linked to.
pub(super) struct Runtime {
    pub engine: wasmtime::Engine,
    /// `host.log`.
    pub bare: Linker<State>,
    /// And what `grants.http` opens.
    pub with_http: Linker<State>,
}

/// Deadlines in ticks of the engine's clock. The first tick may come at once, so one is added.
pub(super) fn ticks(deadline: Duration) -> u64 {
    (deadline.as_nanos().div_ceil(TICK.as_nanos()) as u64).saturating_add(1)
}

impl Engine {
    /// An engine whose compiled code is cached below `cache`, a folder of this user's.
    ///
    /// # Errors
    /// When the folder cannot be made or its key is not private.
    pub fn new(cache: &Path) -> Result<Self, Failure> {
        let cache = Cache::open(cache)?;
        Ok(Self(Arc::new(Inner {
            cache,
            quota: Arc::default(),
            runtimes: Mutex::default(),
        })))
    }

    /// Loads and compiles a component, or a core module with wit-bindgen metadata.
    ///
    /// # Errors
    /// When the file cannot be read, or is no plugin; the message names it.
    pub fn load(&self, path: &Path) -> Result<Component, Failure> {
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::user(format!("plugin {} cannot be read: {error}", path.display()))
        })?;
        let name = path
            .file_stem()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        self.load_bytes(&name, &bytes)
    }

    /// Loads and compiles what [`Self::load`] would find in a file; `name` is how messages call it.
    ///
    /// # Errors
    /// When the bytes are no plugin.
    pub fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Component, Failure> {
        let parsed = parse(bytes).map_err(|failure| Failure {
            message: format!("plugin `{name}`: {}", failure.message),
            ..failure
        })?;
        let component = Component(Arc::new(Loaded {
            engine: self.clone(),
            name: name.into(),
            parsed,
        }));
        component.compiled(Limits::default().stack)?;
        Ok(component)
    }

    /// How much processor time its plugins may take.
    pub fn quota(&self) -> &Quota {
        &self.0.quota
    }

    fn runtime(&self, stack: u64) -> Result<Arc<Runtime>, Failure> {
        let mut runtimes = self
            .0
            .runtimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtimes.get(&stack) {
            return Ok(runtime.clone());
        }
        let runtime = Runtime::new(stack).map_err(|error| {
            Failure::internal(format!("the WebAssembly runtime cannot start: {error:#}"))
        })?;
        let runtime = Arc::new(runtime);
        runtimes.insert(stack, runtime.clone());
        Ok(runtime)
    }
}

impl Runtime {
    fn new(stack: u64) -> wasmtime::Result<Self> {
        let engine = wasmtime::Engine::new(&config(stack))?;
        let mut bare = Linker::new(&engine);
        host::add_to_linker::<State, State>(&mut bare, |state| &mut state.log)?;
        let mut with_http = bare.clone();
        http::link(&mut with_http)?;
        start_ticking(&engine)?;
        Ok(Self {
            engine,
            bare,
            with_http,
        })
    }
}

/// What a guest can use is exactly what the contract needs, and the same on every machine.
fn config(stack: u64) -> Config {
    let stack = usize::try_from(stack).expect("a stack is at most 1 MiB");
    let mut config = Config::new();
    config
        // Component calls cost two to three times as much with it.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack + FIBER_HOST_STACK as usize)
        // A replay on another machine gives the same bits.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        // Not from the environment: what is compiled must not depend on it.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// Moves the engine's clock on until the engine is gone.
fn start_ticking(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let ticker = thread::Builder::new().name("wasm-ticker".into());
    ticker.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    })?;
    Ok(())
}

/// A loaded and compiled component; cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Loaded>);

struct Loaded {
    engine: Engine,
    name: Arc<str>,
    parsed: Parsed,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Component")
            .field(&self.0.name)
            .field(&self.0.parsed.digest)
            .finish()
    }
}

impl Component {
    /// How messages call it: the file's name without its ending.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// SHA-256 of the file's bytes.
    pub fn digest(&self) -> Digest {
        self.0.parsed.digest
    }

    /// The world it implements.
    pub fn world(&self) -> World {
        self.0.parsed.world
    }

    /// The functions it imports.
    pub fn imports(&self) -> &[ImportedFunction] {
        &self.0.parsed.imports
    }

    pub(super) fn quota(&self) -> &Arc<Quota> {
        &self.0.engine.0.quota
    }

    /// Its code for engines with this stack size, compiled or from the cache.
    pub(super) fn compiled(
        &self,
        stack: u64,
    ) -> Result<(Arc<Runtime>, wasmtime::component::Component), Failure> {
        let Loaded {
            engine,
            name,
            parsed,
        } = &*self.0;
        let runtime = engine.runtime(stack)?;
        let compiled = engine.0.cache.get(&runtime.engine, parsed.digest, || {
            wasmtime::component::Component::from_binary(&runtime.engine, &parsed.bytes)
        });
        let compiled = compiled.map_err(|error| {
            Failure::user(format!("plugin `{name}` cannot be compiled: {error:#}"))
        })?;
        Ok((runtime, compiled))
    }
}
