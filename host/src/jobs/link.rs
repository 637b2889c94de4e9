//! The supervisor's end of one runner: starts it, carries orders to it and reports from it, ends it.

use std::fs::{self, File};
use std::io::{self, BufReader, PipeReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::protocol::{Order, PROTOCOL, Report, hear, say};
use super::{JobsOptions, runner};
use crate::behind::{Rank, start_behind};
use crate::bounded::join_argument;
use crate::ids::TenantId;
use crate::plugin::Engine;
use crate::thread;

/// How long a process may take to be gone after its output has ended.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// How much less a runner's threads count than the server's: a tenant that takes all of the processor leaves the server able to answer.
const RANK: Rank = Rank::Nice(5);

/// What comes from a runner.
#[derive(Debug)]
pub enum Heard {
    /// It has said something.
    Report(Box<Report>),
    /// It is gone, and this is how; the last that is heard.
    Gone(String),
}

/// A runner. Closed or dropped, its orders end: it drains what it runs and is gone.
#[derive(Debug)]
pub struct Link {
    orders: Option<Sender<Order>>,
    /// `None` for one on threads of this process.
    child: Option<Arc<Mutex<Child>>>,
}

impl Link {
    /// Starts a runner of a tenant; `hear` is called on a thread of its own.
    ///
    /// # Errors
    /// When the system cannot start it.
    pub fn start(
        options: &JobsOptions,
        tenant: &TenantId,
        hear: impl FnMut(Heard) + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, queue) = crossbeam_channel::unbounded();
        // The first order; there is room for any number.
        orders.send(Order::Hello { protocol: PROTOCOL }).ok();
        let child = match options.in_process {
            true => {
                start_thread(options, tenant, queue, hear)?;
                None
            }
            false => Some(start_process(options, tenant, queue, hear)?),
        };
        Ok(Self {
            orders: Some(orders),
            child,
        })
    }

    /// Gives an order. A runner that is gone does not get it, which is told by [`Heard::Gone`].
    pub fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            orders.send(order).ok();
        }
    }

    /// No order comes any more.
    pub fn close(&mut self) {
        self.orders = None;
    }

    /// Ends the process on the spot. Threads cannot be ended so: they are asked to drain when the link is dropped.
    pub fn kill(&self) {
        if let Some(child) = &self.child {
            let child = child.lock();
            // Gone already, if it fails.
            child.unwrap_or_else(PoisonError::into_inner).kill().ok();
        }
    }
}

fn start_process(
    options: &JobsOptions,
    tenant: &TenantId,
    queue: Receiver<Order>,
    mut hear: impl FnMut(Heard) + Send + 'static,
) -> io::Result<Arc<Mutex<Child>>> {
    let cgroups = options.cgroups.as_ref();
    let cgroup = cgroups.map(|groups| groups.tenant(tenant)).transpose()?;
    let collector = options.collector.iter();
    let traces = collector.flat_map(|collector| ["--traces", collector.endpoint()]);
    let mut command = Command::new(&options.program.program);
    command
        .arg("runner")
        .arg("--cache")
        .arg(&options.cache)
        .args(options.program.bounds.arguments())
        .args(join_argument(cgroup.as_deref()))
        .args(traces)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(last_words(options, tenant)?);
    // Ctrl-C in a terminal is for the server, which drains its runners.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let (mut child, _) = start_behind(command, RANK)?;
    let stdin = child.stdin.take().expect("piped");
    let stdout = child.stdout.take().expect("piped");
    let child = Arc::new(Mutex::new(child));
    thread::spawn(format!("to:{tenant}"), move || carry(stdin, &queue));
    thread::spawn(format!("from:{tenant}"), {
        let child = child.clone();
        move || {
            listen(stdout, &mut hear);
            hear(Heard::Gone(wait(&child)));
        }
    });
    Ok(child)
}

fn start_thread(
    options: &JobsOptions,
    tenant: &TenantId,
    queue: Receiver<Order>,
    mut hear: impl FnMut(Heard) + Send + 'static,
) -> io::Result<()> {
    let (orders, stdin): (PipeReader, _) = io::pipe()?;
    let (reports, stdout) = io::pipe()?;
    thread::spawn(format!("to:{tenant}"), move || carry(stdin, &queue));
    let engine = Engine::compiling_elsewhere(&options.cache, options.program.clone());
    let collector = options.collector.clone();
    let runner = thread::spawn(format!("runner:{tenant}"), move || {
        // A wall around this process would be one around its server.
        runner::serve(
            BufReader::new(orders),
            stdout,
            engine,
            collector,
            Box::new(|_| ()),
        )
    });
    thread::spawn(format!("from:{tenant}"), move || {
        listen(reports, &mut hear);
        let how = match runner.join() {
            Ok(Ok(())) => "it has ended".to_owned(),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "it has panicked".to_owned(),
        };
        hear(Heard::Gone(how));
    });
    Ok(())
}

/// Where what a runner says on its standard error is kept: of this one, and of the one before it.
fn last_words(options: &JobsOptions, tenant: &TenantId) -> io::Result<File> {
    let folder = options.data.join("runners");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{tenant}.log"));
    // There may have been none.
    fs::rename(&file, folder.join(format!("{tenant}.log.old"))).ok();
    File::create(file)
}

fn carry(mut stdin: impl Write, queue: &Receiver<Order>) {
    for order in queue {
        if say(&mut stdin, &order).is_err() {
            return;
        }
    }
}

fn listen(stdout: impl Read, tell: &mut impl FnMut(Heard)) {
    let mut stdout = BufReader::new(stdout);
    loop {
        match hear(&mut stdout) {
            Ok(Some(report)) => tell(Heard::Report(Box::new(report))),
            Ok(None) => return,
            Err(error) => {
                // Whatever it is, it is no runner any more.
                tracing::error!(%error, "a runner speaks nonsense and is ended");
                return;
            }
        }
    }
}

/// Waits for the end of a process whose output has ended, and says how it went.
fn wait(child: &Mutex<Child>) -> String {
    let began = Instant::now();
    loop {
        let mut process = child.lock().unwrap_or_else(PoisonError::into_inner);
        match process.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) => {}
            Err(error) => return error.to_string(),
        }
        if began.elapsed() > EXIT_LIMIT {
            process.kill().ok();
        }
        drop(process);
        std::thread::sleep(Duration::from_millis(5));
    }
}
