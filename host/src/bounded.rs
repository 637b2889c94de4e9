//! Work on what strangers have sent, done by a child process of this program that has only so much time and memory.
//!
//! Compilers and validators are not made for who means harm, and a process is what can be ended whatever it does. [`Bounded::ask`] starts
//! one with a question on its standard input; the child holds itself to its [`Bounds`] first of all and [`answer`]s. It knows nothing of
//! its parent's environment, unless it is told so.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::behind::{Rank, processor_time, start_behind};
use crate::config::{format_duration, format_size};
use crate::error::Failure;
use crate::thread;

/// More than the longest list of problems of the longest pipeline file.
const ANSWER_BYTES: u64 = 64 << 20;
/// Enough of what a child says as it dies to see why.
const LAST_WORDS: u64 = 4 << 10;
/// Between the signal that says that the processor time is over and the end.
const CPU_GRACE: u64 = 1;
/// A child that runs when nothing else wants to is looked at so often.
const LOOK: Duration = Duration::from_millis(250);
/// The share of a processor with which it goes on: nicely, it would have twice that beside runners that take all there is.
const LEAST_SHARE: u32 = 50;
/// So many times its processor time a child may take: on a busy machine it waits for the others, and that is not its fault.
const WALL: u32 = 10;

/// What such work may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Processor time, of all its threads. Ten times as long may pass until it answers.
    pub time: Duration,
    /// Bytes.
    pub memory: u64,
}

impl Bounds {
    /// From a child's start to its answer.
    fn wall(self) -> Duration {
        self.time.saturating_mul(WALL)
    }

    /// As the command line says them.
    pub fn arguments(self) -> [String; 4] {
        let (time, memory) = (format_duration(self.time), format_size(self.memory));
        [
            "--compile-time".into(),
            time,
            "--compile-memory".into(),
            memory,
        ]
    }

    /// Holds this process to them, and lets it not outlive its parent.
    ///
    /// # Errors
    /// When the system refuses.
    #[cfg(target_os = "linux")]
    pub fn impose(self) -> Result<(), Failure> {
        use rustix::process::{
            Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit,
        };
        let between = |soft, hard| Rlimit {
            current: Some(soft),
            maximum: Some(hard),
        };
        let seconds = self.time.as_millis().div_ceil(1000) as u64;
        // Not the address space: the runtime reserves gigabytes of it that it never touches.
        setrlimit(Resource::Data, between(self.memory, self.memory))
            .and_then(|()| setrlimit(Resource::Cpu, between(seconds, seconds + CPU_GRACE)))
            .and_then(|()| setrlimit(Resource::Core, between(0, 0)))
            .and_then(|()| set_parent_process_death_signal(Some(Signal::KILL)))
            .map_err(|error| Failure::external(format!("a process cannot limit itself: {error}")))
    }

    /// Holds this process to nothing: what there is here is its parent's patience.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn impose(self) -> Result<(), Failure> {
        Ok(())
    }
}

/// How to have such work done.
#[derive(Clone, Debug)]
pub struct Bounded {
    /// The `wasmill` whose hidden subcommands do it.
    pub program: PathBuf,
    /// What each of them may take.
    pub bounds: Bounds,
    /// The control group that they go to, if it is not their parent's.
    pub cgroup: Option<PathBuf>,
}

impl Bounded {
    /// Has a question answered by the program with these arguments; `work` is what it is to do, in messages: `compile`.
    ///
    /// # Errors
    /// What it answers, or that it took too much.
    pub fn ask<A: DeserializeOwned>(
        &self,
        work: &str,
        arguments: &[&OsStr],
        question: &impl Serialize,
    ) -> Result<A, Failure> {
        self.start(work, arguments, question, std::iter::empty())
    }

