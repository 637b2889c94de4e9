//! Debian's `docker-registry` on loopback, and `skopeo`, which is not ours either, to fill it and to look into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill::ids::Digest;

use crate::Running;
use crate::token_server::{self, tls};

/// Who is let in where a login is wanted.
pub const USER: &str = "acme";
/// With it.
pub const PASSWORD: &str = "a secret";
/// Both, as `htpasswd -nbB` writes them: the registry takes bcrypt alone.
const HTPASSWD: &str = "acme:$2y$05$mQR6JsOvbLQGWAoYdsTpAOWoJIXj6p4FtMhes36/GdwueAIwppPlO\n";

/// A registry. It ends when this is dropped.
pub struct Registry {
    host: String,
    folder: TempDir,
    _process: Running,
}

impl Registry {
    /// One that lets everybody in.
    pub fn open() -> Self {
        Self::start("")
    }

    /// One that lets [`USER`] in.
    pub fn with_login() -> Self {
        Self::start("auth: { htpasswd: { realm: tests, path: \"{folder}/htpasswd\" } }\n")
    }

    /// One that speaks TLS alone, as `registry.test`, and wants a token of [`token_server`], which it gives to [`USER`].
    pub fn with_tokens() -> Self {
        let (certificate, key) = (tls("cert.pem"), tls("key.pem"));
        let files = json!({ "certificate": certificate, "key": key });
        let token = json!({
            "realm": token_server::start(), "service": token_server::NAME, "issuer": token_server::NAME,
            "rootcertbundle": certificate,
        });
        Self::start_as(&files, &format!("auth: {{ token: {token} }}\n"))
    }

    fn start(more: &str) -> Self {
        Self::start_as(&json!({}), more)
    }

    fn start_as(tls: &Value, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "version: 0.1\nlog: {{ accesslog: {{ disabled: true }} }}\nstorage: {{ filesystem: {{ rootdirectory: \"{{folder}}/data\" }} }}\nhttp: {{ addr: \"127.0.0.1:0\", tls: {tls} }}\n{more}"
        );
        let config = config.replace("{folder}", folder.path().to_str().expect("utf8"));
        let file = folder.path().join("config.yml");
        fs::write(&file, config).expect("writable");
        fs::write(folder.path().join("htpasswd"), HTPASSWD).expect("writable");
        let process = Running::start(Command::new("docker-registry").arg("serve").arg(file));
        let line = process.wait_for("listening on ");
        let (_, at) = line.split_once("listening on ").expect("waited for");
        // `127.0.0.1:PORT"`, or `127.0.0.1:PORT, tls"`.
        let (host, _) = at.split_once(['"', ',']).expect("a message ends");
        Self {
            host: host.to_owned(),
            folder,
            _process: process,
        }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address of what it has there.
    pub fn address(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.host)
    }

    /// The file in which it keeps what has this digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blobs = self
            .folder
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// The manifest of what it has there, as skopeo reads it.
    pub fn manifest(&self, name: &str) -> Value {
        let raw = self.skopeo(&["inspect", "--tls-verify=false", "--raw", &self.docker(name)]);
        serde_json::from_str(&raw).expect("a manifest is JSON")
    }

    /// Has skopeo fetch what it has there, into a folder of blobs that are called by their digests.
    pub fn fetch(&self, name: &str) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let to = format!("dir:{}", folder.path().display());
        self.skopeo(&["copy", "--src-tls-verify=false", &self.docker(name), &to]);
        folder
    }

    /// Has skopeo put a config and layers there, each with its media type.
    pub fn fill(&self, name: &str, config: (&str, &[u8]), layers: &[(&str, &[u8])]) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blob = |(kind, bytes): &(&str, &[u8])| {
            let digest = Digest::of(bytes);
            fs::write(folder.path().join(digest.hex()), bytes).expect("writable");
            json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(&config),
            "layers": layers.iter().map(blob).collect::<Vec<_>>(),
        });
        put(
            folder.path(),
            "version",
            "Directory Transport Version: 1.1\n",
        );
        put(folder.path(), "manifest.json", &manifest.to_string());
        let from = format!("dir:{}", folder.path().display());
        self.skopeo(&["copy", "--dest-tls-verify=false", &from, &self.docker(name)]);
    }

    fn docker(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host)
    }

    fn skopeo(&self, arguments: &[&str]) -> String {
        let done = Command::new("skopeo")
            .arg("--insecure-policy")
            .args(arguments)
            .output();
        let done = done.expect("skopeo is installed: `cargo xtask test` says how");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).expect("it writes utf8")
    }
}

fn put(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("writable");
}
