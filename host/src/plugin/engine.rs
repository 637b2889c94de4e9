//! The runtime, set up once per process, and what it compiled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, PoolingAllocationConfig, WasmBacktraceDetails};

use super::World;
use super::bindings::wasmill::plugin::host;
use super::cache::Cache;
use super::capture::Captures;
use super::clock::{Clock, give_way};
use super::component::{About, ImportedFunction, Parsed, parse};
use super::host::State;
use super::http::OUTGOING_HANDLER;
use super::limits::{Limits, MOST_TABLE_ELEMENTS};
use super::pool::MemoryPool;
use super::quota::Quota;
use super::reach::Reach;
use super::wasi;
use crate::bounded::Bounded;
use crate::error::{Failure, Fault};
use crate::ids::Digest;
use crate::secret::SecretSource;

/// Stack of a sink's fiber beyond what its guest may use, for the host functions that it calls.
const FIBER_HOST_STACK: u64 = 1 << 20;

/// Linear memories that steps may have at a time, and sinks as many: 4 GiB of address space each, of the 128 TiB that a process has.
pub(super) const INSTANCES: u32 = 4000;
/// Tables for each of them: the guest's own, those of what joins its modules, and some that one in a hundred needs.
const TABLES: u32 = 4;
/// Tables of one module.
const MODULE_TABLES: u32 = 100;
/// Calls of sinks that may wait at a time: each has a stack, whose end takes 3 us to protect when the first sink is bound.
const STACKS: u32 = 500;
/// Bytes of a slot that are cleaned and stay; the rest is given back. Most calls write less.
const RESIDENT: usize = 512 << 10;
/// Slots for each core that are not in use and have not been given back.
const WARM: u32 = 4;
/// What the runtime itself may need for an instance: some tens of bytes for each function, import and global of a module.
const INSTANCE_BYTES: usize = 16 << 20;

/// The interface of `host.log`.
const HOST: &str = "wasmill:plugin/host@0.1.0";

/// One wasmtime engine and its compile cache; cheap to clone. A process needs one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    cache: Cache,
    quota: Arc<Quota>,
    memory: Arc<MemoryPool>,
    reach: Arc<Reach>,
    secrets: RwLock<SecretSource>,
    /// By what wasmtime fixes per engine: whether calls wait, and the size of their stack.
    runtimes: Mutex<BTreeMap<(Place, u64), Arc<Runtime>>>,
    captures: OnceLock<Captures>,
    /// Who compiles what is not in the cache, if not this process.
    elsewhere: Option<Bounded>,
    compiling: Mutex<()>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// What an engine's instances are part of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Steps, whose calls return before anything else is done on their thread.
    Step,
    /// Sinks, whose calls wait: each has a stack of its own.
    Sink,
}

impl Place {
    fn of(world: World) -> Self {
        match world {
            World::Transform | World::Reducer | World::Keyed => Self::Step,
            World::Sink => Self::Sink,
        }
    }
}

/// An engine with what components can be linked to.
pub(super) struct Runtime {
    pub engine: wasmtime::Engine,
    pub clock: Clock,
    /// `host.log`, the stubs of WASI, and in sinks what `grants.http` opens.
    pub calls: Linker<State>,
    /// The same names, where all that leads outside of the plugin traps.
    pub describe: Linker<State>,
}

impl Runtime {
    fn new(place: Place, stack: u64) -> wasmtime::Result<Self> {
        let mut config = config(stack);
        let apart = config.clone();
        config.allocation_strategy(pool(place));
        let engine = wasmtime::Engine::new(&config).or_else(|error| {
            // Under a bound on memory, as where tenants' components are compiled, or with strict accounting. Code is the same for both.
            tracing::debug!("instances lie each in memory of its own: {error:#}");
            wasmtime::Engine::new(&apart)
        })?;
        let mut calls = Linker::new(&engine);
        host::add_to_linker::<State, State>(&mut calls, |state| &mut state.log)?;
        // The functions that lead out of the plugin, by interface and name.
        let log = (HOST, "log");
        let outside = match place {
            Place::Step => {
                wasi::link_to_steps(&mut calls)?;
                vec![log]
            }
            Place::Sink => {
                wasi::link_to_sinks(&mut calls)?;
                vec![log, (OUTGOING_HANDLER, "handle")]
            }
        };
        let mut describe = calls.clone();
        describe.allow_shadowing(true);
        for (interface, function) in outside {
            let mut interface = describe.instance(interface)?;
            interface.func_new(function, |_, _, _, _| {
                Err(wasmtime::Error::msg(ONLY_COMPUTES))
            })?;
        }
        let ticking = engine.clone();
        let clock = Clock::start(move || ticking.increment_epoch())?;
        Ok(Self {
            engine,
            clock,
            calls,
            describe,
        })
    }
}

/// What an import says that is called in `describe`.
pub(super) const ONLY_COMPUTES: &str = "`describe` only computes";