    /// The same of a child that knows the variables whose names begin so.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_knowing<A: DeserializeOwned>(
        &self,
        variables: &str,
        work: &str,
        arguments: &[&OsStr],
        question: &impl Serialize,
    ) -> Result<A, Failure> {
        let known = std::env::vars_os();
        let known = known.filter(|(name, _)| name.to_string_lossy().starts_with(variables));
        self.start(work, arguments, question, known)
    }

    fn start<A: DeserializeOwned>(
        &self,
        work: &str,
        arguments: &[&OsStr],
        question: &impl Serialize,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<A, Failure> {
        let question = serde_json::to_vec(question)
            .map_err(|error| Failure::internal(format!("a question is not JSON: {error}")))?;
        let environment: Vec<_> = environment.collect();
        let try_as = |rank, time| -> Result<_, Failure> {
            let mut command = Command::new(&self.program);
            command
                .args(arguments)
                .args(self.bounds.arguments())
                .args(join_argument(self.cgroup.as_deref()))
                .env_clear()
                .envs(environment.iter().cloned())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let (mut child, _parent) = start_behind(command, rank).map_err(|error| {
                Failure::external(format!("no process can be started to {work} it: {error}"))
            })?;
            let heard = hear(&mut child, question.clone(), time, rank == Rank::Idle);
            // Gone already, if it has answered.
            child.kill().ok();
            let status = child.wait().map_err(|error| {
                Failure::external(format!("a process that was to {work} is lost: {error}"))
            })?;
            Ok((heard, status))
        };
        // Whoever pushes what takes long to compile holds up nobody's epochs, and waits for them no longer than need be.
        let (began, wall) = (Instant::now(), self.bounds.wall());
        let (mut heard, mut status) = try_as(Rank::Idle, wall)?;
        if matches!(heard, Heard::ItStarves) {
            (heard, status) = try_as(Rank::LAST, wall.saturating_sub(began.elapsed()))?;
        }
        let Heard::All(answer, last_words) = heard else {
            return Err(self.too_long(work));
        };
        match serde_json::from_slice(&answer) {
            Ok(answer) => answer,
            Err(_) if is_out_of_time(status) => Err(self.too_long(work)),
            Err(_) => Err(self.broke_off(work, status, &last_words)),
        }
    }

    fn too_long(&self, work: &str) -> Failure {
        let time = format_duration(self.bounds.time);
        let wall = format_duration(self.bounds.wall());
        let message =
            format!("it took more than {time} of processor time to {work}, or {wall} in all");
        Failure::user(message)
            .help("a function of ten thousands of lines takes long: split it, or ask who runs the server for a longer `--compile-time`")
    }

    fn broke_off(&self, work: &str, status: ExitStatus, last_words: &str) -> Failure {
        let last_words = last_words.trim();
        tracing::warn!(%status, last_words, "a process that was to {work} has died");
        let memory = format_size(self.bounds.memory);
        Failure::user(format!(
            "it took more than {memory} of memory to {work}, or was too much otherwise ({status})"
        ))
        .help("make it smaller, or ask who runs the server for more `--compile-memory`")
    }
}

/// How a process is told which control group to go to.
pub fn join_argument(cgroup: Option<&Path>) -> Vec<OsString> {
    cgroup.map_or_else(Vec::new, |cgroup| {
        vec!["--join-cgroup".into(), cgroup.into()]
    })
}

/// What came of a child.
enum Heard {
    /// Its answer, and what else it said.
    All(Vec<u8>, String),
    NothingInTime,
    /// It hardly runs.
    ItStarves,
}

/// Gives the question, and waits for the answer.
fn hear(child: &mut Child, question: Vec<u8>, time: Duration, may_starve: bool) -> Heard {
    let mut stdin = child.stdin.take().expect("piped");
    let stdout = child.stdout.take().expect("piped");
    let stderr = child.stderr.take().expect("piped");
    // One that dies does not read it all.
    thread::spawn("question", move || stdin.write_all(&question).ok());
    let (tell, told) = crossbeam_channel::bounded(1);
    let last_words = thread::spawn("last words", move || {
        String::from_utf8_lossy(&read(stderr, LAST_WORDS)).into_owned()
    });
    thread::spawn("answer", move || {
        tell.send(read(stdout, ANSWER_BYTES)).ok();
    });
    let (began, mut had) = (Instant::now(), Duration::ZERO);
    let answer = loop {
        let left = time.saturating_sub(began.elapsed());
        match told.recv_timeout(if may_starve { left.min(LOOK) } else { left }) {
            Ok(answer) => break answer,
            Err(RecvTimeoutError::Timeout) if began.elapsed() < time => {}
            Err(_) => return Heard::NothingInTime,
        }
        if let Some(has) = processor_time(child) {
            if has.saturating_sub(had) < LOOK / LEAST_SHARE {
                return Heard::ItStarves;
            }
            had = has;
        }
    };
    // Both streams end with the process.
    child.kill().ok();
    Heard::All(answer, last_words.join().unwrap_or_default())
}

