//! Compiled code on disk, so that a component is compiled once per machine, and what is known of a component's file.
//!
//! An entry's name says what it was compiled from and by what: digest of the component, version of wasmtime, and everything in
//! the engine's settings and the machine that the code depends on. Compiled code is trusted like the program itself, so an
//! entry is loaded only if its [`seal`] proves that this user's Wasmill made it; a file that somebody else put there, or a damaged one, is
//! compiled anew.
//!
//! A language runtime is 18 MB of component and 36 MB of code. To read all of it at every start would take most of the start, so a file that has
//! been read and proven is not read again while its [`stamp`] says that nobody has written to it.

mod seal;
mod stamp;
mod sweep;

use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;
use xxhash_rust::xxh3::xxh3_128;

use super::clock::give_way;
use super::component::About;
use crate::error::Failure;
use crate::ids::Digest;
use seal::{MAC_BYTES, Seal, damaged};
use stamp::Stamp;
pub use sweep::{forget, sweep};

/// A folder of compiled components.
#[derive(Debug)]
pub(super) struct Cache(Seal);

/// What proves an entry.
#[derive(Serialize, Deserialize)]
struct Proof {
    /// Of its code.
    mac: [u8; MAC_BYTES],
    /// Of the entry when that was last checked.
    stamp: Option<Stamp>,
}

/// What a component's file is.
#[derive(Serialize, Deserialize)]
struct Known {
    stamp: Stamp,
    about: About,
}

impl Cache {
    /// Opens the cache in `folder`, making folder and key on first use.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        Seal::open(folder).map(Self).map_err(|error| {
            let folder = folder.display();
            Failure::external(format!(
                "the compile cache in {folder} cannot be used: {error}"
            ))
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// The compiled component, from the cache or, after `compile`, for it.
    pub fn get(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        compile: impl FnOnce() -> wasmtime::Result<Component>,
    ) -> wasmtime::Result<Component> {
        if let Some(component) = self.find(engine, digest) {
            return Ok(component);
        }
        let component = compile()?;
        let entry = Entry::new(engine, digest);
        // A cache that cannot be written costs time at the next start, nothing else.
        if let Err(error) = self.keep(&entry, &component.serialize()?) {
            let entry = self.0.path(&entry.code);
            tracing::warn!(entry = %entry.display(), %error, "a compiled component cannot be kept");
        }
        Ok(component)
    }

