//! Several processes as one run: they find each other, agree on what they run, and tell each other how it ends.
//!
//! Each process opens a data connection to every other (timely speaks on it) and a control connection to process 0
//! ([`control`]): heartbeats, the reason of a failure, the end. timely itself has no handshake and hangs on a lost
//! peer, so both are ours.

pub mod control;
mod frame;
mod handshake;

use std::any::Any;
use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use self::control::Control;
use self::handshake::{Arrival, Channel, Hello};
use super::{ClusterOptions, Stop};
use crate::abort::{Abort, on_stray_panic};
use crate::error::Failure;
use crate::ids::{Digest, Generation, ProcessIndex};
use crate::pipeline::Plan;

/// How often a process that is not up yet is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// How long the control connection gets to say why a peer is gone before a broken data connection is given as the reason.
pub const GRACE: Duration = Duration::from_millis(300);

/// A process that has met all others.
pub struct Cluster {
    process: ProcessIndex,
    generation: Generation,
    data: Vec<Option<TcpStream>>,
    control: Control,
}

impl Cluster {
    /// This process.
    pub fn process(&self) -> ProcessIndex {
        self.process
    }

    /// Which start of the pipeline this is, as process 0 has claimed it.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// How many there are.
    pub fn processes(&self) -> usize {
        self.data.len()
    }

    /// The allocators for `workers` local workers, timely's network threads, and the control connection.
    pub fn split(self, workers: usize) -> Result<Split, Failure> {
        let hooks = Hooks::default();
        let inside =
            ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) =
            initialize_networking_from_sockets(inside, self.data, self.process.0, workers, hooks)
                .map_err(|error| {
                Failure::external(format!("the data connections could not be used: {error}"))
            })?;
        let allocators = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        Ok((allocators, Box::new(guard), Some(self.control)))
    }
}

/// What [`Cluster::split`] gives.
pub type Split = (Vec<AllocatorBuilder>, Box<dyn Any + Send>, Option<Control>);

/// Meets the other processes, or says which one is missing or different. Process 0 tells them what generation it has `claimed`.
pub fn join(
    plan: &Plan,
    place: &ClusterOptions,
    workers: usize,
    claimed: Generation,
    abort: &Abort,
    stop: &Stop,
) -> Result<Cluster, Failure> {
    let hosts = read_hosts(&place.hosts)?;
    let process = place.process;
    if process.0 >= hosts.len() {
        return Err(Failure::user(format!(
            "there is no process {process}: {} names {} processes, counted from 0",
            place.hosts.display(),
            hosts.len()
        )));
    }
    let hello = Hello {
        pipeline: plan.name.clone(),
        plan: plan.code.digest,
        generation: (process == ProcessIndex(0)).then_some(claimed),
        process,
        processes: hosts.len(),
        workers,
        token: Digest::of(place.token.as_bytes()),
        channel: Channel::Data,
    };
    let deadline = Instant::now() + place.start_timeout;
    let listener = TcpListener::bind(&hosts[process.0]).map_err(|error| {
        Failure::external(format!(
            "process {process} cannot listen on {}: {error}",
            hosts[process.0]
        ))
        .help(format!(
            "line {} of {} must be an address of this machine with a free port",
            process.0 + 1,
            place.hosts.display()
        ))
    })?;
    let mut meeting = Meeting {
        hosts: &hosts,
        hello,
        deadline,
        data: HashMap::new(),
        control: HashMap::new(),
    };
    meeting.connect_down()?;
    meeting.await_up(&listener)?;
    let Meeting {
        mut data,
        control,
        hello,
        ..
    } = meeting;
    let sockets = (0..hosts.len()).map(|peer| data.remove(&peer)).collect();
    let control = Control::start(process, hosts, control, abort.clone(), stop.clone())?;
    listen_for_broken_connections(abort.clone());
    Ok(Cluster {
        process,
        generation: hello.generation.unwrap_or_default(),
        data: sockets,
        control,
    })
}

