//! Reads a pipeline file's tables strictly: every problem is collected with its place in the file, nothing is skipped silently.
//!
//! A part of the product that takes settings (a receiver, a sink, the limits) reads its own from a [`Table`]:
//! each getter takes a key out, [`Table::finish`] reports what nobody asked for, naming the nearest known key.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in the pipeline file, in bytes.
pub type Span = Range<usize>;

/// Something wrong with a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub span: Span,
    /// What, one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// The problems found so far, shared by all tables of one file.
#[derive(Clone, Debug, Default)]
pub struct Problems(Rc<RefCell<Vec<Problem>>>);

impl Problems {
    /// Adds one.
    pub fn add(&self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.0.borrow_mut().push(Problem {
            span,
            message: message.into(),
            help,
        });
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

/// One table of the file, from which each setting is taken once.
pub struct Table<'a> {
    what: String,
    span: Span,
    entries: Vec<(String, Span, Spanned<DeValue<'a>>)>,
    asked: Vec<String>,
    problems: Problems,
}

impl<'a> Table<'a> {
    /// Wraps a parsed table; `what` names it in messages, as in "`sources.lines`".
    pub fn new(
        what: impl Into<String>,
        span: Span,
        table: DeTable<'a>,
        problems: Problems,
    ) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), key.span(), value))
            .collect();
        Self {
            what: what.into(),
            span,
            entries,
            asked: Vec::new(),
            problems,
        }
    }

    /// How messages name this table.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where it stands in the file.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// The keys not taken yet, in the file's order.
    pub fn keys(&self) -> Vec<(String, Span)> {
        self.entries
            .iter()
            .map(|(key, span, _)| (key.clone(), span.clone()))
            .collect()
    }

    /// Reports a problem at a place of this file.
    pub fn problem(&self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.problems.add(span, message, help);
    }

    /// The shared list of problems.
    pub fn problems(&self) -> Problems {
        self.problems.clone()
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'a>>> {
        self.asked.push(key.to_owned());
        let at = self.entries.iter().position(|(name, _, _)| name == key)?;
        Some(self.entries.remove(at).2)
    }

    fn wrong_type(&self, key: &str, span: Span, wanted: &str, found: &DeValue<'_>) {
        self.problem(
            span,
            format!(
                "`{key}` of {} must be {wanted}, not {}",
                self.what,
                a(found.type_str())
            ),
            None,
        );
    }

    fn missing(&self, key: &str, wanted: &str) {
        self.problem(
            self.span.clone(),
            format!("{} needs `{key}`, {wanted}", self.what),
            None,
        );
    }

    /// An optional text.
    pub fn string(&mut self, key: &str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
            other => {
                self.wrong_type(key, span, "a text", &other);
                None
            }
        }
    }

    /// A text that must be there; `wanted` says what it is ("the address to connect to").
    pub fn required_string(&mut self, key: &str, wanted: &str) -> Option<Spanned<String>> {
        let there = self.entries.iter().any(|(name, _, _)| name == key);
        let value = self.string(key);
        if !there {
            self.missing(key, wanted);
        }
        value
    }

    /// A flag.
    pub fn boolean(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.take(key) else {
            return default;
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(flag) => flag,
            other => {
                self.wrong_type(key, span, "true or false", &other);
                default
            }
        }
    }

    /// An optional whole number of at least `least`.
    pub fn integer(&mut self, key: &str, least: u64) -> Option<Spanned<u64>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.get_ref() {
            DeValue::Integer(digits) => {
                match u64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(number) if number >= least => return Some(Spanned::new(span, number)),
                    _ => self.problem(
                        span,
                        format!(
                            "`{key}` of {} must be a whole number of at least {least}",
                            self.what
                        ),
                        None,
                    ),
                }
            }
            other => self.wrong_type(key, span, "a whole number", other),
        }
        None
    }

    /// An optional span of time, "100ms", "1s", "2m 30s".
    pub fn duration(&mut self, key: &str) -> Option<Spanned<Duration>> {
        let text = self.string(key)?;
        match parse_duration(text.get_ref()) {
            Some(duration) => Some(Spanned::new(text.span(), duration)),
            None => {
                let message = format!("`{}` is not a span of time", text.get_ref());
                self.problem(
                    text.span(),
                    message,
                    Some("write a number and a unit: \"100ms\", \"1s\", \"5m\", \"1h\"".into()),
                );
                None
            }
        }
    }

    /// An optional amount of bytes, "64MiB", "10kB", or a plain number.
    pub fn size(&mut self, key: &str) -> Option<Spanned<u64>> {
        if self
            .entries
            .iter()
            .any(|(name, _, value)| name == key && value.get_ref().is_integer())
        {
            return self.integer(key, 1);
        }
        let text = self.string(key)?;
        match parse_size(text.get_ref()) {
            Some(bytes) if bytes > 0 => Some(Spanned::new(text.span(), bytes)),
            _ => {
                let message = format!("`{}` is not an amount of bytes", text.get_ref());
                self.problem(text.span(), message, Some("write a number and a unit: \"512KiB\", \"64MiB\", \"1GiB\", \"10kB\", \"10MB\"".into()));
                None
            }
        }
    }

    /// One of a few words, else `default`.
    pub fn one_of<T: Clone>(&mut self, key: &str, known: &[(&str, T)], default: T) -> T {
        let Some(text) = self.string(key) else {
            return default;
        };
        match known.iter().find(|(word, _)| word == text.get_ref()) {
            Some((_, value)) => value.clone(),
            None => {
                let help = did_you_mean(text.get_ref(), known.iter().map(|(word, _)| *word));
                self.problem(
                    text.span(),
                    format!("`{}` is not a value of `{key}`", text.get_ref()),
                    help,
                );
                default
            }
        }
    }

    /// A list of texts; a single text counts as a list of one. Empty when the key is not there.
    pub fn strings(&mut self, key: &str) -> Vec<Spanned<String>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => vec![Spanned::new(span, text.into_owned())],
            DeValue::Array(items) => items
                .into_iter()
                .filter_map(|item| {
                    let span = item.span();
                    match item.into_inner() {
                        DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
                        other => {
                            self.wrong_type(key, span, "a list of texts", &other);
                            None
                        }
                    }
                })
                .collect(),
            other => {
                self.wrong_type(key, span, "a text or a list of texts", &other);
                Vec::new()
            }
        }
    }

    /// A sub-table, read the same strict way; `what` names it in messages.
    pub fn table(&mut self, key: &str, what: impl Into<String>) -> Option<Table<'a>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(what, span, table, self.problems.clone())),
            other => {
                self.wrong_type(key, span, "a table", &other);
                None
            }
        }
    }

    /// Every remaining entry as a sub-table with its name and the name's place: `[sources.NAME]`.
    pub fn tables(mut self, kind: &str) -> Vec<(Spanned<String>, Table<'a>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .filter_map(|(key, key_span, value)| {
                let span = value.span();
                match value.into_inner() {
                    DeValue::Table(table) => {
                        let inner = Table::new(
                            format!("{kind} `{key}`"),
                            key_span.clone(),
                            table,
                            self.problems.clone(),
                        );
                        Some((Spanned::new(key_span, key), inner))
                    }
                    other => {
                        self.wrong_type(&key, span, "a table", &other);
                        None
                    }
                }
            })
            .collect()
    }

    /// A sub-value as JSON with no checks, for a plugin's own configuration.
    pub fn json(&mut self, key: &str) -> Option<Spanned<serde_json::Value>> {
        let value = self.take(key)?;
        let span = value.span();
        Some(Spanned::new(span, to_json(value.into_inner())))
    }

    /// Reports every entry nobody asked for.
    pub fn finish(self) {
        for (key, span, _) in &self.entries {
            let help = did_you_mean(key, self.asked.iter().map(String::as_str));
            self.problem(
                span.clone(),
                format!("{} has no setting `{key}`", self.what),
                help,
            );
        }
    }
}

fn a(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

fn to_json(value: DeValue<'_>) -> serde_json::Value {
    use serde_json::Value;
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(digits) => digits
            .as_str()
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items
            .into_iter()
            .map(|item| to_json(item.into_inner()))
            .collect(),
        DeValue::Table(table) => table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), to_json(value.into_inner())))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// Reads "1s", "100ms", "2m 30s".
pub fn parse_duration(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok())
}

/// Reads "64MiB", "10kB", "100".
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}
