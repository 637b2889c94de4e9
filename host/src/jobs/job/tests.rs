use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A job and its clock, which stands still unless it is told.
struct Told {
    job: Job,
    now: Timestamp,
}

impl Told {
    fn new() -> Self {
        let now = Timestamp::UNIX_EPOCH;
        Self {
            job: Job::new(3, now),
            now,
        }
    }

    /// A job that runs in its first version.
    fn running() -> Self {
        let mut told = Self::new();
        assert_eq!(told.want(Wanted::Running, 1), Some(Action::Start));
        assert_eq!(told.on(Happened::Started), None);
        assert_eq!(told.phase(), Phase::Running);
        told
    }

    fn on(&mut self, happened: Happened) -> Option<Action> {
        self.job.on(happened, self.now)
    }

    fn want(&mut self, state: Wanted, version: u32) -> Option<Action> {
        let changed = version != self.job.version;
        self.on(Happened::Wanted {
            state,
            version,
            changed,
        })
    }

    fn after(&mut self, span: Duration) -> Option<Action> {
        self.now += span;
        self.on(Happened::Tick)
    }

    fn fails(&mut self, failure: Failure, cut: u64, delivered: u64) -> Option<Action> {
        let figures = figures(cut, delivered);
        self.on(Happened::Failed { failure, figures })
    }

    fn phase(&self) -> Phase {
        self.job.status().phase
    }

    /// Seconds until it is started again.
    fn waits(&self) -> f64 {
        match self.phase() {
            Phase::Waiting { until } => until.duration_since(self.now).as_secs_f64(),
            other => panic!("it does not wait: {other:?}"),
        }
    }
}

fn figures(cut: u64, delivered: u64) -> Figures {
    Figures {
        cut,
        delivered,
        ..Figures::default()
    }
}

fn ended(drained: bool) -> Happened {
    Happened::Ended {
        drained,
        figures: figures(1, 1),
    }
}

#[test]
fn a_job_is_started_paused_resumed_and_stopped_on_demand() {
    let mut told = Told::running();
    assert_eq!(told.want(Wanted::Running, 1), None, "the same again");
    assert_eq!(told.want(Wanted::Paused, 1), Some(Action::Drain));
    assert_eq!(told.phase(), Phase::Draining);
    assert_eq!(told.want(Wanted::Paused, 1), None);
    assert_eq!(told.on(ended(true)), None);
    assert_eq!(told.phase(), Phase::Paused);
    assert_eq!(told.after(SECOND * 1000), None, "paused stays paused");
    assert_eq!(told.want(Wanted::Running, 1), Some(Action::Start));
    assert_eq!(told.on(Happened::Started), None);
    assert_eq!(told.want(Wanted::Stopped, 1), Some(Action::Drain));
    assert_eq!(told.on(ended(true)), None);
    assert_eq!(told.phase(), Phase::Stopped);
    assert_eq!(
        told.job.status().restarts,
        0,
        "none of these was a restart after a failure"
    );
}

#[test]
fn a_pipeline_whose_input_has_ended_is_finished_until_it_is_changed() {
    let mut told = Told::running();
    assert_eq!(told.on(ended(false)), None);
    assert_eq!(told.phase(), Phase::Finished);
    assert_eq!(told.want(Wanted::Running, 1), None);
    assert_eq!(told.want(Wanted::Running, 2), Some(Action::Start));
    assert_eq!(told.job.status().version, 2);
}

#[test]
fn another_version_is_started_when_the_old_one_has_drained() {
    let mut told = Told::running();
    assert_eq!(told.want(Wanted::Running, 2), Some(Action::Drain));
    assert_eq!(
        told.job.status().version,
        1,
        "the old one is still at its end"
    );
    assert_eq!(told.on(ended(true)), Some(Action::Start));
    assert_eq!(told.job.status().version, 2);
    assert_eq!(told.phase(), Phase::Starting);
}

#[test]
fn a_version_that_comes_while_the_one_before_it_starts_takes_its_place() {
    let mut told = Told::new();
    assert_eq!(told.want(Wanted::Running, 1), Some(Action::Start));
    assert_eq!(told.want(Wanted::Running, 2), Some(Action::Drain));
    assert_eq!(
        told.on(Happened::Started),
        None,
        "what was underway is no news"
    );
    assert_eq!(told.phase(), Phase::Draining);
    assert_eq!(
        told.want(Wanted::Running, 1),
        None,
        "changed back: it is drained all the same"
    );
    assert_eq!(told.on(ended(true)), Some(Action::Start));
}

