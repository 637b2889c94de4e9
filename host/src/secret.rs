//! Secrets: texts that a plugin's settings name and do not say, `{ secret = "NAME" }`.
//!
//! They are put in where a plugin is bound, and nowhere before: files, plans, checkpoints and captures have the names alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Failure;
use crate::ids::SecretName;

/// The key of a table that stands for a secret.
const KEY: &str = "secret";
/// What a variable of the environment is called that holds a secret, before its name.
const VARIABLE: &str = "WASMILL_SECRET_";
/// Shorter lines of a secret are not looked for in what is said: they would stand in many a line that has nothing to do with it.
const HIDDEN_BYTES: usize = 8;

/// What a secret says. It shows itself to nobody who prints it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretText(String);

impl SecretText {
    /// Of a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Secrets by name.
pub type Secrets = BTreeMap<SecretName, SecretText>;

/// Where the texts of secrets come from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// Nowhere: plugins are only checked, and given a secret's name for it. With the names that there are, if that is known.
    Names(Option<BTreeSet<SecretName>>),
    /// The environment: that of the name `db-password` is in `WASMILL_SECRET_DB_PASSWORD`.
    Environment,
    /// A server.
    Given(Secrets),
}

impl SecretSource {
    /// A plugin's configuration with its secrets in it.
    ///
    /// # Errors
    /// When there is no such secret.
    pub fn fill(&self, config: &Value) -> Result<Value, Failure> {
        Ok(match config {
            Value::Object(entries) => match named(entries) {
                Some(name) => Value::String(self.text(name)?),
                None => {
                    let filled = entries
                        .iter()
                        .map(|(key, value)| Ok((key.clone(), self.fill(value)?)));
                    Value::Object(filled.collect::<Result<_, Failure>>()?)
                }
            },
            Value::Array(items) => {
                let filled = items.iter().map(|item| self.fill(item));
                Value::Array(filled.collect::<Result<_, Failure>>()?)
            }
            other => other.clone(),
        })
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        let name = SecretName::parse(name)
            .map_err(|wrong| Failure::user(format!("of a secret, {wrong}")))?;
        let missing = |help: String| {
            let message = format!("there is no secret `{name}`");
            Err(Failure::user(message).help(help))
        };
        match self {
            Self::Names(Some(known)) if !known.contains(&name) => missing(set_it(&name)),
            Self::Names(_) => Ok(name.to_string()),
            Self::Given(secrets) => match secrets.get(&name) {
                Some(text) => Ok(text.reveal().to_owned()),
                None => missing(set_it(&name)),
            },
            Self::Environment => {
                let variable = variable(&name);
                match std::env::var(&variable) {
                    Ok(text) => Ok(text),
                    Err(_) => missing(format!("put it into the environment, as {variable}")),
                }
            }
        }
    }
}

fn set_it(name: &SecretName) -> String {
    format!("set it first: `wasmill secret set {name}` reads it from standard input")
}

fn variable(name: &SecretName) -> String {
    let name = name.as_str().replace('-', "_").to_ascii_uppercase();
    format!("{VARIABLE}{name}")
}

/// The secret that a table stands for.
fn named(entries: &serde_json::Map<String, Value>) -> Option<&str> {
    match entries.len() {
        1 => entries.get(KEY)?.as_str(),
        _ => None,
    }
}

/// Texts that are taken out of whatever is said: all secrets that have been used, line by line.
#[derive(Clone, Debug, Default)]
pub struct Hidden(BTreeSet<SecretText>);

impl Hidden {
    /// Hides these as well.
    pub fn add(&mut self, secrets: &Secrets) {
        for text in secrets.values() {
            let lines = text.reveal().lines().map(str::trim);
            let lines = lines.filter(|line| line.len() >= HIDDEN_BYTES);
            self.0
                .extend(lines.map(|line| SecretText::new(line.to_owned())));
        }
    }

    /// The text without them.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        for secret in &self.0 {
            if shown.contains(secret.reveal()) {
                shown = Cow::Owned(shown.replace(secret.reveal(), "***"));
            }
        }
        shown
    }
}

/// By their texts, which nobody sees.
impl PartialOrd for SecretText {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Longer ones first: one that is a part of another must not leave the rest of it.
impl Ord for SecretText {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let lengths = other.0.len().cmp(&self.0.len());
        lengths.then_with(|| self.0.cmp(&other.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secrets() -> Secrets {
        let secret = |name, text: &str| {
            let name = SecretName::parse(name).unwrap();
            (name, SecretText::new(text.to_owned()))
        };
        [
            secret("token", "hunter2-hunter2"),
            secret("long", "hunter2-hunter2-and-more\nshort"),
        ]
        .into()
    }

    #[test]
    fn a_table_that_names_a_secret_becomes_its_text_wherever_it_stands() {
        let config = json!({
            "url": "http://a", "headers": [{ "name": "Authorization", "value": { "secret": "token" } }],
            "other": { "secret": "token", "more": 1 }, "flag": { "secret": true },
        });
        let filled = SecretSource::Given(secrets()).fill(&config).unwrap();
        assert_eq!(filled["headers"][0]["value"], "hunter2-hunter2");
        assert_eq!(
            (&filled["other"], &filled["flag"]),
            (&config["other"], &config["flag"])
        );
        let shown = SecretSource::Names(None).fill(&config).unwrap();
        assert_eq!(shown["headers"][0]["value"], "token");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_and_how_to_set_it() {
        let config = json!({ "a": { "secret": "nowhere" } });
        let known = SecretSource::Names(Some(secrets().into_keys().collect()));
        for source in [known, SecretSource::Given(secrets())] {
            let failure = source.fill(&config).unwrap_err();
            assert_eq!(failure.message, "there is no secret `nowhere`");
            assert!(failure.help.unwrap().contains("wasmill secret set nowhere"));
        }
        let failure = SecretSource::Environment.fill(&config).unwrap_err();
        assert!(failure.help.unwrap().contains("WASMILL_SECRET_NOWHERE"));
        let wrong = json!({ "secret": "No Name" });
        assert!(SecretSource::Names(None).fill(&wrong).is_err());
    }

    #[test]
    fn what_is_said_has_no_line_of_a_secret_in_it() {
        let mut hidden = Hidden::default();
        hidden.add(&secrets());
        let said = hidden.hide("a=hunter2-hunter2-and-more b=hunter2-hunter2 c=short");
        assert_eq!(said, "a=*** b=*** c=short");
        assert!(!format!("{hidden:?} {:?}", secrets()).contains("hunter2"));
    }
}