    /// The compiled component, if it is in the cache.
    pub fn find(&self, engine: &wasmtime::Engine, digest: Digest) -> Option<Component> {
        // To prove and to load what is large takes longer than a small epoch.
        let _gives_way = give_way();
        let entry = Entry::new(engine, digest);
        match self.prove(&entry) {
            Ok(()) => {
                sweep::used(&self.0.path(&entry.proof));
                #[expect(unsafe_code, reason = "the only way to load compiled code")]
                // SAFETY: its proof says that this user's Wasmill made this file under this very name; only this user can write to it.
                let component =
                    unsafe { Component::deserialize_file(engine, self.0.path(&entry.code)) };
                match component {
                    Ok(component) => return Some(component),
                    Err(error) => tracing::debug!(%error, "a compiled component cannot be loaded"),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let entry = self.0.path(&entry.code);
                tracing::warn!(entry = %entry.display(), %error, "a compiled component is damaged and is compiled anew");
            }
        }
        None
    }

    /// Makes sure that the entry is what was written.
    fn prove(&self, entry: &Entry) -> io::Result<()> {
        let stamp = Stamp::of(&fs::metadata(self.0.path(&entry.code))?);
        let proof: Proof = decode(&self.0.read(&entry.proof)?)?;
        if stamp.is_some() && stamp == proof.stamp {
            return Ok(());
        }
        if self.0.mac_of(&entry.code)? != proof.mac {
            return Err(damaged());
        }
        if let Some(stamp) = settled(stamp) {
            let proof = Proof {
                stamp: Some(stamp),
                ..proof
            };
            // Without it, the next start takes as long as this one.
            self.0.write(&entry.proof, &encode(&proof)).ok();
        }
        Ok(())
    }

    fn keep(&self, entry: &Entry, code: &[u8]) -> io::Result<()> {
        self.0.write_bare(&entry.code, &[code])?;
        let proof = Proof {
            mac: self.0.mac_of(&entry.code)?,
            stamp: None,
        };
        self.0.write(&entry.proof, &encode(&proof))
    }

    /// What the file of a component is, if it has been read and has not changed since.
    pub fn recall(&self, file: &Path) -> Option<About> {
        let stamp = Stamp::of(&fs::metadata(file).ok()?)?;
        let name = name_of(file)?;
        let known: Known = decode(&self.0.read(&name).ok()?).ok()?;
        sweep::used(&self.0.path(&name));
        (known.stamp == stamp).then_some(known.about)
    }

    /// Keeps what a file of this state was found to be.
    pub fn remember(&self, file: &Path, before: &fs::Metadata, about: &About) {
        if let (Some(stamp), Some(name)) = (settled(Stamp::of(before)), name_of(file)) {
            let known = Known {
                stamp,
                about: about.clone(),
            };
            self.0.write(&name, &encode(&known)).ok();
        }
    }
}

fn settled(stamp: Option<Stamp>) -> Option<Stamp> {
    stamp.filter(|stamp| stamp.is_settled(SystemTime::now()))
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("plain data can be encoded")
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(io::Error::other)
}

/// Under which name it is kept what is known of a component's file.
fn name_of(file: &Path) -> Option<String> {
    let path = fs::canonicalize(file).ok()?;
    Some(format!(
        "{:032x}.about",
        xxh3_128(path.as_os_str().as_encoded_bytes())
    ))
}

/// The files of a compiled component.
struct Entry {
    code: String,
    proof: String,
}

impl Entry {
    fn new(engine: &wasmtime::Engine, digest: Digest) -> Self {
        let mut settings = Settings(Vec::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        let settings = Digest::of(&settings.0);
        let name = format!("{}-{}", digest.hex(), &settings.hex()[..32]);
        Self {
            code: format!("{name}.code"),
            proof: format!("{name}.proof"),
        }
    }
}

/// Gathers what is to be hashed: the standard library's hasher promises nothing from one release to the next.
struct Settings(Vec<u8>);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken as a whole")
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        engine: wasmtime::Engine,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self {
                folder,
                engine: wasmtime::Engine::default(),
            }
        }

        /// Whether the component of this digest had to be compiled.
        fn compiles(&self, digest: Digest) -> bool {
            let mut compiled = false;
            let cache = Cache::open(self.folder.path()).unwrap();
            let component = cache.get(&self.engine, digest, || {
                compiled = true;
                Component::from_binary(&self.engine, &wat::parse_str("(component)")?)
            });
            component.unwrap();
            compiled
        }

        fn code(&self, digest: Digest) -> PathBuf {
            self.folder
                .path()
                .join(Entry::new(&self.engine, digest).code)
        }

        fn proof(&self, digest: Digest) -> PathBuf {
            self.folder
                .path()
                .join(Entry::new(&self.engine, digest).proof)
        }