#[test]
fn a_failure_is_tried_again_after_waits_that_grow() {
    let mut told = Told::running();
    let mut longest = 0.0;
    for restarts in 1..=10 {
        assert_eq!(told.fails(Failure::external("no disk"), 1, 0), None);
        assert!(told.waits() <= 60.0);
        assert_eq!(
            told.job.status().failure.as_deref(),
            Some("no disk"),
            "it says why"
        );
        longest = told.waits().max(longest);
        let wait = Duration::from_secs_f64(told.waits());
        assert_eq!(told.after(wait - Duration::from_millis(1)), None);
        assert_eq!(
            told.after(Duration::from_millis(2)),
            Some(Action::Start),
            "its time has come"
        );
        assert_eq!(told.job.status().restarts, restarts);
        told.on(Happened::Started);
    }
    assert!(longest >= 30.0, "{longest}");
}

#[test]
fn what_was_delivered_since_makes_the_next_wait_a_short_one() {
    let mut told = Told::running();
    for _ in 0..5 {
        told.fails(Failure::user("a trap"), 1, 0);
        told.after(SECOND * 60);
        told.on(Happened::Started);
    }
    assert_eq!(told.on(Happened::Figures(figures(2, 1))), None);
    assert_eq!(told.job.status().failure, None, "it is over");
    told.fails(Failure::user("a trap"), 2, 1);
    assert!(told.waits() <= 1.0, "{}", told.waits());
}

#[test]
fn a_minute_without_a_failure_makes_the_next_wait_a_short_one() {
    let mut told = Told::running();
    for _ in 0..5 {
        told.on(Happened::Lost("killed".into()));
        told.after(SECOND * 60);
        told.on(Happened::Started);
    }
    assert_eq!(told.after(SECOND * 61), None);
    told.on(Happened::Lost("killed".into()));
    assert!(told.waits() <= 1.0, "{}", told.waits());
}

#[test]
fn what_the_user_alone_can_mend_is_not_tried_again() {
    let refused = Failure::user("no such plugin");
    let mut told = Told::running();
    assert_eq!(told.fails(refused.clone(), 0, 0), None);
    assert_eq!(told.phase(), Phase::Failed);
    assert_eq!(told.after(SECOND * 3600), None);
    assert_eq!(told.want(Wanted::Running, 1), None, "nothing has changed");
    assert_eq!(told.want(Wanted::Running, 2), Some(Action::Start));
    told.fails(refused, 0, 0);
    assert_eq!(told.want(Wanted::Paused, 2), None);
    assert_eq!(told.phase(), Phase::Paused);
    assert_eq!(told.want(Wanted::Running, 2), Some(Action::Start));
}

#[test]
fn the_failure_of_an_outdated_run_does_not_keep_the_new_version_from_starting() {
    let mut told = Told::running();
    told.want(Wanted::Running, 2);
    assert_eq!(
        told.fails(Failure::user("a trap"), 0, 0),
        Some(Action::Start)
    );
    told.on(Happened::Started);
    told.want(Wanted::Running, 3);
    assert_eq!(
        told.on(Happened::Lost("killed".into())),
        Some(Action::Start)
    );
}

#[test]
fn a_failure_while_it_is_being_paused_leaves_it_paused() {
    let mut told = Told::running();
    told.want(Wanted::Paused, 1);
    assert_eq!(told.fails(Failure::external("no disk"), 4, 4), None);
    assert_eq!(told.phase(), Phase::Paused);
    assert_eq!(told.job.status().failure.as_deref(), Some("no disk"));
}

#[test]
fn a_run_that_somebody_else_has_drained_comes_back() {
    let mut told = Told::running();
    told.on(Happened::Ended {
        drained: true,
        figures: Figures::default(),
    });
    assert!(told.waits() <= 1.0);
}

#[test]
fn a_run_that_does_not_drain_is_killed_and_after_it_its_runner() {
    let mut told = Told::running();
    told.want(Wanted::Stopped, 1);
    assert_eq!(told.after(DRAIN_LIMIT / 2), None);
    assert_eq!(told.after(DRAIN_LIMIT / 2), Some(Action::Kill));
    assert_eq!(told.after(KILL_LIMIT / 2), None);
    assert_eq!(told.after(KILL_LIMIT / 2), Some(Action::KillRunner));
    assert_eq!(told.after(KILL_LIMIT), None, "once is enough");
    assert_eq!(told.on(Happened::Lost("killed".into())), None);
    assert_eq!(told.phase(), Phase::Stopped);
}

#[test]
fn a_start_that_takes_for_ever_costs_the_runner() {
    let mut told = Told::new();
    told.want(Wanted::Running, 1);
    assert_eq!(told.after(START_LIMIT), Some(Action::KillRunner));
    told.on(Happened::Lost("killed".into()));
    assert!(told.waits() <= 1.0);
}