impl Engine {
    /// An engine whose compiled code is cached below `cache`, a folder of this user's.
    ///
    /// # Errors
    /// When the folder cannot be made or its key is not private.
    pub fn new(cache: &Path) -> Result<Self, Failure> {
        Self::with(cache, None)
    }

    /// An engine that compiles nothing in this process: what is not in the cache has a child process put there, within its bounds.
    ///
    /// # Errors
    /// When the folder cannot be made or its key is not private.
    pub fn compiling_elsewhere(cache: &Path, bounded: Bounded) -> Result<Self, Failure> {
        Self::with(cache, Some(bounded))
    }

    fn with(cache: &Path, elsewhere: Option<Bounded>) -> Result<Self, Failure> {
        let cache = Cache::open(cache)?;
        Ok(Self(Arc::new(Inner {
            cache,
            quota: Arc::default(),
            memory: Arc::default(),
            reach: Arc::default(),
            secrets: RwLock::new(SecretSource::Names(None)),
            runtimes: Mutex::default(),
            captures: OnceLock::new(),
            elsewhere,
            compiling: Mutex::default(),
        })))
    }

    /// Has calls that fail kept in `folder`, from now on and for good.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn capture_to(&self, folder: &Path) -> Result<(), Failure> {
        self.0.captures.set(Captures::open(folder)?).ok();
        Ok(())
    }

    /// Loads and compiles a component, or a core module with wit-bindgen metadata.
    ///
    /// # Errors
    /// When the file cannot be read, or is no plugin; the message names it.
    pub fn load(&self, path: &Path) -> Result<Component, Failure> {
        let failed =
            |error| Failure::user(format!("plugin {} cannot be read: {error}", path.display()));
        let before = std::fs::metadata(path).map_err(failed)?;
        let name = path
            .file_stem()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        if let Some(about) = self.0.cache.recall(path) {
            return self.loaded(&name, about, Source::File(path.to_owned()));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let component = match &self.0.elsewhere {
            None => self.load_bytes(&name, &bytes)?,
            Some(_) => {
                let about = parse_named(&name, &bytes)?.about;
                self.loaded(&name, about, Source::File(path.to_owned()))?
            }
        };
        self.0.cache.remember(path, &before, &component.0.about);
        Ok(component)
    }

    /// Loads and compiles what [`Self::load`] would find in a file; `name` is how messages call it.
    ///
    /// # Errors
    /// When the bytes are no plugin.
    pub fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Component, Failure> {
        let parsed = parse_named(name, bytes)?;
        self.loaded(name, parsed.about, Source::Bytes(parsed.bytes))
    }

    fn loaded(&self, name: &str, about: About, source: Source) -> Result<Component, Failure> {
        let component = Component(Arc::new(Loaded {
            engine: self.clone(),
            name: name.into(),
            about,
            source,
        }));
        component.compiled(Limits::default().stack)?;
        Ok(component)
    }

    /// How much processor time its plugins may take.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.0.quota
    }

    /// How much memory its plugins have, and may have.
    pub fn memory(&self) -> &Arc<MemoryPool> {
        &self.0.memory
    }

    /// Which private addresses its plugins may send requests to.
    pub fn reach(&self) -> &Arc<Reach> {
        &self.0.reach
    }

    /// Takes the secrets that plugins' settings name from there, in whatever is bound from now on.
    pub fn use_secrets(&self, source: SecretSource) {
        *self
            .0
            .secrets
            .write()
            .unwrap_or_else(PoisonError::into_inner) = source;
    }

    /// A plugin's configuration with its secrets in it.
    ///
    /// # Errors
    /// When there is no such secret.
    pub(super) fn fill(&self, config: &serde_json::Value) -> Result<serde_json::Value, Failure> {
        let secrets = self.0.secrets.read();
        secrets.unwrap_or_else(PoisonError::into_inner).fill(config)
    }

    fn runtime(&self, world: World, stack: u64) -> Result<Arc<Runtime>, Failure> {
        let place = Place::of(world);
        let mut runtimes = self
            .0
            .runtimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtimes.get(&(place, stack)) {
            return Ok(runtime.clone());
        }
        let runtime = Runtime::new(place, stack).map_err(|error| {
            Failure::internal(format!("the WebAssembly runtime cannot start: {error:#}"))
        })?;
        let runtime = Arc::new(runtime);
        runtimes.insert((place, stack), runtime.clone());
        Ok(runtime)
    }
}

fn parse_named(name: &str, bytes: &[u8]) -> Result<Parsed, Failure> {
    parse(bytes).map_err(|failure| Failure {
        message: format!("plugin `{name}`: {}", failure.message),
        ..failure
    })
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
        // Lines for a guest that has DWARF. Not from the environment: what is compiled must not depend on it.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

/// Slots for instances. Making memory for an instance and giving it back stops all threads of the process for a moment, which with
/// several workers and small epochs took more time than the plugins; a slot is only cleaned, and most of it stays mapped. What a slot may hold
/// is address space, not memory: as much as any `limits` allow.
fn pool(place: Place) -> PoolingAllocationConfig {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(INSTANCES)
        .total_tables(TABLES * INSTANCES)
        .max_tables_per_module(MODULE_TABLES)
        .table_elements(MOST_TABLE_ELEMENTS as usize)
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT)
        // Finds what is to be cleaned, where the kernel can tell.
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(WARM * cores)
        // Structures of the runtime itself, which limits do not count.
        .total_component_instances(u32::MAX)
        .total_core_instances(u32::MAX)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES)
        .total_stacks(match place {
            Place::Step => 0,
            Place::Sink => STACKS,
        });
    pool
}

