//! Processes that count less than the one that starts them.

use std::convert::Infallible;
use std::io;
use std::process::{Child, Command};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::thread;

const NICEST: i32 = 19;

/// What a process is beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// It has less of a processor that others want, by so much `nice`.
    Nice(i32),
    /// It runs when nothing else wants to, and whoever wakes has the processor at once. Where the system has no such rank it is as nice as can be.
    Idle,
}

impl Rank {
    /// As nice as can be.
    pub const LAST: Self = Self::Nice(NICEST);

    /// Gives it to this thread alone; elsewhere it could be given to a whole process only.
    #[cfg(target_os = "linux")]
    fn take(self) {
        let more = match self {
            Self::Nice(more) => more,
            Self::Idle => NICEST,
        };
        rustix::process::nice(more).ok();
        if self == Self::Idle {
            #[expect(
                unsafe_code,
                reason = "nobody offers the policies of threads without it"
            )]
            // SAFETY: zeros are valid, and what is pointed to outlives the call.
            unsafe {
                let none: libc::sched_param = std::mem::zeroed();
                libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none);
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn take(self) {}
}

/// The thread that has started a process, and is its parent until this is dropped.
#[must_use]
pub struct Parent {
    _stays: Sender<Infallible>,
}

/// Starts a process that has this rank before it does anything: only to be loaded takes it longer than a small epoch.
///
/// A process begins as the thread that starts it is, so that is a thread of its own, which stays: the child may have asked to be
/// told of its end.
///
/// # Errors
/// When the system cannot start it.
pub fn start_behind(mut command: Command, rank: Rank) -> io::Result<(Child, Parent)> {
    let (tell, told) = crossbeam_channel::bounded(1);
    let (stays, ends) = crossbeam_channel::bounded(0);
    thread::spawn("parent", move || {
        rank.take();
        tell.send(command.spawn()).ok();
        ends.recv().ok();
    });
    let child = told.recv().expect("it tells how it went")?;
    Ok((child, Parent { _stays: stays }))
}

/// The processor time that a process has had, where the system says it.
#[cfg(target_os = "linux")]
pub fn processor_time(child: &Child) -> Option<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut clock = 0;
    #[expect(
        unsafe_code,
        reason = "nobody offers the clocks of other processes without it"
    )]
    // SAFETY: what is pointed to outlives the calls.
    let is_told = unsafe {
        libc::clock_getcpuclockid(child.id().cast_signed(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    is_told.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The processor time that a process has had, where the system says it.
#[cfg(not(target_os = "linux"))]
pub fn processor_time(_child: &Child) -> Option<Duration> {
    None
}