/// What comes up to a limit; behind it nobody listens.
fn read(stream: impl Read, most: u64) -> Vec<u8> {
    let mut read = Vec::new();
    stream.take(most).read_to_end(&mut read).ok();
    read
}

#[cfg(target_os = "linux")]
fn is_out_of_time(status: ExitStatus) -> bool {
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    signal == Some(rustix::process::Signal::XCPU.as_raw())
}

#[cfg(not(target_os = "linux"))]
fn is_out_of_time(_status: ExitStatus) -> bool {
    false
}

/// The child's side: reads the question and gives the answer to it.
///
/// # Errors
/// When nobody has asked in the right way, or nobody listens.
pub fn answer<Q: DeserializeOwned, A: Serialize>(
    work: impl FnOnce(Q) -> Result<A, Failure>,
) -> io::Result<()> {
    let question = serde_json::from_reader(io::stdin().lock())?;
    let answer = serde_json::to_vec(&work(question))?;
    io::stdout().write_all(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a shell script.
    fn ask(time: Duration, script: &str) -> Result<u32, Failure> {
        let bounded = Bounded {
            program: "/bin/sh".into(),
            bounds: Bounds {
                time,
                memory: 1 << 20,
            },
            cgroup: None,
        };
        bounded.ask("count", &["-c".as_ref(), script.as_ref()], &7)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_given_to_the_question() {
        assert_eq!(ask(LONG, "read q; echo \"{\\\"Ok\\\": $q$q}\""), Ok(77));
        let failure = serde_json::to_string(&Failure::user("no").help("yes")).unwrap();
        let script = format!("cat <<'END'\n{{\"Err\": {failure}}}\nEND");
        assert_eq!(ask(LONG, &script), Err(Failure::user("no").help("yes")));
    }

    /// The kernel's number for the policy of the shell itself.
    #[cfg(target_os = "linux")]
    const POLICY: &str = "$(cut -d' ' -f41 /proc/$$/stat)";

    #[cfg(target_os = "linux")]
    #[test]
    fn it_runs_when_nothing_else_wants_to_from_its_first_instruction_and_its_parent_as_before() {
        let before = rustix::process::getpriority_process(None);
        assert_eq!(ask(LONG, "read q; echo \"{\\\"Ok\\\": $(nice)}\""), Ok(19));
        let policy = format!("read q; echo \"{{\\\"Ok\\\": {POLICY}}}\"");
        assert_eq!(ask(LONG, &policy), Ok(libc::SCHED_IDLE as u32));
        assert_eq!(rustix::process::getpriority_process(None), before);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_that_has_nothing_of_a_busy_machine_begins_again_with_a_share_of_it() {
        let script = format!("[ {POLICY} = 5 ] && exec sleep 1000000; echo '{{\"Ok\": 3}}'");
        assert_eq!(ask(LONG, &script), Ok(3));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let failure = ask(Duration::from_millis(50), "exec sleep 1000000").unwrap_err();
        assert_eq!(
            failure.message,
            "it took more than 50ms of processor time to count, or 500ms in all"
        );
        let failure = ask(LONG, "kill -XCPU $$").unwrap_err();
        assert_eq!(
            failure.message,
            "it took more than 1m of processor time to count, or 10m in all"
        );
    }

    #[test]
    fn what_crashes_or_speaks_nonsense_has_failed() {
        for script in ["kill -SEGV $$", "exit 101", "echo nonsense", ":"] {
            let failure = ask(LONG, script).unwrap_err();
            let expected = "it took more than 1MiB of memory to count, or was too much otherwise";
            assert!(failure.message.starts_with(expected), "{script}: {failure}");
        }
    }

    #[test]
    fn nobody_listens_to_the_end_of_a_flood() {
        let failure = ask(LONG, "exec yes").unwrap_err();
        assert!(failure.message.contains("too much"), "{failure}");
    }
}
