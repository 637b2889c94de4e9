//! A `wasmill serve` on loopback, asked over HTTP as written here, byte by byte, and through the command line.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Ended, PATIENCE, Running, plugins, run, wait_until, wasmill};

/// A server with its data in a temporary folder.
pub struct Server {
    running: Running,
    home: TempDir,
    address: String,
    /// The administrator's token.
    pub admin: String,
    environment: BTreeMap<String, String>,
}

/// A port that is free.
const ANYWHERE: &str = "127.0.0.1:0";

/// Counts the words of the tenant's files for ever.
pub const COUNTS: &str = r#"name = "counts"

[epoch]
interval = "50ms"

[sources.lines]
type = "files"
path = "in"
poll_interval = "50ms"

[steps.words]
input = "lines"
plugin = "split-words"

[steps.totals]
input = "words"
plugin = "running-count"
group_by = ["word"]

[sinks.out]
input = "totals"
type = "files"
path = "out"
"#;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// `200`
    pub status: u16,
    /// The body, if it is JSON.
    pub json: Value,
}

impl Server {
    /// Starts one with more arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(wasmill(), arguments)
    }

    /// Starts one of this `wasmill`.
    pub fn of(command: Command, arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let data = home.path().join("data");
        let (running, address, token) = launch(command, &data, ANYWHERE, arguments);
        Self {
            running,
            home,
            address,
            admin: token.expect("the first start prints a token"),
            environment: BTreeMap::new(),
        }
    }

    /// Starts one that has these variables, also when it is started again.
    pub fn knowing(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = wasmill();
        command.envs(environment.iter().copied());
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            environment: environment.iter().map(owned).collect(),
            ..Self::of(command, arguments)
        }
    }

    /// Ends it by a signal and starts it again on the same data, on another port; gives the token that it printed.
    pub fn restart(&mut self, signal: &str, arguments: &[&str]) -> Option<String> {
        self.restart_at(ANYWHERE, signal, arguments)
    }

    /// Kills it and starts it again where it was.
    pub fn kill_and_restart(&mut self) {
        self.restart_at(&self.address.clone(), "KILL", &[]);
    }

    fn restart_at(&mut self, listen: &str, signal: &str, arguments: &[&str]) -> Option<String> {
        self.end_by(signal);
        let mut command = wasmill();
        command.envs(&self.environment);
        let (running, address, token) = launch(command, &self.data(), listen, arguments);
        (self.running, self.address) = (running, address);
        token
    }

    /// Starts one of the same environment and administrator on another machine, which has nothing but this folder of a tenant's files.
    pub fn successor(&self, arguments: &[&str], tenant: &str, folder: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = wasmill();
        command.envs(&self.environment);
        let data = home.path().join("data");
        let folder = data.join("tenants").join(tenant).join("files").join(folder);
        fs::create_dir_all(folder).expect("a temporary folder is writable");
        let (running, address, _) = launch(command, &data, ANYWHERE, arguments);
        Self {
            running,
            home,
            address,
            admin: self.admin.clone(),
            environment: self.environment.clone(),
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.end_by("KILL");
    }

    fn end_by(&mut self, signal: &str) {
        self.running.signal(signal);
        wait_until("its end", || self.running.has_ended());
    }

    /// Waits until it ends by itself.
    pub fn end(self) -> Ended {
        self.running.end()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The local files of a tenant.
    pub fn files(&self, tenant: &str) -> PathBuf {
        self.data().join("tenants").join(tenant).join("files")
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it as a person would.
    pub fn stop(self) -> Ended {
        self.running.signal("TERM");
        self.end()
    }

    /// Asks with a token.
    pub fn ask(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let header = format!("Authorization: Bearer {token}\r\n");
        self.exchange(&header, method, path, body)
    }

    /// Asks with these headers.
    pub fn exchange(&self, headers: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let kind = match body.starts_with(b"{") {
            true => "Content-Type: application/json\r\n",
            false => "",
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{kind}{headers}\r\n"
        );
        let mut stream = self.connect();
        // A server that refuses does not wait for all of it.
        let sent = stream.write_all(head.as_bytes());
        sent.and_then(|()| stream.write_all(body)).ok();
        read(stream)
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket can be");
        stream
    }

    /// Asks with JSON, and fails the test unless it is done.
    pub fn done(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.ask(token, method, path, body.to_string().as_bytes());
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
        answer.json
    }

    /// Makes a tenant, and gives a token of it.
    pub fn tenant(&self, name: &str) -> String {
        let new = serde_json::json!({ "name": name });
        self.done(&self.admin, "POST", "/v1/tenants", &new);
        self.token(name, "test")
    }

    /// Gives a token of a tenant.
    pub fn token(&self, tenant: &str, label: &str) -> String {
        let (path, new) = (
            format!("/v1/tenants/{tenant}/tokens"),
            serde_json::json!({ "label": label }),
        );
        let made = self.done(&self.admin, "POST", &path, &new);
        made["token"].as_str().expect("a token").to_owned()
    }

    /// Runs a client command as the holder of a token, whose logins are in this server's folder.
    pub fn client(&self, token: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        command
            .env("WASMILL_URL", format!("http://{}", self.address))
            .env("WASMILL_TOKEN", token);
        run(&mut command)
    }

    /// A client command that knows no server but by its logins.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = wasmill();
        command
            .args(arguments)
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env_remove("WASMILL_URL")
            .env_remove("WASMILL_TOKEN")
            .env_remove("WASMILL_TENANT");
        command
    }

    /// How a pipeline goes.
    pub fn status(&self, token: &str, tenant: &str, pipeline: &str) -> Value {
        let path = format!("/v1/tenants/{tenant}/pipelines/{pipeline}/status");
        self.ask(token, "GET", &path, b"").json
    }

    /// Waits until a pipeline is in a phase, and gives its status.
    pub fn wait_for_phase(&self, token: &str, tenant: &str, pipeline: &str, phase: &str) -> Value {
        let mut status = Value::Null;
        wait_until(phase, || {
            status = self.status(token, tenant, pipeline);
            status["phase"]["phase"] == phase
        });
        status
    }
}

/// Starts a server, and waits until it listens; gives where, and the token that it printed.
fn launch(
    mut command: Command,
    data: &Path,
    listen: &str,
    arguments: &[&str],
) -> (Running, String, Option<String>) {
    command.arg("serve").arg("--data").arg(data);
    let running = Running::start(command.args(["--listen", listen]).args(arguments));
    let (mut address, mut token, mut needs_token) = (None, None, false);
    while address.is_none() || (needs_token && token.is_none()) {
        let line = running
            .next_line()
            .expect("it does not end before it listens");
        // The two streams come in any order, but it says that there is a token before it says that it listens.
        needs_token |= line.contains("administrator's token");
        if line.starts_with("wm_") {
            token = Some(line);
        } else if let Some((_, at)) = line.split_once("listening on ") {
            let (_, host) = at.split_once("://").expect("an address");
            address = Some(host.to_owned());
        }
    }
    (running, address.expect("waited for"), token)
}

/// Reads an answer to its end.
pub fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A server that closes before it has read everything resets the connection, behind its answer.
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("this is no answer: {text:?}")),
        json: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

/// The component of a plugin.
pub fn component(name: &str) -> PathBuf {
    plugins().join(format!("{name}.wasm"))
}

/// Pushes a component as a version of `name`.
pub fn push(server: &Server, token: &str, tenant: &str, name: &str, file: &str) -> Value {
    let bytes = std::fs::read(component(file)).expect("as the test has it");
    let answer = put(server, token, tenant, name, &bytes);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json
}

/// Tries to push some bytes.
pub fn put(server: &Server, token: &str, tenant: &str, name: &str, bytes: &[u8]) -> Answer {
    let path = format!("/v1/tenants/{tenant}/plugins/{name}");
    server.ask(token, "PUT", &path, bytes)
}

/// Applies a pipeline file, whose first text is its name.
pub fn apply(server: &Server, token: &str, tenant: &str, text: &str) -> Answer {
    let name = text.split('"').nth(1).expect("as the test has it");
    let path = format!("/v1/tenants/{tenant}/pipelines/{name}");
    let body = serde_json::json!({ "text": text }).to_string();
    server.ask(token, "PUT", &path, body.as_bytes())
}
