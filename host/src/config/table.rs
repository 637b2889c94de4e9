//! One table of the file, from which each setting is taken once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::confines::Refused;
use super::units::{parse_duration, parse_size};
use super::{Confines, Problems, Span, did_you_mean, nearest};

/// Parses the text of a pipeline file that stands in the folder `base`. `None` when it is not TOML; why is in `problems`.
pub fn parse<'a>(text: &'a str, base: &Path, problems: &Problems) -> Option<Table<'a>> {
    read(text, base, problems, None)
}

/// The same for a file that may reach no more of this machine than `confines` let it; anything more is a problem.
pub fn parse_confined<'a>(
    text: &'a str,
    base: &Path,
    problems: &Problems,
    confines: &Rc<Confined>,
) -> Option<Table<'a>> {
    read(text, base, problems, Some(confines.clone()))
}

fn read<'a>(
    text: &'a str,
    base: &Path,
    problems: &Problems,
    confined: Option<Rc<Confined>>,
) -> Option<Table<'a>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let end = text.len();
        let message = format!("this is not TOML: {}", error.message());
        problems.add(error.span().unwrap_or(end..end), message, None);
    }
    errors.is_empty().then(|| {
        let file = File {
            base: base.into(),
            problems: problems.clone(),
            confined,
        };
        Table::new("the file", 0..0, document.into_inner(), file)
    })
}

/// What all tables of one file share.
#[derive(Clone)]
struct File {
    base: Rc<Path>,
    problems: Problems,
    confined: Option<Rc<Confined>>,
}

/// Where a confined file names paths, with the whole of each.
pub type Paths = BTreeMap<usize, (Span, PathBuf)>;

/// What a file is confined to, and the paths that it names.
#[derive(Debug)]
pub struct Confined {
    confines: Confines,
    /// What stands from here on was added by someone who may reach anything.
    until: usize,
    paths: RefCell<Paths>,
}

impl Confined {
    /// Of a file that has named nothing yet, of which the first `until` bytes are confined.
    pub fn new(confines: Confines, until: usize) -> Self {
        Self {
            confines,
            until,
            paths: RefCell::default(),
        }
    }

    /// The paths named so far.
    pub fn paths(&self) -> Paths {
        self.paths.borrow().clone()
    }

    /// A place may be looked at twice, the second time for a part of what is written there.
    fn note(&self, span: Span, path: PathBuf) {
        let mut paths = self.paths.borrow_mut();
        paths.entry(span.start).or_insert((span, path));
    }
}

/// A key and its text, each with its place.
pub type Pair = (Spanned<String>, Spanned<String>);

/// One table of the file, from which each setting is taken once.
pub struct Table<'a> {
    what: String,
    span: Span,
    /// In the file's order.
    entries: Vec<(String, Span, Spanned<DeValue<'a>>)>,
    asked: Vec<String>,
    file: File,
}

