//! What Wasmill promises, run end to end: the real binary, real plugins, real sockets, files and signals.
//!
//! `cargo xtask test` builds the binary and the plugins first. [`wasmill()`] is the command under test, [`Running`] one that is
//! running, [`author`] is who writes a plugin, [`browser`] a Chromium, [`golden`] compares a folder's pipeline with what it should give, [`guide`] follows a page of the
//! documentation, [`http`] is a server for webhooks, [`jobs`] a supervisor, [`server`] a `wasmill serve`, [`webdav`] a server for files, [`pipeline`] a folder that one runs in,
//! [`python`] has programs of PyPI, [`registry`] is one of components, [`signer`] signs them, [`manifest`] reads as the readers of a `files` sink do, [`hostile`] means harm, [`torture`] kills.

pub mod author;
pub mod browser;
pub mod collector;
pub mod golden;
#[path = "../../host/src/plugin/tests/guests.rs"]
pub mod guests;
pub mod guide;
pub mod hostile;
pub mod http;
pub mod jobs;
pub mod manifest;
pub mod picky;
pub mod pipeline;
pub mod proxy;
pub mod python;
pub mod registry;
pub mod s3;
pub mod server;
pub mod signer;
pub mod token_server;
pub mod torture;
pub mod webdav;

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use serde_json::Value;

/// Longer than anything here takes on a slow and busy machine: past it, it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of this build, beside which the binary lies.
fn build_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    test.ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps")
        .to_owned()
}

/// The folder of components that `cargo xtask plugins` has built.
pub fn plugins() -> PathBuf {
    let folder = build_dir()
        .parent()
        .expect("a profile lies in target")
        .join("plugins");
    assert!(
        folder.exists(),
        "{} is not there: run `cargo xtask plugins`",
        folder.display()
    );
    folder
}

/// The `wasmill` program of this build.
pub fn binary() -> PathBuf {
    let binary = build_dir().join("wasmill");
    assert!(
        binary.exists(),
        "{} is not there: run `cargo xtask plugins`",
        binary.display()
    );
    binary
}

/// The `wasmill` command of this build, which finds the plugins and no setting of the person who runs the tests.
pub fn wasmill() -> Command {
    let mut command = Command::new(binary());
    command
        .env("WASMILL_PLUGINS", plugins())
        .env_remove("FAILPOINTS")
        .stdin(Stdio::null());
    command
}

/// A `wasmill` process with its output being collected.
pub struct Running {
    child: Child,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
    lines: crossbeam_channel::Receiver<String>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of its standard output.
    pub out: String,
    /// All of its standard error.
    pub err: String,
}

impl Running {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (tell, lines) = crossbeam_channel::unbounded();
        let out = collect(child.stdout.take().expect("piped"), Some(tell.clone()));
        let err = collect(child.stderr.take().expect("piped"), Some(tell));
        Self {
            child,
            out: Some(out),
            err: Some(err),
            lines,
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of its output or its log contains `text`.
    pub fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_deadline(deadline) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("`{text}` did not come: {error}"),
            }
        }
    }

    /// The next line of its output or its log, or nothing when it has ended.
    pub fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line came"),
        }
    }

    /// Sends a signal, by the name `kill` knows.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Whether it has come to its end.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("a child can be waited for");
        status.is_some()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().expect("a child can be killed");
                self.child.wait().expect("a child can be waited for");
                let err = self
                    .err
                    .take()
                    .expect("taken once")
                    .join()
                    .expect("collected");
                panic!("it did not end; its log:\n{err}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ended {
            status,
            out: self
                .out
                .take()
                .expect("taken once")
                .join()
                .expect("collected"),
            err: self
                .err
                .take()
                .expect("taken once")
                .join()
                .expect("collected"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone where the test went well.
        if self.out.is_some() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

impl Ended {
    /// Fails the test unless the process succeeded.
    pub fn succeeded(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n{}\n{}",
            self.status,
            self.out,
            self.err
        );
        self
    }

    /// Fails the test unless the process failed with this exit code.
    pub fn failed_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// The summary that `--log json` ends with.
    pub fn summary(&self) -> Value {
        let last = self.err.lines().last().unwrap_or_default();
        let summary: Value = serde_json::from_str(last).expect("`--log json` writes JSON");
        assert!(summary["nodes"].is_object(), "no summary:\n{}", self.err);
        summary
    }
}

fn collect(
    stream: impl std::io::Read + Send + 'static,
    tell: Option<crossbeam_channel::Sender<String>>,
) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(stream).lines() {
            let line = line.expect("wasmill writes utf8");
            all.push_str(&line);
            all.push('\n');
            if let Some(tell) = &tell {
                // The test may have ended.
                tell.send(line).ok();
            }
        }
        all
    })
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// Addresses on loopback that are free now.
pub fn free_addresses(count: usize) -> Vec<String> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"))
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().expect("bound").to_string())
        .collect()
}

