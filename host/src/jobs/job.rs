//! The life of one job: what is wanted, what has happened, and what to do next. Pure: no clock, no process, no file.
//!
//! A job has one run at most. Whoever acts on [`Action`]s says what came of it with [`Happened`]: a run that was started ends exactly once,
//! by [`Happened::Ended`], [`Happened::Failed`] or [`Happened::Lost`], and is never heard of again.

use std::time::Duration;

use jiff::Timestamp;

use super::backoff::Backoff;
use super::{Figures, JobStatus, Phase, Wanted};
use crate::error::{Failure, Fault};

/// A run that has been well for so long has put its failures behind it, even if it had no input.
const WELL: Duration = Duration::from_secs(60);
/// Opening plugins may mean to compile them, which takes a large one a minute on a slow machine.
const START_LIMIT: Duration = Duration::from_secs(300);
/// A sink may be slow; past it the epochs in flight are dropped, and run again at the next start.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// A killed run ends within two seconds on an idle machine.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What has come about.
#[derive(Clone, Debug)]
pub enum Happened {
    /// Somebody has said what they want.
    Wanted {
        /// Whether it should run.
        state: Wanted,
        /// Of the definition.
        version: u32,
        /// Whether anything but `state` is new.
        changed: bool,
    },
    /// The pipeline is right, and runs.
    Started,
    /// How the run goes.
    Figures(Figures),
    /// The run has delivered all it had.
    Ended {
        /// Whether it was asked to; else its input has ended.
        drained: bool,
        /// Its last.
        figures: Figures,
    },
    /// The run has failed, or could not begin.
    Failed {
        /// Why.
        failure: Failure,
        /// Its last.
        figures: Figures,
    },
    /// The runner is gone, and the run with it.
    Lost(String),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a run of what is wanted now.
    Start,
    /// Have the run deliver what it has, and end.
    Drain,
    /// End the run at once.
    Kill,
    /// The run does not end: end its runner.
    KillRunner,
}

/// One job.
#[derive(Clone, Debug)]
pub struct Job {
    wanted: Wanted,
    /// Of what is wanted.
    version: u32,
    /// The run is of an older definition.
    outdated: bool,
    /// When patience with the run ends, and what is done then.
    deadline: Option<(Timestamp, Action)>,
    backoff: Backoff,
    status: JobStatus,
}

