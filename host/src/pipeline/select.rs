//! Types the steps whose code is SQL, and says what is wrong with it where it stands.

use arrow::datatypes::{Field, Fields, Schema};
use toml::Spanned;

use super::spec::{SelectSpec, within};
use super::types::{TypedKind, TypedPort};
use crate::batch::name_of;
use crate::config::Problems;
use crate::sql::{Expression, Sql};

/// A step that lets some of its rows go on as they are.
pub fn filter(
    condition: &Spanned<String>,
    input: &Schema,
    problems: &Problems,
) -> Option<(Vec<TypedPort>, TypedKind)> {
    let expression = expression(condition, input, problems)?;
    if !expression.is_condition() {
        let field = expression.field("");
        let message = format!(
            "a filter says yes or no of a row, but this is {}",
            name_of(&field)
        );
        let help = "compare it with something: status >= 500";
        problems.add(condition.span(), message, Some(help.into()));
        return None;
    }
    let port = TypedPort::beside(String::new(), &Fields::empty(), input, true);
    Some((vec![port], TypedKind::Sql(Sql::Filter(expression))))
}

/// A step that computes columns.
pub fn select(
    spec: &SelectSpec,
    input: &Schema,
    problems: &Problems,
) -> Option<(Vec<TypedPort>, TypedKind)> {
    let columns = spec.columns.iter();
    let columns: Vec<_> = columns
        .map(|(name, text)| {
            let expression = expression(text, input, problems)?;
            Some((name.get_ref().clone(), expression))
        })
        .collect();
    let columns = columns.into_iter().collect::<Option<Vec<_>>>()?;
    let made: Vec<Field> = columns
        .iter()
        .map(|(name, expression)| expression.field(name))
        .collect();
    let port = TypedPort::beside(String::new(), &made.into(), input, spec.carry);
    Some((vec![port], TypedKind::Sql(Sql::Select(columns))))
}

fn expression(text: &Spanned<String>, input: &Schema, problems: &Problems) -> Option<Expression> {
    match Expression::new(text.get_ref(), input) {
        Ok(expression) => Some(expression),
        Err(mistakes) => {
            for mistake in mistakes {
                problems.add(within(text, mistake.span), mistake.message, mistake.help);
            }
            None
        }
    }
}
