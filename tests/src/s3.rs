//! An S3 server in a process of its own, on files that a test can look at and damage.

use std::path::PathBuf;
use std::process::Command;

use crate::{Running, build_dir};

/// The name that requests to the server are signed with.
pub const ACCESS_KEY: &str = "tests";
/// The secret that they are signed with.
pub const SECRET_KEY: &str = "a secret of the tests";
/// The one bucket.
pub const BUCKET: &str = "bucket";

/// The server. It ends when this is dropped.
pub struct S3Server {
    endpoint: String,
    folder: tempfile::TempDir,
    _process: Running,
}

impl S3Server {
    /// Starts it, with an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("the folder is writable");
        let process = Running::start(
            Command::new(binary())
                .arg(folder.path())
                .args([ACCESS_KEY, SECRET_KEY]),
        );
        let endpoint = process.wait_for("http://");
        Self {
            endpoint,
            folder,
            _process: process,
        }
    }

    /// `http://HOST:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The file of an object.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(name)
    }

    /// What a program that reaches it has in its environment.
    pub fn variables(&self) -> [(&str, &str); 5] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
        ]
    }

    /// Gives a command the credentials.
    pub fn let_in(command: &mut Command) -> &mut Command {
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    }
}

/// The program, which `cargo xtask test` builds.
fn binary() -> PathBuf {
    let target = build_dir();
    let target = target.parent().expect("a profile lies in target");
    let binary = target.join("s3-server/debug/s3-server");
    assert!(
        binary.exists(),
        "{} is not there: run `cargo xtask test`",
        binary.display()
    );
    binary
}
