//! `wasmill plugin inspect`: what a component is, what it may do, and what it makes of given columns.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde_json::{Value, json};

use crate::batch::ColumnType;
use crate::cli::check::Format;
use crate::cli::engine::EngineOptions;
use crate::cli::output;
use crate::config::format_size;
use crate::pipeline::columns;
use crate::pipeline::search::SearchPath;
use crate::plugin::component::{self, Parsed};
use crate::plugin::{Engine, Grants, Limits, Transform, is_answered};

/// What becomes of imports of WASI.
const STUBS: &str = "answered by stubs: no environment, files or network; the batch time as clock, random numbers by seed, output to the log";

/// Say what a plugin is: its world, imports, size and digest
///
/// With --columns, also which of these columns it would read and what it would give.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin inspect split-words
  wasmill plugin inspect ./my-plugin.wasm --columns line:utf8
  wasmill plugin inspect filter-regex --columns line:utf8,n:int64 --config '{\"pattern\": \"^a\"}'")]
pub struct Inspect {
    /// A file, or a name as a pipeline file in this folder would write it
    plugin: String,

    /// Input columns to describe it with, as NAME:TYPE[,NAME:TYPE...]; `?` behind a type allows nulls
    #[arg(long, value_name = "COLUMNS", value_parser = schema)]
    columns: Option<SchemaRef>,

    /// Configuration to describe it with, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object, requires = "columns")]
    config: Value,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    engine: EngineOptions,
}

/// Reads `line:utf8,n:int64?`.
fn schema(text: &str) -> Result<SchemaRef, String> {
    let columns = split_columns(text).into_iter().map(|text| {
        let (name, data_type) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is not NAME:TYPE"))?;
        column(name.trim(), data_type)
    });
    let fields: Vec<Field> = columns.collect::<Result<_, String>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// A column of a type as it is written, `int64` or `int64?`.
pub fn column(name: &str, data_type: &str) -> Result<Field, String> {
    let nullable = data_type.ends_with('?');
    let data_type: ColumnType = data_type
        .trim_end_matches('?')
        .trim()
        .parse()
        .map_err(|unknown| format!("{unknown}"))?;
    Ok(data_type.field(name, nullable))
}

/// Splits at commas that are not within parentheses, as those of `decimal(10,2)` are.
fn split_columns(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => (),
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err("it is not a JSON object".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Inspect {
    /// Prints what there is to know.
    ///
    /// # Errors
    /// When the file is not there or no plugin, or the plugin refuses the columns or configuration.
    pub fn run(self) -> anyhow::Result<()> {
        let variable = std::env::var_os("WASMILL_PLUGINS");
        let path = SearchPath::new(Path::new(""), variable.as_deref()).find(&self.plugin)?;
        let bytes = std::fs::read(&path)
            .with_context(|| format!("plugin {} cannot be read", path.display()))?;
        let parsed = component::parse(&bytes)?;
        let described = match &self.columns {
            Some(columns) => {
                let engine = self.engine.open()?;
                Some(describe(&engine, &path, columns, &self.config)?)
            }
            None => None,
        };
        let text = match self.format {
            Format::Text => text(&path, bytes.len(), &parsed, described.as_ref()),
            Format::Json => {
                let json = as_json(&path, bytes.len(), &parsed, described.as_ref());
                format!("{json:#}\n")
            }
        };
        output::write(text.as_bytes())
    }
}

/// What a plugin makes of given columns.
struct Described {
    reads: Vec<String>,
    /// Name, columns it makes, and whether the others are carried.
    ports: Vec<(String, SchemaRef, bool)>,
}

fn describe(
    engine: &Engine,
    path: &Path,
    input: &SchemaRef,
    config: &Value,
) -> anyhow::Result<Described> {
    let component = engine.load(path)?;
    let name = component.name().into();
    let transform = Transform::new(
        &component,
        &name,
        config,
        input,
        &Limits::default(),
        &Grants::default(),
    )?;
    let reads = transform.columns().iter();
    let ports = transform.ports().iter();
    Ok(Described {
        reads: reads
            .map(|column| input.field(*column).name().clone())
            .collect(),
        ports: ports
            .map(|port| (port.name.clone(), port.columns.clone(), port.carry))
            .collect(),
    })
}

fn world(parsed: &Parsed) -> String {
    format!("{}-plugin", parsed.about.world.interface())
}

fn text(path: &Path, size: usize, parsed: &Parsed, described: Option<&Described>) -> String {
    let mut lines = vec![
        ("file", path.display().to_string()),
        ("world", world(parsed)),
        ("version", parsed.about.version.clone()),
        (
            "form",
            match parsed.about.was_module {
                true => "core module".to_owned(),
                false => "component".to_owned(),
            },
        ),
        (
            "size",
            format!(
                "{size} bytes, {} as a component",
                format_size(parsed.bytes.len() as u64)
            ),
        ),
        ("digest", parsed.about.digest.to_string()),
    ];
    if parsed.about.imports.is_empty() {
        lines.push(("imports", "nothing".to_owned()));
    }
    lines.extend(
        parsed
            .about
            .imports
            .iter()
            .map(|import| ("imports", import.to_string())),
    );
    if parsed.about.imports.iter().any(is_answered) {
        lines.push(("wasi", STUBS.to_owned()));
    }
    if let Some(described) = described {
        lines.push(("reads", described.reads.join(", ")));
        for (name, made, carry) in &described.ports {
            let carried = if *carry {
                ", and carries the other columns"
            } else {
                ""
            };
            lines.push(("port", format!("{name}: {}{carried}", columns(made))));
        }
    }
    let mut text = String::new();
    for (label, line) in lines {
        // Writing to a String cannot fail.
        writeln!(text, "{label:<8} {line}").ok();
    }
    text
}

fn as_json(path: &Path, size: usize, parsed: &Parsed, described: Option<&Described>) -> Value {
    let mut json = json!({
        "file": path.to_string_lossy(),
        "world": world(parsed),
        "version": parsed.about.version,
        "module": parsed.about.was_module,
        "size": size,
        "digest": parsed.about.digest.to_string(),
        "imports": parsed.about.imports.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "stubbed": parsed.about.imports.iter().filter(|import| is_answered(import)).map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let Some(described) = described {
        json["reads"] = described.reads.clone().into();
        let ports = described.ports.iter().map(|(name, made, carry)| {
            let columns = made.fields().iter().map(|field| {
                json!({
                    "name": field.name(),
                    "type": crate::batch::name_of(field),
                    "nullable": field.is_nullable(),
                })
            });
            json!({ "name": name, "columns": columns.collect::<Vec<_>>(), "carry": carry })
        });
        json["ports"] = ports.collect();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_with_their_types_and_nulls() {
        let schema = schema("line:utf8, price:decimal(10,2)?,n:int64").unwrap();
        assert_eq!(
            columns(&schema),
            "line: utf8, price: decimal(10,2), n: int64"
        );
        let nullable: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.is_nullable())
            .collect();
        assert_eq!(nullable, [false, true, false]);
    }

    #[test]
    fn columns_that_are_not_written_right_say_what_is_wrong() {
        assert_eq!(schema("line").unwrap_err(), "`line` is not NAME:TYPE");
        assert!(schema("n:int32").unwrap_err().contains("int32"));
    }

    #[test]
    fn a_configuration_must_be_an_object() {
        assert!(object("{\"a\": 1}").is_ok());
        assert!(object("[1]").is_err());
        assert!(object("{").is_err());
    }
}
