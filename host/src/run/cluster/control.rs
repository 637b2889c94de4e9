//! The control connections: a star around process 0 that carries heartbeats, the reason of a failure, and the end.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};

use super::frame;
use crate::abort::Abort;
use crate::error::Failure;
use crate::ids::{NodeName, ProcessIndex};
use crate::run::Stop;
use crate::telemetry::NodeCounts;

/// How often each side says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// How long a silent peer counts as alive. A killed process is noticed at once, by its socket; this is for a lost machine.
const SILENCE: Duration = Duration::from_secs(10);

/// One process's counters.
type Counts = BTreeMap<NodeName, NodeCounts>;

#[derive(Serialize, Deserialize)]
enum Message {
    Heartbeat,
    /// The run has failed.
    Abort(Failure),
    /// Please drain.
    Drain,
    /// This process's part is done.
    Done(Counts),
    /// Every process's part is done.
    AllDone,
}

/// This process's control connections: to all others in process 0, to process 0 in the others.
pub struct Control {
    process: ProcessIndex,
    writers: Arc<Writers>,
    /// What peers that are done counted.
    done: Receiver<Counts>,
    /// The connections may close now.
    ended: Arc<AtomicBool>,
}

type Writers = HashMap<usize, Mutex<TcpStream>>;

impl Control {
    /// Starts the threads that listen to the peers and speak to them.
    pub(super) fn start(
        process: ProcessIndex,
        hosts: Vec<String>,
        streams: HashMap<usize, TcpStream>,
        abort: Abort,
        stop: Stop,
    ) -> Result<Self, Failure> {
        let broken =
            |error: io::Error| Failure::external(format!("a control connection failed: {error}"));
        let (tell, done) = crossbeam_channel::unbounded();
        let ended = Arc::new(AtomicBool::new(false));
        let mut writers = Writers::new();
        for (peer, stream) in streams {
            stream.set_read_timeout(Some(SILENCE)).map_err(broken)?;
            let reader = stream.try_clone().map_err(broken)?;
            writers.insert(peer, Mutex::new(stream));
            let ear = Ear {
                name: format!("process {peer} at {}", hosts[peer]),
                abort: abort.clone(),
                stop: stop.clone(),
                done: tell.clone(),
                ended: ended.clone(),
            };
            std::thread::spawn(move || ear.listen(reader));
        }
        let writers = Arc::new(writers);
        abort.on_failure({
            let writers = writers.clone();
            move |failure| send_all(&writers, &Message::Abort(failure.clone()))
        });
        let control = Self {
            process,
            writers,
            done,
            ended,
        };
        control.start_heart(stop);
        Ok(control)
    }

    fn start_heart(&self, stop: Stop) {
        let (writers, ended) = (self.writers.clone(), self.ended.clone());
        let first = self.process.0 == 0;
        std::thread::spawn(move || {
            let mut asked = false;
            while !ended.load(Ordering::Acquire) {
                if !first && !asked && stop.is_requested() {
                    asked = true;
                    send_all(&writers, &Message::Drain);
                }
                send_all(&writers, &Message::Heartbeat);
                std::thread::sleep(HEARTBEAT);
            }
        });
    }

    /// This process's part is over: waits for the others. Answers the counts of all in process 0, else its own.
    pub fn finish(self, mut counts: Counts, abort: &Abort) -> Counts {
        if abort.is_set() {
            return counts;
        }
        if self.process.0 > 0 {
            send_all(&self.writers, &Message::Done(counts.clone()));
            // Process 0 answers with an empty count when everyone is done.
            wait(&self.done, abort);
        } else {
            for _ in 0..self.writers.len() {
                for (node, other) in wait(&self.done, abort).unwrap_or_default() {
                    counts.entry(node).or_default().add(&other);
                }
            }
            self.ended.store(true, Ordering::Release);
            if !abort.is_set() {
                send_all(&self.writers, &Message::AllDone);
            }
        }
        self.ended.store(true, Ordering::Release);
        counts
    }
}

fn wait(done: &Receiver<Counts>, abort: &Abort) -> Option<Counts> {
    while !abort.is_set() {
        if let Ok(counts) = done.recv_timeout(Duration::from_millis(20)) {
            return Some(counts);
        }
    }
    None
}

fn send_all(writers: &Writers, message: &Message) {
    for stream in writers.values() {
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        // A peer that cannot be written to is noticed by the thread that listens to it.
        frame::write(&mut *stream, message).ok();
    }
}

/// Listens to one peer.
struct Ear {
    name: String,
    abort: Abort,
    stop: Stop,
    done: Sender<Counts>,
    ended: Arc<AtomicBool>,
}

impl Ear {
    fn listen(self, mut stream: TcpStream) {
        loop {
            match frame::read(&mut stream) {
                Ok(Message::Heartbeat) => {}
                Ok(Message::Abort(failure)) => self.abort.fail(failure),
                Ok(Message::Drain) => self.stop.request(),
                // The receiver lives as long as the run.
                Ok(Message::Done(counts)) => drop(self.done.send(counts)),
                Ok(Message::AllDone) => {
                    self.ended.store(true, Ordering::Release);
                    drop(self.done.send(Counts::new()));
                    return;
                }
                Err(error) => {
                    if !self.ended.load(Ordering::Acquire) {
                        self.abort.fail(self.lost(&error));
                    }
                    return;
                }
            }
        }
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let message = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{} has been silent for {SILENCE:?}", self.name)
            }
            io::ErrorKind::InvalidData => format!("{} does not make sense: {error}", self.name),
            _ => format!("{} was lost", self.name),
        };
        Failure::external(message)
            .help("all processes of the run have ended; look at that process's own output, then start all of them again")
    }
}
