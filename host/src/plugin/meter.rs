//! The clock of an instance: how long its current call may go on.
//!
//! What a call uses of the processor is counted on its node. Without a quota a deadline is wall-clock time, and the engine's clock rings once, at its end. With one, it rings at every tick: what the
//! call has used is charged to the quota as well, the thread sleeps if that is too much, and a deadline is processor time, for a call that is
//! made to sleep is not to blame for that.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::ticks;
use super::quota::Quota;
use crate::telemetry::{NodeCounters, count};

/// A call under a quota ends after so many times its deadline, whatever it has used: sources and sinks wait for it.
const WALL: u32 = 20;

/// For so long a thread's processor time is not read again.
const STALE: Duration = Duration::from_millis(1);

/// Of one instance.
#[derive(Debug)]
pub(super) struct Meter {
    quota: Arc<Quota>,
    counters: Arc<NodeCounters>,
    call: Option<Call>,
}

/// A call that goes on.
#[derive(Debug)]
struct Call {
    /// Whether there was a quota when it began.
    is_limited: bool,
    deadline: Duration,
    began: Instant,
    /// Processor time that it has used and that is charged.
    used: Duration,
    /// The thread's processor time then.
    charged_at: Duration,
}

impl Meter {
    /// Of an instance that shares a quota, and counters with those of its node.
    pub fn new(quota: Arc<Quota>, counters: Arc<NodeCounters>) -> Self {
        Self {
            quota,
            counters,
            call: None,
        }
    }

    /// A call begins, on this thread; says after how many ticks [`Self::goes_on`] is to be asked.
    pub fn begin(&mut self, deadline: Duration) -> u64 {
        let is_limited = self.quota.is_limited();
        self.call = Some(Call {
            is_limited,
            deadline,
            began: Instant::now(),
            used: Duration::ZERO,
            charged_at: thread_time(),
        });
        match is_limited {
            true => 1,
            false => ticks(deadline),
        }
    }

    /// Whether the call has time left. Sleeps if it has used more than there is.
    pub fn goes_on(&mut self) -> bool {
        self.charge();
        self.call.as_ref().is_some_and(|call| {
            call.is_limited
                && call.used < call.deadline
                && call.began.elapsed() < call.deadline * WALL
        })
    }

    /// The call is over.
    pub fn end(&mut self) {
        self.charge();
        self.call = None;
    }

    fn charge(&mut self) {
        if let Some(call) = &mut self.call {
            let now = thread_time();
            let used = now.saturating_sub(call.charged_at);
            call.used += used;
            call.charged_at = now;
            count(&self.counters.cpu_nanos, used.as_nanos() as u64);
            if call.is_limited {
                let most = call.deadline.saturating_mul(WALL);
                self.quota
                    .pay(used, most.saturating_sub(call.began.elapsed()));
            }
        }
    }
}

/// Processor time that this thread has used. To ask the kernel costs as much as a short call, so it is asked once in [`STALE`], and
/// until then time that passes counts as used: if it was not, what is read next makes up for it.
fn thread_time() -> Duration {
    thread_local! {
        static READ: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if let Some((at, time)) = READ.get()
        && let since = now.duration_since(at)
        && since < STALE
    {
        return time + since;
    }
    let time = read_thread_time();
    READ.set(Some((now, time)));
    time
}

#[cfg(target_os = "linux")]
fn read_thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Where nobody tells, all time counts as used.
#[cfg(not(target_os = "linux"))]
fn read_thread_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
