//! A WebDAV server on loopback, as far as `sink-webdav` goes, with its files in memory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::http::{Raw, read_raw};

/// Every file by its name.
type Files = BTreeMap<String, String>;

/// What becomes of a request beside its answer; told its method and name, before it is done and after.
type Hook = Box<dyn FnMut(&str, &str, When) + Send>;

/// On which side of a request a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing has changed.
    Before,
    /// It is done, and not answered yet.
    After,
}

/// A running server; its thread ends with the test.
pub struct WebDav {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    files: Files,
    hook: Hook,
}

impl WebDav {
    /// Starts one without files.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            files: Files::new(),
            hook: Box::new(|_, _, _| ()),
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                // A client that is killed leaves a request half said.
                let Some(request) = read_raw(&stream) else {
                    continue;
                };
                let status = lock(&shared).answer(&request);
                let head = format!(
                    "HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).ok();
            }
        });
        Self { address, state }
    }

    /// Has something done at each request from now on.
    pub fn at_each(&self, hook: impl FnMut(&str, &str, When) + Send + 'static) {
        lock(&self.state).hook = Box::new(hook);
    }

    /// What there is now.
    pub fn files(&self) -> Files {
        lock(&self.state).files.clone()
    }
}

impl State {
    fn answer(&mut self, request: &Raw) -> u16 {
        let name = request.path.trim_start_matches('/').to_owned();
        (self.hook)(&request.method, &name, When::Before);
        let status = self.change(request, &name);
        (self.hook)(&request.method, &name, When::After);
        status
    }

    fn change(&mut self, request: &Raw, name: &str) -> u16 {
        match request.method.as_str() {
            "PUT" => {
                let text = String::from_utf8(request.body.clone()).expect("JSON is UTF-8");
                self.files.insert(name.to_owned(), text);
                201
            }
            "MOVE" => {
                let Some(text) = self.files.remove(name) else {
                    return 404;
                };
                let target = request.headers["destination"].rsplit('/').next();
                let target = target.expect("an address").to_owned();
                match self.files.insert(target, text) {
                    None => 201,
                    Some(_) => 204,
                }
            }
            "HEAD" if self.files.contains_key(name) => 200,
            "DELETE" if self.files.remove(name).is_some() => 204,
            _ => 404,
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("a hook that panics fails its test")
}
