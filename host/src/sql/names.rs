//! The columns and functions that an expression names, checked where they stand.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use arrow::datatypes::{Field, Schema};
use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, visit_expressions, visit_expressions_mut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token};

use super::functions::Functions;
use super::{BATCH_TIME, Mistake};
use crate::aggregate;
use crate::batch::ColumnType;
use crate::config::did_you_mean;

/// What an expression names.
pub struct Named {
    /// Columns of the input, in its order.
    pub columns: Vec<usize>,
    /// Whether it asks for the time of its epoch.
    pub asks_time: bool,
}

/// The columns that an expression can mean: those of its input, then the time of the epoch.
pub fn schema_with_time(input: &Schema) -> Schema {
    let time = ColumnType::Timestamp.field(BATCH_TIME, false);
    let fields = input.fields().iter().map(|field| field.as_ref().clone());
    Schema::new(fields.chain([time]).collect::<Vec<Field>>())
}

/// Reads one expression and nothing behind it.
pub fn parse(text: &str) -> Result<Expr, Vec<Mistake>> {
    let dialect = GenericDialect {};
    let parsed = Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| Ok((parser.parse_expr()?, parser.peek_token())));
    match parsed {
        Ok((expression, next)) if next.token == Token::EOF => Ok(expression),
        Ok((_, next)) => {
            let start = offset(text, next.span.start);
            let message = format!(
                "nothing can follow the expression, but there is `{}`",
                next.token
            );
            Err(vec![mistake(start..text.len(), message, None)])
        }
        Err(error) => Err(vec![not_sql(text, error)]),
    }
}

/// Turns the parser's words into ours; it puts the place behind them.
fn not_sql(text: &str, error: ParserError) -> Mistake {
    let said = match error {
        ParserError::TokenizerError(said) | ParserError::ParserError(said) => said,
        ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    };
    let (said, place) = match said.split_once(" at Line: ") {
        Some((said, place)) => (said.to_owned(), location(place)),
        None => (said, None),
    };
    let start = place.map_or(0, |place| offset(text, place));
    mistake(
        start..text.len().max(start),
        format!(
            "this is not an SQL expression: {}",
            said.replacen("Expected: ", "expected ", 1)
        ),
        None,
    )
}

/// `3, Column: 5`
fn location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location::new(
        line.parse().ok()?,
        column.trim().parse().ok()?,
    ))
}

/// Looks up every name, and gives `user`, which SQL keeps for itself, back to the column it means here.
pub fn resolve(expression: &mut Expr, text: &str, input: &Schema) -> Result<Named, Vec<Mistake>> {
    let nested = visit_expressions(expression, |part| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if nested.is_break() {
        let message = "an expression computes with one row, and has no queries within it";
        return Err(vec![mistake(0..text.len(), message, None)]);
    }
    let mut names = Names {
        text,
        input,
        columns: BTreeSet::new(),
        asks_time: false,
        mistakes: Vec::new(),
    };
    let walked: ControlFlow<()> = visit_expressions_mut(expression, |part| {
        names.part(part);
        ControlFlow::Continue(())
    });
    debug_assert!(walked.is_continue());
    match names.mistakes.is_empty() {
        true => Ok(Named {
            columns: names.columns.into_iter().collect(),
            asks_time: names.asks_time,
        }),
        false => Err(names.mistakes),
    }
}

struct Names<'a> {
    text: &'a str,
    input: &'a Schema,
    columns: BTreeSet<usize>,
    asks_time: bool,
    mistakes: Vec<Mistake>,
}

