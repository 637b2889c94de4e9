//! Compiled code on disk, so that a component is compiled once per machine.
//!
//! An entry's name says what it was compiled from and by what: digest of the component, version of wasmtime, and everything in
//! the engine's settings and the machine that the code depends on. Compiled code is trusted like the program itself, so an
//! entry is read only if it carries a MAC made with a key that only this user can read; a file that somebody else put there, or
//! a damaged one, is compiled anew.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ring::{digest, hmac};
use wasmtime::component::Component;

use crate::error::Failure;
use crate::ids::Digest;

const MAC_BYTES: usize = digest::SHA256_OUTPUT_LEN;
const KEY_BYTES: usize = 32;

/// A folder of compiled components.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    key: hmac::Key,
}

impl Cache {
    /// Opens the cache in `folder`, making folder and key on first use.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::external(format!(
                "the compile cache in {} cannot be used: {error}",
                folder.display()
            ))
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let key = key(&folder.join("key")).map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// The compiled component, from the cache or, after `compile`, for it.
    pub fn get(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        compile: impl FnOnce() -> wasmtime::Result<Component>,
    ) -> wasmtime::Result<Component> {
        let name = entry_name(engine, digest);
        let path = self.folder.join(&name);
        match self.read(&path, &name) {
            Ok(code) => {
                #[expect(unsafe_code, reason = "the only way to load compiled code")]
                // SAFETY: the MAC proves that this user's Wasmill serialised these bytes under this very name.
                let component = unsafe { Component::deserialize(engine, code) };
                match component {
                    Ok(component) => return Ok(component),
                    Err(error) => tracing::debug!(%error, "a compiled component cannot be loaded"),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "a compiled component is damaged and is compiled anew");
            }
        }
        let component = compile()?;
        // A cache that cannot be written costs time at the next start, nothing else.
        if let Err(error) = self.write(&path, &name, &component.serialize()?) {
            tracing::warn!(entry = %path.display(), %error, "a compiled component cannot be kept");
        }
        Ok(component)
    }

    fn read(&self, path: &Path, name: &str) -> io::Result<Vec<u8>> {
        let mut code = fs::read(path)?;
        let start = code
            .len()
            .checked_sub(MAC_BYTES)
            .ok_or(io::ErrorKind::InvalidData)?;
        let found = code.split_off(start);
        match self.mac(name, &code).as_ref() == found {
            true => Ok(code),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its checksum does not fit",
            )),
        }
    }

    /// Written aside and renamed: a reader sees a whole entry or none.
    fn write(&self, path: &Path, name: &str, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(code)?;
        file.write_all(self.mac(name, code).as_ref())?;
        file.persist(path)?;
        Ok(())
    }

    /// HMAC-SHA-256 of the entry's name and code.
    fn mac(&self, name: &str, code: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(name.as_bytes());
        mac.update(code);
        mac.sign()
    }
}

fn entry_name(engine: &wasmtime::Engine, digest: Digest) -> String {
    let mut settings = Settings(Vec::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    let settings = Digest::of(&settings.0);
    format!("{}-{}.code", digest.hex(), &settings.hex()[..32])
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

/// The key in `path`, made and kept there, readable by its owner alone, if there is none.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match fs::read(path) {
        Ok(bytes) => {
            private(path)?;
            bytes.try_into().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its key is damaged; remove the folder",
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut fresh = [0; KEY_BYTES];
            getrandom::fill(&mut fresh).map_err(|error| io::Error::other(error.to_string()))?;
            let folder = path.parent().unwrap_or(Path::new("."));
            // A temporary file is readable by its owner alone from the start.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&fresh)?;
            match file.persist_noclobber(path) {
                Ok(_) => Ok(fresh),
                // Another process was faster: its key is the key.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => key(path),
                Err(error) => Err(error.error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    match fs::metadata(path)?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can read its key; remove the folder",
        )),
    }
}

#[cfg(not(unix))]
fn private(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
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

        fn entry(&self, digest: Digest) -> PathBuf {
            self.folder.path().join(entry_name(&self.engine, digest))
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
        assert_ne!(
            entry_name(&bench.engine, DIGEST),
            entry_name(&other, DIGEST)
        );
        assert_eq!(
            entry_name(&bench.engine, DIGEST),
            entry_name(&wasmtime::Engine::default(), DIGEST)
        );
    }

    #[test]
    fn a_damaged_or_shortened_entry_is_compiled_anew() {
        let bench = Bench::new();
        bench.compiles(DIGEST);
        let whole = fs::read(bench.entry(DIGEST)).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [flipped, whole[..whole.len() - 1].to_vec(), Vec::new()] {
            fs::write(bench.entry(DIGEST), damaged).unwrap();
            assert!(bench.compiles(DIGEST));
            assert!(!bench.compiles(DIGEST), "it was mended");
        }
    }

    #[test]
    fn an_entry_that_somebody_else_made_or_moved_is_not_loaded() {
        let (bench, theirs) = (Bench::new(), Bench::new());
        theirs.compiles(DIGEST);
        Cache::open(bench.folder.path()).unwrap();
        fs::copy(theirs.entry(DIGEST), bench.entry(DIGEST)).unwrap();
        assert!(bench.compiles(DIGEST));
        fs::copy(bench.entry(DIGEST), bench.entry(OTHER)).unwrap();
        assert!(bench.compiles(OTHER));
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
                .ends_with("others can read its key; remove the folder"),
            "{failure}"
        );
    }
}