/// A loaded and compiled component; cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Loaded>);

struct Loaded {
    engine: Engine,
    name: Arc<str>,
    about: About,
    source: Source,
}

/// Where a component's bytes are, for whoever needs them.
enum Source {
    /// Here.
    Bytes(Vec<u8>),
    /// In a file that was read before, by this process or another.
    File(PathBuf),
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Component")
            .field(&self.0.name)
            .field(&self.0.about.digest)
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
        self.0.about.digest
    }

    /// The component, also of what was loaded as a core module.
    ///
    /// # Errors
    /// When its file is not what it was.
    pub(super) fn bytes(&self) -> Result<Cow<'_, [u8]>, Failure> {
        let Loaded { about, source, .. } = &*self.0;
        let path = match source {
            Source::Bytes(bytes) => return Ok(Cow::Borrowed(bytes)),
            Source::File(path) => path,
        };
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let same = read.and_then(|bytes| match parse(&bytes) {
            Ok(parsed) if parsed.about == *about => Ok(Cow::Owned(parsed.bytes)),
            _ => Err("it has changed since it was loaded".to_owned()),
        });
        same.map_err(|wrong| {
            Failure::user(format!("plugin {} cannot be read: {wrong}", path.display()))
        })
    }

    /// Where its failed calls are kept, if anywhere.
    pub(super) fn captures(&self) -> Option<&Captures> {
        self.0.engine.0.captures.get()
    }

    /// What there is to know of it.
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// The world it implements.
    pub fn world(&self) -> World {
        self.0.about.world
    }

    /// The functions it imports.
    pub fn imports(&self) -> &[ImportedFunction] {
        &self.0.about.imports
    }

    /// Whose quotas its calls are held to.
    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Its code for engines with this stack size, compiled or from the cache.
    pub(super) fn compiled(
        &self,
        stack: u64,
    ) -> Result<(Arc<Runtime>, wasmtime::component::Component), Failure> {
        let Loaded {
            engine,
            name,
            about,
            ..
        } = &*self.0;
        let runtime = engine.runtime(about.world, stack)?;
        if let Some(bounded) = &engine.0.elsewhere {
            let compiled = self.compiled_elsewhere(&runtime, bounded)?;
            return Ok((runtime, compiled));
        }
        let compiled = engine.0.cache.get(&runtime.engine, about.digest, || {
            let _gives_way = give_way();
            let bytes = self.bytes().map_err(wasmtime::Error::new)?;
            wasmtime::component::Component::from_binary(&runtime.engine, &bytes)
        });
        let compiled = compiled.map_err(|error| {
            Failure::user(format!("plugin `{name}` cannot be compiled: {error:#}"))
        })?;
        Ok((runtime, compiled))
    }

    fn compiled_elsewhere(
        &self,
        runtime: &Runtime,
        bounded: &Bounded,
    ) -> Result<wasmtime::component::Component, Failure> {
        let Loaded {
            engine,
            name,
            about,
            source,
        } = &*self.0;
        let cache = &engine.0.cache;
        let find = || cache.find(&runtime.engine, about.digest);
        if let Some(found) = find() {
            return Ok(found);
        }
        // After an update of this program all plugins are compiled again: one after the other, and each once.
        let compiling = engine.0.compiling.lock();
        let _compiling = compiling.unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find() {
            return Ok(found);
        }
        let Source::File(path) = source else {
            let message = format!("plugin `{name}` is in no file that a child process could read");
            return Err(Failure::internal(message));
        };
        compile(bounded, path, cache.folder()).map_err(|failure| Failure {
            message: format!("plugin `{name}` cannot be compiled: {}", failure.message),
            // It could be when it was pushed.
            fault: Fault::External,
            ..failure
        })?;
        find().ok_or_else(|| {
            let cache = cache.folder().display();
            Failure::external(format!(
                "the code of plugin `{name}` was not kept in {cache}"
            ))
            .help("look whether the disk is full")
        })
    }
}

/// Has a child process compile the component in a file into a cache.
///
/// # Errors
/// When it is no plugin, or takes too much.
pub fn compile(bounded: &Bounded, file: &Path, cache: &Path) -> Result<About, Failure> {
    let arguments = [
        "compile".as_ref(),
        file.as_os_str(),
        "--cache".as_ref(),
        cache.as_os_str(),
    ];
    bounded.ask("compile", &arguments, &())
}
