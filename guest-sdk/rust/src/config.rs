//! The plugin's configuration: the step's own table of the pipeline file, read into a serde struct with every
//! unknown key reported.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor,
};
use serde_json::{Map, Value};

use crate::{Error, suggest};

/// The configuration of a plugin that has none.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
pub struct NoConfig {}

/// The configuration as a table; an empty text is an empty one.
pub(crate) fn parse(config: &str) -> Result<Map<String, Value>, Error> {
    if config.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_str(config)
        .map_err(|error| Error::fatal(format!("the configuration is not JSON: {error}")))?;
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(table) => Ok(table),
        _ => Err(Error::fatal("the configuration must be a table")),
    }
}

/// Reads the plugin's own struct. `settings` are further keys that are known: those that name columns.
pub(crate) fn read<C: DeserializeOwned>(
    table: Map<String, Value>,
    settings: &[&str],
) -> Result<C, Error> {
    C::deserialize(Strict { table, settings })
        .map_err(|error| Error::fatal(format!("the configuration is wrong: {error}")))
}

/// Reads the configuration and makes the plugin's state of it.
pub(crate) fn open<C: DeserializeOwned, S, E: Into<Error>>(
    config: &str,
    settings: &[&str],
    open: impl FnOnce(C) -> Result<S, E>,
) -> Result<S, Error> {
    open(read(parse(config)?, settings)?).map_err(Into::into)
}

/// Reads a setting written as `"30s"`, `"1h 30m"` or `"250ms"`, for a field with
/// `#[serde(deserialize_with = "wasmill_sdk::duration")]`.
///
/// # Errors
/// What was there instead.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = <Cow<str>>::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "`{text}` is not a duration as `30s`, `1h 30m` or `250ms`"
        ))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = (!rest.is_empty()).then_some(Duration::ZERO)?;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
        sum = sum.checked_add(Duration::from_millis(millis))?;
        rest = after.trim_start();
    }
    Some(sum)
}

/// A deserializer that refuses keys the struct does not have: serde tells it the struct's fields.
struct Strict<'s> {
    table: Map<String, Value>,
    settings: &'s [&'s str],
}

impl<'de> Deserializer<'de> for Strict<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(Entries {
            table: self.table.into_iter(),
            taken: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.table.retain(|key, _| {
            !self.settings.contains(&key.as_str()) || fields.contains(&key.as_str())
        });
        let known = || fields.iter().chain(self.settings).copied();
        for key in self.table.keys() {
            if !fields.contains(&key.as_str()) {
                return Err(Self::Error::custom(unknown(key, known())));
            }
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The table's settings, each named where its value is wrong.
struct Entries {
    table: serde_json::map::IntoIter,
    /// The setting whose key was asked for last.
    taken: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        self.taken = self.table.next();
        let key = self.taken.as_ref().map(|(key, _)| key.as_str());
        key.map(|key| seed.deserialize(key.into_deserializer()))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        let (key, value) = self.taken.take().expect("serde asks for the key first");
        seed.deserialize(value)
            .map_err(|error| Self::Error::custom(format!("`{key}`: {error}")))
    }
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match suggest::nearest(key, known.clone()) {
        Some(near) => format!("there is no setting `{key}`; did you mean `{near}`?"),
        None => {
            let names: Vec<_> = known.map(|name| format!("`{name}`")).collect();
            if names.is_empty() {
                format!("there is no setting `{key}`; this plugin has none")
            } else {
                format!(
                    "there is no setting `{key}`; there are {}",
                    names.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Config {
        pattern: String,
        #[serde(default)]
        invert: bool,
    }

    fn read_text(text: &str) -> Result<Config, Error> {
        read(parse(text)?, &["column"])
    }

    #[test]
    fn keys_of_the_struct_and_of_columns_are_known() {
        let config = read_text(r#"{"pattern": "x", "invert": true, "column": "line"}"#)
            .expect("a good table");
        assert_eq!((config.pattern.as_str(), config.invert), ("x", true));
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = read_text(r#"{"patern": "x"}"#).expect_err("a typo");
        assert!(
            error.message.contains("`patern`; did you mean `pattern`?"),
            "{error}"
        );
        let error = read_text(r#"{"pattern": "x", "colum": "line"}"#).expect_err("a typo");
        assert!(error.message.contains("did you mean `column`?"), "{error}");
    }

    #[test]
    fn a_missing_key_and_a_wrong_type_are_told() {
        let error = read_text("").expect_err("no pattern");
        assert!(error.message.contains("missing field `pattern`"), "{error}");
        let error = read_text(r#"{"pattern": 3}"#).expect_err("a number");
        assert_eq!(
            error.message,
            "the configuration is wrong: `pattern`: invalid type: integer `3`, expected a string"
        );
    }

    #[test]
    fn a_duration_is_a_sum_of_units() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("1h 30m"), Some(5_400_000));
        assert_eq!(millis("1d2h3s"), Some(93_603_000));
        assert_eq!(millis("10 s"), Some(10_000));
        for bad in [
            "",
            " ",
            "10",
            "s",
            "1.5h",
            "-1s",
            "1 week",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_plugin_without_settings_refuses_any() {
        let table = parse(r#"{"a": 1}"#).expect("a table");
        let error = read::<NoConfig>(table, &[]).expect_err("a key");
        assert!(error.message.contains("this plugin has none"), "{error}");
    }
}