        /// Lets the entry look as if it had not been touched for an hour, which a test cannot wait for.
        fn proves(&self, digest: Digest) {
            let cache = Cache::open(self.folder.path()).unwrap();
            let entry = Entry::new(&self.engine, digest);
            let mac = cache.0.mac_of(&entry.code).unwrap();
            let stamp = Stamp::of(&fs::metadata(self.code(digest)).unwrap());
            let proof = Proof { mac, stamp };
            cache.0.write(&entry.proof, &encode(&proof)).unwrap();
        }
    }

    const DIGEST: Digest = Digest([7; 32]);
    const OTHER: Digest = Digest([8; 32]);

    #[test]
    fn what_was_compiled_once_is_not_compiled_again() {
        let bench = Bench::new();
        assert!(bench.compiles(DIGEST));
        assert!(!bench.compiles(DIGEST));
        assert!(bench.compiles(OTHER));
    }

    #[test]
    fn other_settings_have_entries_of_their_own() {
        let bench = Bench::new();
        let other =
            wasmtime::Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        let name = |engine| Entry::new(engine, DIGEST).code;
        assert_ne!(name(&bench.engine), name(&other));
        assert_eq!(name(&bench.engine), name(&wasmtime::Engine::default()));
    }

    #[test]
    fn a_damaged_or_shortened_entry_is_compiled_anew() {
        let bench = Bench::new();
        bench.compiles(DIGEST);
        for file in [bench.code(DIGEST), bench.proof(DIGEST)] {
            let whole = fs::read(&file).unwrap();
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 1;
            for damaged in [flipped, whole[..whole.len() - 1].to_vec(), Vec::new()] {
                bench.proves(DIGEST);
                fs::write(&file, damaged).unwrap();
                assert!(bench.compiles(DIGEST), "{}", file.display());
                assert!(!bench.compiles(DIGEST), "it was mended");
            }
        }
    }

    #[test]
    fn an_entry_that_nobody_has_touched_is_not_read_again_and_one_that_was_touched_is() {
        let bench = Bench::new();
        bench.compiles(DIGEST);
        let cache = Cache::open(bench.folder.path()).unwrap();
        let entry = Entry::new(&bench.engine, DIGEST);
        let wrong = Proof {
            mac: [0; MAC_BYTES],
            stamp: Stamp::of(&fs::metadata(bench.code(DIGEST)).unwrap()),
        };
        cache.0.write(&entry.proof, &encode(&wrong)).unwrap();
        assert!(!bench.compiles(DIGEST), "the stamp is proof enough");
        let code = fs::read(bench.code(DIGEST)).unwrap();
        fs::remove_file(bench.code(DIGEST)).unwrap();
        fs::write(bench.code(DIGEST), code).unwrap();
        assert!(bench.compiles(DIGEST), "another file, and its MAC is wrong");
    }

    #[test]
    fn an_entry_that_somebody_else_made_or_moved_is_not_loaded() {
        let (bench, theirs) = (Bench::new(), Bench::new());
        theirs.compiles(DIGEST);
        Cache::open(bench.folder.path()).unwrap();
        let copy = |from: &Bench, as_of: Digest, to: Digest| {
            fs::copy(from.code(as_of), bench.code(to)).unwrap();
            fs::copy(from.proof(as_of), bench.proof(to)).unwrap();
        };
        copy(&theirs, DIGEST, DIGEST);
        assert!(bench.compiles(DIGEST));
        copy(&bench, DIGEST, OTHER);
        assert!(bench.compiles(OTHER));
    }

    #[test]
    fn what_a_file_is_stays_known_until_it_is_written_to() {
        let bench = Bench::new();
        let cache = Cache::open(bench.folder.path()).unwrap();
        let file = bench.folder.path().join("plugin.wasm");
        fs::write(&file, "one").unwrap();
        let about = About {
            digest: DIGEST,
            world: crate::plugin::World::Sink,
            version: "0.1.0".into(),
            imports: Vec::new(),
            was_module: true,
        };
        cache.remember(&file, &fs::metadata(&file).unwrap(), &about);
        assert_eq!(
            cache.recall(&file),
            None,
            "it may still be written to unseen"
        );
        let known = Known {
            stamp: Stamp::of(&fs::metadata(&file).unwrap()).unwrap(),
            about: about.clone(),
        };
        cache
            .0
            .write(&name_of(&file).unwrap(), &encode(&known))
            .unwrap();
        assert_eq!(cache.recall(&file), Some(about));
        fs::write(&file, "three").unwrap();
        assert_eq!(cache.recall(&file), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_no_key() {
        use std::os::unix::fs::PermissionsExt;

        let bench = Bench::new();
        bench.compiles(DIGEST);
        let key = bench.folder.path().join("key");
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let failure = Cache::open(bench.folder.path()).unwrap_err();
        assert!(
            failure
                .message
                .ends_with("others can read it; remove the folder"),
            "{failure}"
        );
    }
}