impl Job {
    /// Before anybody wants anything of it.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            wanted: Wanted::Stopped,
            version: 0,
            outdated: false,
            deadline: None,
            backoff: Backoff::new(seed),
            status: JobStatus {
                phase: Phase::Stopped,
                version: 0,
                restarts: 0,
                since: now,
                failure: None,
                figures: Figures::default(),
            },
        }
    }

    /// How it stands.
    pub fn status(&self) -> &JobStatus {
        &self.status
    }

    /// Whether it has a run.
    pub fn has_run(&self) -> bool {
        matches!(
            self.status.phase,
            Phase::Starting | Phase::Running | Phase::Draining
        )
    }

    /// What to do about what has happened.
    pub fn on(&mut self, happened: Happened, now: Timestamp) -> Option<Action> {
        match happened {
            Happened::Wanted {
                state,
                version,
                changed,
            } => self.want(state, version, changed, now),
            Happened::Tick => self.tick(now),
            // Of a run that is over.
            _ if !self.has_run() => None,
            Happened::Started => self.started(now),
            Happened::Figures(figures) => self.show(figures),
            Happened::Ended { drained, figures } => {
                self.show(figures);
                self.ended(drained, now)
            }
            Happened::Failed { failure, figures } => {
                // What the user alone can mend fails the same way at every start, unless input had a part in it.
                let is_final = failure.fault == Fault::User && figures.cut == 0;
                self.show(figures);
                self.failed(failure.to_string(), is_final, now)
            }
            Happened::Lost(why) => self.failed(why, false, now),
        }
    }

    fn want(
        &mut self,
        state: Wanted,
        version: u32,
        changed: bool,
        now: Timestamp,
    ) -> Option<Action> {
        (self.wanted, self.version) = (state, version);
        if changed {
            self.backoff.reset();
        }
        if self.has_run() {
            self.outdated |= changed;
            let may_go_on = state == Wanted::Running && !self.outdated;
            return match self.status.phase {
                Phase::Draining => None,
                _ if may_go_on => None,
                _ => self.drain(now),
            };
        }
        match self.status.phase {
            // Wanted as before, and why it does not run has not changed.
            Phase::Waiting { .. } | Phase::Failed | Phase::Finished
                if state == Wanted::Running && !changed =>
            {
                None
            }
            _ => self.settle(now),
        }
    }

    fn tick(&mut self, now: Timestamp) -> Option<Action> {
        if let Phase::Waiting { until } = self.status.phase
            && until <= now
        {
            self.status.restarts += 1;
            return self.start(now);
        }
        let (_, action) = self.deadline.take_if(|(deadline, _)| *deadline <= now)?;
        if action == Action::Kill {
            self.deadline = Some((now + KILL_LIMIT, Action::KillRunner));
        }
        Some(action)
    }

    fn started(&mut self, now: Timestamp) -> Option<Action> {
        if self.status.phase == Phase::Starting {
            self.deadline = None;
            self.enter(Phase::Running, now);
        }
        None
    }

    fn show(&mut self, figures: Figures) -> Option<Action> {
        if figures.delivered > 0 {
            self.backoff.reset();
            self.status.failure = None;
        }
        self.status.figures = figures;
        None
    }

    fn ended(&mut self, drained: bool, now: Timestamp) -> Option<Action> {
        match (self.status.phase, drained) {
            (Phase::Draining, _) => self.settle(now),
            (_, false) => {
                self.rest(Phase::Finished, now);
                None
            }
            (_, true) => {
                let why = "it was drained, which nobody had asked for".to_owned();
                self.failed(why, false, now)
            }
        }
    }

    fn failed(&mut self, why: String, is_final: bool, now: Timestamp) -> Option<Action> {
        let ran = now.duration_since(self.status.since).unsigned_abs();
        if self.status.phase == Phase::Running && ran >= WELL {
            self.backoff.reset();
        }
        self.status.failure = Some(why);
        if self.wanted != Wanted::Running || self.outdated {
            return self.settle(now);
        }
        let phase = match is_final {
            true => Phase::Failed,
            false => Phase::Waiting {
                until: now + self.backoff.wait(),
            },
        };
        self.rest(phase, now);
        None
    }

    /// What comes when there is no run, or none any more.
    fn settle(&mut self, now: Timestamp) -> Option<Action> {
        match self.wanted {
            Wanted::Running => return self.start(now),
            Wanted::Paused => self.rest(Phase::Paused, now),
            Wanted::Stopped => self.rest(Phase::Stopped, now),
        }
        None
    }

    fn start(&mut self, now: Timestamp) -> Option<Action> {
        self.outdated = false;
        self.deadline = Some((now + START_LIMIT, Action::KillRunner));
        self.status.version = self.version;
        self.status.figures = Figures::default();
        self.enter(Phase::Starting, now);
        Some(Action::Start)
    }

    fn drain(&mut self, now: Timestamp) -> Option<Action> {
        self.deadline = Some((now + DRAIN_LIMIT, Action::Kill));
        self.enter(Phase::Draining, now);
        Some(Action::Drain)
    }

    fn rest(&mut self, phase: Phase, now: Timestamp) {
        self.deadline = None;
        self.enter(phase, now);
    }

    fn enter(&mut self, phase: Phase, now: Timestamp) {
        if self.status.phase != phase {
            self.status.phase = phase;
            self.status.since = now;
        }
    }
}

#[cfg(test)]
mod tests;