impl<'a> Table<'a> {
    fn new(what: impl Into<String>, span: Span, table: DeTable<'a>, file: File) -> Self {
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Self {
            what: what.into(),
            span,
            entries,
            asked: Vec::new(),
            file,
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
        self.file.problems.add(span, message, help);
    }

    /// The shared list of problems.
    pub fn problems(&self) -> &Problems {
        &self.file.problems
    }

    /// Where the value of `key` is, if it is there and not taken yet.
    pub fn span_of(&self, key: &str) -> Option<Span> {
        Some(self.entry(key)?.span())
    }

    /// Whether `key` is there and not taken yet.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// A text without taking it, for a setting that decides who reads the table.
    pub fn peek(&self, key: &str) -> Option<&str> {
        self.entry(key)?.get_ref().as_str()
    }

    /// Whether `key` holds a table, for a setting that can be written in two ways.
    pub fn holds_table(&self, key: &str) -> bool {
        self.entry(key)
            .is_some_and(|value| value.get_ref().is_table())
    }

    fn entry(&self, key: &str) -> Option<&Spanned<DeValue<'a>>> {
        self.entries
            .iter()
            .find(|(name, _, _)| name == key)
            .map(|(_, _, value)| value)
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

    /// Reports that a setting is not there, unless one is left that [`Table::finish`] will say is this one, misspelt.
    pub fn missing(&self, key: &str, wanted: &str, help: Option<String>) {
        if self.misspelt(key).is_none() {
            let message = format!("{} needs `{key}`, {wanted}", self.what);
            self.problem(self.span.clone(), message, help);
        }
    }

    /// The key, not taken yet, that was probably meant to be `key`.
    pub fn misspelt(&self, key: &str) -> Option<(String, Span)> {
        let mut keys = self.keys().into_iter();
        keys.find(|(written, _)| nearest(written, [key]).is_some())
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
        let there = self.has(key);
        let value = self.string(key);
        if !there {
            self.missing(key, wanted, None);
        }
        value
    }

    /// An optional path; one that is not absolute counts from the folder that the pipeline file stands in.
    pub fn path(&mut self, key: &str) -> Option<Spanned<PathBuf>> {
        let text = self.string(key)?;
        Some(Spanned::new(text.span(), self.resolve(&text)))
    }

    /// A path that must be there; `wanted` says what it is ("the folder to watch").
    pub fn required_path(&mut self, key: &str, wanted: &str) -> Option<Spanned<PathBuf>> {
        let text = self.required_string(key, wanted)?;
        Some(Spanned::new(text.span(), self.resolve(&text)))
    }

    /// `path` as seen from the folder that the pipeline file stands in.
    pub fn resolve(&self, path: &Spanned<String>) -> PathBuf {
        let whole = self.file.base.join(path.get_ref());
        let Some(confined) = &self.file.confined else {
            return whole;
        };
        if path.span().start < confined.until
            && let Err(refused) = confined.confines.path(path.get_ref())
        {
            self.refuse(path.span(), refused);
            // Nothing may look at what lies elsewhere.
            return self.file.base.to_path_buf();
        }
        confined.note(path.span(), whole.clone());
        whole
    }

    /// Reports an address that this file may not open a connection to, or listen on.
    pub fn check_address(&self, address: &Spanned<String>) {
        if let Some(confined) = &self.file.confined
            && let Err(refused) = confined.confines.address(address.get_ref())
        {
            self.refuse(address.span(), refused);
        }
    }

    /// Reports a host that this file may not let a plugin send requests to.
    pub fn check_http(&self, host: &Spanned<String>) {
        if let Some(confined) = &self.file.confined
            && let Err(refused) = confined.confines.http(host.get_ref())
        {
            self.refuse(host.span(), refused);
        }
    }

    /// Whether someone else decides where its records are kept.
    pub fn is_confined(&self) -> bool {
        self.file.confined.is_some()
    }

    fn refuse(&self, span: Span, refused: Refused) {
        self.problem(span, refused.message, Some(refused.help));
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
        self.span_of_time(text)
    }

    /// The span of time that a text of this table says.
    pub fn span_of_time(&self, text: Spanned<String>) -> Option<Spanned<Duration>> {
        match parse_duration(text.get_ref()) {
            Some(duration) if !duration.is_zero() => Some(Spanned::new(text.span(), duration)),
            _ => {
                let message = format!(
                    "`{}` is not a span of time longer than zero",
                    text.get_ref()
                );
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
            .entry(key)
            .is_some_and(|value| value.get_ref().is_integer())
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
        self.choice(key, known).map_or(default, Spanned::into_inner)
    }

    /// One of a few words, if written.
    pub fn choice<T: Clone>(&mut self, key: &str, known: &[(&str, T)]) -> Option<Spanned<T>> {
        let text = self.string(key)?;
        let found = known.iter().find(|(word, _)| word == text.get_ref());
        if found.is_none() {
            let help = did_you_mean(text.get_ref(), known.iter().map(|(word, _)| *word));
            let message = format!("`{}` is not a value of `{key}`", text.get_ref());
            self.problem(text.span(), message, help);
        }
        found.map(|(_, value)| Spanned::new(text.span(), value.clone()))
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

    /// A sub-table of texts, `{ user = "utf8", bytes = "int64" }`, in the order written.
    pub fn pairs(&mut self, key: &str) -> Option<Spanned<Vec<Pair>>> {
        let value = self.take(key)?;
        let span = value.span();
        let entries = match value.into_inner() {
            DeValue::Table(table) => table,
            other => {
                self.wrong_type(key, span, "a table", &other);
                return None;
            }
        };
        let what = format!("`{key}` of {}", self.what);
        let mut inner = Table::new(what, span.clone(), entries, self.file.clone());
        let pairs = inner
            .keys()
            .into_iter()
            .filter_map(|(name, span)| {
                let text = inner.string(&name)?;
                Some((Spanned::new(span, name), text))
            })
            .collect();
        Some(Spanned::new(span, pairs))
    }

    /// A sub-table, read the same strict way; `what` names it in messages.
    pub fn table(&mut self, key: &str, what: impl Into<String>) -> Option<Table<'a>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(what, span, table, self.file.clone())),
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
                            self.file.clone(),
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

    /// Takes what is left, after a problem that makes it impossible to say which settings are known.
    pub fn ignore_rest(&mut self) {
        self.entries.clear();
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
