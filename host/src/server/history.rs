//! The last minutes of each pipeline: what the figures say once a second, kept so that they can be drawn over time.
//!
//! It is in memory alone: whoever wants months has [`super::metrics`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, PipelineName, TenantId};
use crate::jobs::{EpochFigures, Figures, JobStatus, Jobs, News, Phase, follow};
use crate::thread;

/// Moments that are kept: ten minutes, of a thousand pipelines some 40 MB.
const MOMENTS: usize = 600;
/// Delivered epochs that are kept.
const EPOCHS: usize = 100;
/// Figures come once a second, and with every change of phase; what comes sooner than this says nothing of a rate.
const SHORTEST_MS: i64 = 500;

/// How a pipeline went over about a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Moment {
    /// Its end.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// Epochs delivered in it.
    pub epochs: u64,
    /// Records that the sources decoded.
    pub rows_per_second: u64,
    /// Bytes that they read.
    pub bytes_per_second: u64,
    /// Milliseconds that the last delivered epoch took.
    pub processing_ms: u64,
    /// Milliseconds that it had waited for the one before it.
    pub delay_ms: u64,
    /// Bytes waiting at the sources.
    pub backlog_bytes: u64,
    /// Bytes of batches alive in the data plane.
    pub live_bytes: u64,
}

/// The last minutes of a pipeline. There are no moments of the time in which it did not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Past {
    /// About one a second, the latest last.
    pub moments: Vec<Moment>,
    /// The latest delivered epochs, the last one last. Of one that delivers many in a second, some are left out.
    #[schema(value_type = Vec<Object>)]
    pub epochs: Vec<EpochFigures>,
}

/// The last minutes of all pipelines; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<BTreeMap<(TenantId, PipelineName), Track>>>);

#[derive(Debug, Default)]
struct Track {
    /// What the next figures are compared with; nothing between two runs.
    last: Option<(Timestamp, Figures)>,
    moments: VecDeque<Moment>,
    epochs: BTreeMap<Epoch, EpochFigures>,
}

impl History {
    /// Keeps what is heard from now on, until the jobs are gone.
    pub fn follow(jobs: &Jobs) -> Self {
        let history = Self::default();
        let (kept, events) = (history.clone(), jobs.subscribe());
        thread::spawn("history", move || {
            follow(events, |news| {
                // A moment that was missed is a longer one.
                if let News::Status(tenant, pipeline, status) = news {
                    let mut tracks = kept.tracks();
                    let track = tracks.entry((tenant, pipeline)).or_default();
                    track.note(Timestamp::now(), &status);
                }
                ControlFlow::Continue(())
            });
        });
        history
    }

    /// Of a pipeline; nothing if it has not run since the server started.
    pub fn of(&self, tenant: &TenantId, pipeline: &PipelineName) -> Past {
        let tracks = self.tracks();
        let track = tracks.get(&(tenant.clone(), pipeline.clone()));
        track.map(Track::past).unwrap_or_default()
    }

    /// Forgets a pipeline that is removed.
    pub fn forget(&self, tenant: &TenantId, pipeline: &PipelineName) {
        self.tracks().remove(&(tenant.clone(), pipeline.clone()));
    }

    fn tracks(&self) -> MutexGuard<'_, BTreeMap<(TenantId, PipelineName), Track>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Track {
    fn note(&mut self, now: Timestamp, status: &JobStatus) {
        let figures = &status.figures;
        for epoch in &figures.recent {
            // One that is delivered again after a failure takes the place of itself.
            self.epochs.insert(epoch.epoch, *epoch);
        }
        while self.epochs.len() > EPOCHS {
            self.epochs.pop_first();
        }
        if !matches!(status.phase, Phase::Running | Phase::Draining) {
            self.last = None;
            return;
        }
        let Some((then, before)) = &self.last else {
            self.last = Some((now, figures.clone()));
            return;
        };
        let span = now.as_millisecond() - then.as_millisecond();
        if span < SHORTEST_MS {
            return;
        }
        // Figures that are smaller than before are those of a new run, and nothing can be said of the time in between.
        if let Some(moment) = moment(now, span.unsigned_abs(), before, figures) {
            if self.moments.len() == MOMENTS {
                self.moments.pop_front();
            }
            self.moments.push_back(moment);
        }
        self.last = Some((now, figures.clone()));
    }

