//! Debian's `minisign`, which is not ours, as signer of components and as judge of signatures.

use std::fs;
use std::process::Command;

use crate::server::component;

/// A folder with a key pair, `key` and `pub`, and what was signed with it.
pub struct Signer {
    folder: tempfile::TempDir,
}

impl Signer {
    /// With a pair of its own.
    pub fn with_keys() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let signer = Self { folder };
        signer.minisign(&["-G", "-W", "-p", "pub", "-s", "key"]);
        signer
    }

    /// Runs `minisign` in the folder.
    pub fn minisign(&self, arguments: &[&str]) {
        let done = Command::new("minisign")
            .args(arguments)
            .current_dir(self.folder.path())
            .output();
        let done = done.expect("minisign is installed: `cargo xtask test` says how");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }

    /// Has `minisign` judge a signature of a file, both here.
    pub fn judges_true(&self, file: &str, signature: &str) {
        self.minisign(&["-V", "-p", "pub", "-m", file, "-x", signature]);
    }

    /// A file of it, as the command line names it.
    pub fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("utf8").to_owned()
    }

    /// The key as a policy has it.
    pub fn key(&self) -> String {
        let text = fs::read_to_string(self.path("pub")).expect("it was made");
        text.lines().nth(1).expect("a key").to_owned()
    }

    /// The key's id, as minisign shows it.
    pub fn id(&self) -> String {
        let text = fs::read_to_string(self.path("pub")).expect("it was made");
        let first = text.lines().next().expect("a comment");
        first.rsplit(' ').next().expect("an id").to_owned()
    }

    /// Puts a component here, signed: `NAME.wasm` and `NAME.wasm.minisig`.
    pub fn sign(&self, name: &str) -> (String, String) {
        let (file, bytes) = (format!("{name}.wasm"), fs::read(component(name)));
        fs::write(self.path(&file), bytes.expect("built")).expect("writable");
        self.minisign(&["-S", "-W", "-s", "key", "-m", &file]);
        (self.path(&file), self.path(&format!("{file}.minisig")))
    }
}