impl Names<'_> {
    fn part(&mut self, part: &mut Expr) {
        match part {
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(names) => self.compound(names),
            Expr::Function(function) => {
                if let Some(column) = self.function(function) {
                    *part = Expr::Identifier(column);
                }
            }
            _ => {}
        }
    }

    fn column(&mut self, name: &Ident) {
        match self.input.index_of(&name.value) {
            Ok(column) => {
                self.columns.insert(column);
            }
            Err(_) => {
                let message = format!("the input has no column `{}`", name.value);
                let help = self.column_meant(name);
                self.mistake(name.span, message, help);
            }
        }
    }

    fn column_meant(&self, name: &Ident) -> Option<String> {
        let names = || {
            self.input
                .fields()
                .iter()
                .map(|field| field.name().as_str())
        };
        if let Some(same) = names().find(|known| known.eq_ignore_ascii_case(&name.value)) {
            return Some(format!("did you mean `{same}`?"));
        }
        match (name.quote_style, did_you_mean(&name.value, names())) {
            (Some('"'), help) if !help.as_ref().is_some_and(|help| help.starts_with("did")) => {
                Some(format!("a text stands in single quotes: '{}'", name.value))
            }
            (_, help) => help,
        }
    }

    fn compound(&mut self, names: &[Ident]) {
        let written: Vec<_> = names.iter().map(|name| name.value.as_str()).collect();
        let written = written.join(".");
        let message = format!("`{written}` names a column of a table, but there is only the input");
        let help = format!(
            "write the column's name alone; one with a dot in it stands in double quotes: \"{written}\""
        );
        let whole = names.iter().map(|name| name.span);
        let whole = whole.reduce(|first, next| first.union(&next));
        self.mistake(whole.unwrap_or_else(Span::empty), message, Some(help));
    }

    /// Checks a function's name; answers the column that it stands for instead, if so.
    fn function(&mut self, function: &Function) -> Option<Ident> {
        let [part] = function.name.0.as_slice() else {
            let message = format!("there is no function `{}`", function.name);
            self.mistake(Span::empty(), message, None);
            return None;
        };
        let written = part.as_ident()?;
        let bare = matches!(function.args, FunctionArguments::None);
        if bare && let Ok(column) = self.input.index_of(&written.value) {
            self.columns.insert(column);
            return Some(written.clone());
        }
        let name = written.value.to_lowercase();
        if name == "batch_time" && function.to_string().ends_with("()") {
            self.asks_time = true;
            return Some(Ident::with_quote('"', BATCH_TIME));
        }
        self.check_function(&name, written);
        None
    }

    fn check_function(&mut self, name: &str, written: &Ident) {
        let functions = Functions::known();
        let mut aggregates = aggregate::Function::ALL.iter();
        match functions.is_pure(name) {
            Some(true) => {}
            Some(false) => {
                let message = format!(
                    "`{name}` does not give the same again when an epoch is computed again"
                );
                let help = "the time of the epoch, which stays the same, is `batch_time()`";
                self.mistake(written.span, message, Some(help.into()));
            }
            None if aggregates.any(|known| known.name() == name) => {
                let message = format!("`{name}` computes with many rows, an expression with one");
                let help = format!(
                    "use a step with `aggregate` for it: aggregate = {{ x = \"{name}(...)\" }}"
                );
                self.mistake(written.span, message, Some(help));
            }
            None => {
                let message = format!("there is no function `{name}`");
                let known = functions.names().chain(["batch_time"]);
                let help = crate::config::nearest(name, known)
                    .map(|name| format!("did you mean `{name}`?"));
                self.mistake(written.span, message, help);
            }
        }
    }

    fn mistake(&mut self, span: Span, message: String, help: Option<String>) {
        let span = match span == Span::empty() {
            true => 0..self.text.len(),
            false => offset(self.text, span.start)..offset(self.text, span.end),
        };
        self.mistakes.push(mistake(span, message, help));
    }
}

fn mistake(span: Range<usize>, message: impl Into<String>, help: Option<String>) -> Mistake {
    Mistake {
        span,
        message: message.into(),
        help,
    }
}

/// The byte of a place that the parser counts in lines and characters, both from 1.
fn offset(text: &str, place: Location) -> usize {
    let mut start = 0;
    for line in text
        .split_inclusive('\n')
        .take((place.line as usize).saturating_sub(1))
    {
        start += line.len();
    }
    let characters = text[start..].char_indices();
    let column = (place.column as usize).saturating_sub(1);
    characters
        .map(|(at, _)| start + at)
        .nth(column)
        .unwrap_or(text.len())
}