    fn past(&self) -> Past {
        Past {
            moments: self.moments.iter().cloned().collect(),
            epochs: self.epochs.values().copied().collect(),
        }
    }
}

fn moment(now: Timestamp, span_ms: u64, before: &Figures, after: &Figures) -> Option<Moment> {
    let a_second = |count: u64| count.saturating_mul(1000) / span_ms;
    Some(Moment {
        time: now,
        epochs: after.delivered.checked_sub(before.delivered)?,
        rows_per_second: a_second(after.rows_in.checked_sub(before.rows_in)?),
        bytes_per_second: a_second(after.bytes_in.checked_sub(before.bytes_in)?),
        processing_ms: after.processing_ms,
        delay_ms: after.delay_ms,
        backlog_bytes: after.backlog_bytes,
        live_bytes: after.live_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BatchTime;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn status(phase: Phase, delivered: u64, rows_in: u64) -> JobStatus {
        let epoch = EpochFigures {
            epoch: Epoch(delivered),
            time: BatchTime(0),
            bytes: 10,
            processing_us: 5,
            delay_us: 0,
        };
        JobStatus {
            phase,
            version: 1,
            restarts: 0,
            since: at(0),
            failure: None,
            figures: Figures {
                delivered,
                rows_in,
                recent: vec![epoch],
                ..Figures::default()
            },
        }
    }

    fn rates(track: &Track) -> Vec<(i64, u64, u64)> {
        let moments = track.moments.iter();
        let rate = |one: &Moment| (one.time.as_millisecond(), one.epochs, one.rows_per_second);
        moments.map(rate).collect()
    }

    #[test]
    fn rates_are_of_the_time_since_the_figures_before() {
        let mut track = Track::default();
        track.note(at(0), &status(Phase::Running, 1, 100));
        track.note(at(2000), &status(Phase::Running, 3, 300));
        // Too soon: it counts to the next.
        track.note(at(2100), &status(Phase::Draining, 4, 350));
        track.note(at(3000), &status(Phase::Draining, 5, 400));
        assert_eq!(rates(&track), [(2000, 2, 100), (3000, 2, 100)]);
    }

    #[test]
    fn nothing_is_said_of_the_time_between_two_runs() {
        let mut track = Track::default();
        track.note(at(0), &status(Phase::Running, 9, 900));
        track.note(at(1000), &status(Phase::Paused, 10, 1000));
        track.note(at(60_000), &status(Phase::Running, 0, 0));
        track.note(at(61_000), &status(Phase::Running, 1, 50));
        // A restart that was not seen.
        track.note(at(62_000), &status(Phase::Running, 0, 0));
        track.note(at(63_000), &status(Phase::Running, 1, 70));
        assert_eq!(rates(&track), [(61_000, 1, 50), (63_000, 1, 70)]);
    }

    #[test]
    fn the_latest_moments_and_epochs_are_kept_each_epoch_once() {
        let mut track = Track::default();
        for second in 0..=MOMENTS as u64 + 10 {
            let time = at(1000 * second as i64);
            track.note(time, &status(Phase::Running, second, second));
            track.note(time, &status(Phase::Running, second, second));
        }
        let past = track.past();
        assert_eq!(past.moments.len(), MOMENTS);
        assert_eq!(past.moments[0].time, at(11_000));
        assert_eq!(past.epochs.len(), EPOCHS);
        assert_eq!(past.epochs[EPOCHS - 1].epoch, Epoch(MOMENTS as u64 + 10));
    }
}