/// A server on loopback that speaks to the first peer that connects, on a thread of its own, and to no other.
pub fn serve(speak: impl FnOnce(TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let server = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = server.local_addr().expect("bound").to_string();
    server.set_nonblocking(true).expect("a socket can be");
    let thread = std::thread::spawn(move || {
        let mut accepted = None;
        wait_until("a peer", || {
            accepted = server.accept().ok();
            accepted.is_some()
        });
        drop(server);
        let (peer, _) = accepted.expect("waited for");
        peer.set_nonblocking(false).expect("a socket can be");
        speak(peer);
    });
    (address, thread)
}

/// Waits until the program at the other end of a connection over loopback has read all that was sent into it.
pub fn wait_until_read(peer: &TcpStream) {
    let ours = as_the_kernel_writes(peer.local_addr().expect("connected"));
    let theirs = as_the_kernel_writes(peer.peer_addr().expect("connected"));
    wait_until("the reader", || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the kernel lists them");
        // Per socket: its number, its address, its peer's, its state, and the bytes in its queues, those it sends and those it got.
        sockets.lines().all(|socket| {
            let fields: Vec<&str> = socket.split_whitespace().take(5).collect();
            match fields.as_slice() {
                [_, from, to, _, queues] if (*from, *to) == (&*ours, &*theirs) => {
                    queues.starts_with("00000000:")
                }
                [_, from, to, _, queues] if (*from, *to) == (&*theirs, &*ours) => {
                    queues.ends_with(":00000000")
                }
                _ => true,
            }
        })
    });
}

fn as_the_kernel_writes(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else {
        panic!("{address} is not of IPv4");
    };
    format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(ip.octets()),
        address.port()
    )
}

/// Waits until something has come about.
pub fn wait_until(what: &str, mut has_come: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !has_come() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts `processes` processes of one pipeline with `workers` workers each; `adapt` may change each command.
pub fn start_cluster(
    file: &Path,
    processes: usize,
    workers: usize,
    mut adapt: impl FnMut(usize, &mut Command),
) -> Vec<Running> {
    let hosts = file.with_file_name("hosts.txt");
    std::fs::write(&hosts, free_addresses(processes).join("\n")).expect("the folder is writable");
    (0..processes)
        .map(|process| {
            let mut command = wasmill();
            command
                .arg("run")
                .arg(file)
                .args(["--workers", &workers.to_string()]);
            if processes > 1 {
                command
                    .arg("--hosts")
                    .arg(&hosts)
                    .args(["--process", &process.to_string()]);
                command.env("WASMILL_TOKEN", "tests");
            }
            adapt(process, &mut command);
            Running::start(&mut command)
        })
        .collect()
}

/// The manifest of a plugin whose build copies one that is there.
pub fn copies(kind: &str, plugin: &str) -> String {
    let component = plugins().join(format!("{plugin}.wasm"));
    format!(
        "name = \"copied\"\nkind = \"{kind}\"\nlanguage = \"other\"\nbuild = [\"cp\", {component:?}, \"copy.wasm\"]\ncomponent = \"copy.wasm\"\n"
    )
}

/// A temporary folder with a pipeline file and other files in it.
pub fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }
    folder
}

/// All lines of the files that a `files` sink has made visible in `folder`, in the order of epochs and partitions.
pub fn delivered(folder: &Path) -> Vec<String> {
    let sorted = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("readable").path())
            .collect();
        paths.sort();
        paths
    };
    let epochs = sorted(folder).into_iter().filter(|epoch| {
        let name = epoch.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("epoch-"))
    });
    let files = epochs.flat_map(|epoch| sorted(&epoch));
    files
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).expect("wasmill writes utf8");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// The most memory that a process has had resident, in bytes.
pub fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the kernel counts it");
    let kilobytes = line.trim().trim_end_matches(" kB").trim();
    kilobytes.parse::<u64>().expect("a number") << 10
}
