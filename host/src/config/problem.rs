//! What is wrong with a pipeline file, and the words it probably meant.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Fault};

/// A place in the pipeline file, in bytes.
pub type Span = Range<usize>;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// The pipeline cannot run.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

/// Something wrong with a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad.
    pub level: Level,
    /// Where.
    pub span: Span,
    /// What, one sentence without a full stop.
    pub message: String,
    /// Other places that explain it, each with a few words.
    pub also: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
    /// Whose fault: the file's, unless something failed that has nothing to do with it.
    pub fault: Fault,
}

impl Problem {
    /// One that stops the pipeline.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            span,
            message: message.into(),
            also: Vec::new(),
            help: None,
            fault: Fault::User,
        }
    }

    /// One that does not.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            ..Self::error(span, message)
        }
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at a second place, with a few words about it.
    pub fn also(mut self, span: Span, words: impl Into<String>) -> Self {
        self.also.push((span, words.into()));
        self
    }
}

/// The problems found so far, shared by all tables of one file.
#[derive(Clone, Debug, Default)]
pub struct Problems(Rc<RefCell<Vec<Problem>>>);

impl Problems {
    /// Adds an error.
    pub fn add(&self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.push(Problem {
            help,
            ..Problem::error(span, message)
        });
    }

    /// Adds what has failed for something that stands there.
    pub fn fail(&self, span: Span, failure: Failure) {
        self.push(Problem {
            help: failure.help,
            fault: failure.fault,
            ..Problem::error(span, failure.message)
        });
    }

    /// Adds any problem.
    pub fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Whether one of them stops the pipeline.
    pub fn has_errors(&self) -> bool {
        self.0
            .borrow()
            .iter()
            .any(|problem| problem.level == Level::Error)
    }

    /// All of them in the order of the file.
    pub fn take(&self) -> Vec<Problem> {
        let mut all = std::mem::take(&mut *self.0.borrow_mut());
        all.sort_by_key(|problem| problem.span.start);
        all
    }
}

/// The name among `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or the list of what is known.
pub fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    match nearest(word, known.clone()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => {
            let names: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
            (!names.is_empty()).then(|| format!("known here: {}", names.join(", ")))
        }
    }
}