fn read_hosts(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::user(format!(
            "cannot read the hosts file {}: {error}",
            path.display()
        ))
    })?;
    let hosts: Vec<String> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    for host in &hosts {
        if !host
            .rsplit_once(':')
            .is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
        {
            return Err(Failure::user(format!(
                "`{host}` in {} is not host:port",
                path.display()
            )));
        }
    }
    if hosts.is_empty() {
        return Err(Failure::user(format!(
            "the hosts file {} names no process",
            path.display()
        )));
    }
    Ok(hosts)
}

/// The connections made so far, by process.
struct Meeting<'a> {
    hosts: &'a [String],
    hello: Hello,
    deadline: Instant,
    data: HashMap<usize, TcpStream>,
    control: HashMap<usize, TcpStream>,
}

impl Meeting<'_> {
    /// Connects to every process with a lower number: the higher one of a pair calls.
    fn connect_down(&mut self) -> Result<(), Failure> {
        for peer in 0..self.hello.process.0 {
            let (stream, generation) = self.connect(peer, Channel::Data)?;
            self.data.insert(peer, stream);
            // The first one called is process 0.
            self.hello.generation = generation;
        }
        if self.hello.process.0 > 0 {
            let (stream, _) = self.connect(0, Channel::Control)?;
            self.control.insert(0, stream);
        }
        Ok(())
    }

    fn connect(
        &self,
        peer: usize,
        channel: Channel,
    ) -> Result<(TcpStream, Option<Generation>), Failure> {
        let hello = Hello {
            channel,
            ..self.hello.clone()
        };
        loop {
            if let Ok(stream) = TcpStream::connect(&self.hosts[peer]) {
                return handshake::call(stream, &hello, peer, &self.hosts[peer], self.deadline);
            }
            if Instant::now() >= self.deadline {
                return Err(self.missing(peer));
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Waits for the calls of every process with a higher number.
    fn await_up(&mut self, listener: &TcpListener) -> Result<(), Failure> {
        let (arrive, arrivals) = crossbeam_channel::unbounded();
        listener
            .set_nonblocking(true)
            .map_err(|error| Failure::external(format!("the listening socket failed: {error}")))?;
        while let Some(peer) = self.first_missing() {
            // Each handshake on a thread of its own: a stranger that says nothing must not hold up the others.
            if let Ok((stream, from)) = listener.accept() {
                let (hello, arrive) = (self.hello.clone(), arrive.clone());
                std::thread::spawn(move || {
                    // Nobody listens once everyone has come.
                    arrive.send((from, handshake::answer(stream, &hello))).ok();
                });
            }
            match arrivals.recv_timeout(RETRY) {
                Ok((_, Arrival::Welcome(channel, process, stream))) => {
                    let connections = if channel == Channel::Data {
                        &mut self.data
                    } else {
                        &mut self.control
                    };
                    connections.insert(process.0, stream);
                }
                Ok((from, Arrival::Stranger(why))) => {
                    tracing::warn!("turned away a connection from {from}: {why}");
                }
                Ok((_, Arrival::Different(failure))) => return Err(failure),
                Err(_) if Instant::now() >= self.deadline => return Err(self.missing(peer)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn first_missing(&self) -> Option<usize> {
        let above = self.hello.process.0 + 1..self.hosts.len();
        let wants_control = self.hello.process.0 == 0;
        above.clone().find(|peer| {
            !self.data.contains_key(peer) || wants_control && !self.control.contains_key(peer)
        })
    }

    fn missing(&self, peer: usize) -> Failure {
        Failure::external(format!(
            "process {peer} at {} did not appear in time",
            self.hosts[peer]
        ))
        .help("start every process of the hosts file within the start time-out (`--start-timeout`)")
    }
}

/// timely's network threads panic when a peer is gone. The control connection usually knows why: give it time to say so.
fn listen_for_broken_connections(abort: Abort) {
    on_stray_panic(move |thread, what| {
        let Some(peer) = thread
            .strip_prefix("timely:send-")
            .or_else(|| thread.strip_prefix("timely:recv-"))
        else {
            return false;
        };
        let deadline = Instant::now() + GRACE;
        while !abort.is_set() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        abort.fail(Failure::external(format!(
            "the data connection to process {peer} broke: {what}"
        )));
        true
    });
}