/// What may come about, as long as it can: the world of a job is what it has asked for and what has come of that.
#[derive(Clone, Debug)]
enum Chance {
    Want(Wanted, bool),
    Started,
    Delivered,
    Ends,
    Fails { by_user: bool, cut: u64 },
    Lost,
    Passes(u32),
}

fn chance() -> impl Strategy<Value = Chance> {
    let wanted = prop_oneof![
        3 => Just(Wanted::Running),
        1 => Just(Wanted::Paused),
        1 => Just(Wanted::Stopped),
    ];
    prop_oneof![
        3 => (wanted, proptest::bool::weighted(0.3)).prop_map(|(state, changed)| Chance::Want(state, changed)),
        3 => Just(Chance::Started),
        1 => Just(Chance::Delivered),
        2 => Just(Chance::Ends),
        2 => (any::<bool>(), 0..2_u64).prop_map(|(by_user, cut)| Chance::Fails { by_user, cut }),
        1 => Just(Chance::Lost),
        4 => (0..90_u32).prop_map(Chance::Passes),
    ]
}

/// The runs that really are there, as a supervisor that obeys would have them.
#[derive(Default)]
struct World {
    runs: u32,
    asked_to_drain: bool,
}

impl World {
    fn obey(&mut self, told: &Told, action: Option<Action>) {
        match action {
            None => {}
            Some(Action::Start) => {
                assert_eq!(told.job.wanted, Wanted::Running, "nobody wants it");
                self.runs += 1;
                self.asked_to_drain = false;
            }
            Some(Action::Drain) => self.asked_to_drain = true,
            Some(Action::Kill | Action::KillRunner) => assert_eq!(self.runs, 1),
        }
        assert!(self.runs <= 1, "two runs of one job");
        assert_eq!(self.runs == 1, told.job.has_run());
    }

    /// A run's end, if there is one.
    fn end(&mut self, told: &mut Told, happened: Happened) {
        if std::mem::take(&mut self.runs) == 1 {
            let action = told.on(happened);
            self.obey(told, action);
        }
    }
}

fn happens(told: &mut Told, world: &mut World, chance: Chance) {
    match chance {
        Chance::Want(state, changed) => {
            let version = told.job.version + u32::from(changed);
            let action = told.want(state, version);
            world.obey(told, action);
        }
        Chance::Started | Chance::Delivered => {
            let happened = match chance {
                Chance::Started => Happened::Started,
                _ => Happened::Figures(figures(2, 1)),
            };
            let action = told.on(happened);
            assert_eq!(action, None);
        }
        Chance::Ends => {
            let drained = world.asked_to_drain;
            world.end(told, ended(drained));
        }
        Chance::Fails { by_user, cut } => {
            let failure = match by_user {
                true => Failure::user("wrong"),
                false => Failure::external("lost"),
            };
            let figures = figures(cut, 0);
            world.end(told, Happened::Failed { failure, figures });
        }
        Chance::Lost => world.end(told, Happened::Lost("killed".into())),
        Chance::Passes(seconds) => {
            let action = told.after(Duration::from_secs(seconds.into()));
            if let Some(Action::Start) = action {
                assert_eq!(told.job.status().phase, Phase::Starting);
            }
            world.obey(told, action);
        }
    }
}

/// A world in which nothing goes wrong any more brings a job that is wanted to run.
fn recovers(mut told: Told, mut world: World) {
    for _ in 0..8 {
        match told.phase() {
            Phase::Running => return,
            Phase::Starting => happens(&mut told, &mut world, Chance::Started),
            Phase::Draining => happens(&mut told, &mut world, Chance::Ends),
            Phase::Waiting { .. } => happens(&mut told, &mut world, Chance::Passes(61)),
            other => panic!("wanted, and it rests in {other:?}"),
        }
    }
    panic!("it does not come to run: {:?}", told.job);
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_run_at_most_and_a_wanted_job_comes_back(chances in proptest::collection::vec(chance(), 0..60)) {
        let (mut told, mut world) = (Told::new(), World::default());
        for chance in chances {
            let was_resting = matches!(told.phase(), Phase::Paused | Phase::Stopped);
            let is_wish = matches!(chance, Chance::Want(..));
            happens(&mut told, &mut world, chance);
            if was_resting && !is_wish {
                prop_assert!(!told.job.has_run(), "it has started by itself");
            }
        }
        let is_over = matches!(told.phase(), Phase::Failed | Phase::Finished);
        if told.job.wanted == Wanted::Running && !is_over {
            recovers(told, world);
        }
    }
}
