//! Reads what an aggregate computes: `count()`, `sum(bytes)`.

use toml::Spanned;

use super::spec::within;
use crate::aggregate::Function;
use crate::config::{Problems, Span, did_you_mean};

/// A function and its column, not yet looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which function.
    pub function: Spanned<Function>,
    /// The column between the parentheses; `None` for `count()`.
    pub column: Option<Spanned<String>>,
}

/// Reads one; `None` after a problem. A column is whatever stands between the parentheses, so that it may have any
/// name a plugin gives it.
pub fn parse(text: &Spanned<String>, problems: &Problems) -> Option<Call> {
    let written = text.get_ref();
    let problem = |part: Span, message: String, help: Option<String>| {
        problems.add(within(text, part), message, help);
    };
    let Some((before, rest)) = written.split_once('(') else {
        let name = written.trim();
        let help = match function(name) {
            Some(Function::Count) => "write `count()`".to_owned(),
            Some(_) => format!("write `{name}(COLUMN)`"),
            None => "write a function of a column: `count()`, `sum(COLUMN)`, `min(COLUMN)`, `max(COLUMN)`, `avg(COLUMN)`".to_owned(),
        };
        let message = format!("`{written}` is not a function of a column");
        problem(0..written.len(), message, Some(help));
        return None;
    };
    let open = before.len() + 1;
    let (name, name_at) = trimmed(before, 0);
    let Some(function) = function(name) else {
        let help = did_you_mean(name, Function::ALL.iter().map(|known| known.name()));
        problem(name_at, format!("there is no function `{name}`"), help);
        return None;
    };

    let Some(close) = rest.rfind(')') else {
        let message = format!("the parenthesis of `{name}(` is not closed");
        problem(open - 1..written.len(), message, None);
        return None;
    };
    let after = open + close + 1;
    if !written[after..].trim().is_empty() {
        let message = format!("nothing can follow `{}`", &written[..after]);
        let help = "one function of one column is computed here; what is computed from it belongs in a plugin";
        problem(after..written.len(), message, Some(help.into()));
        return None;
    }
    let (column, column_at) = trimmed(&rest[..close], open);
    if column.is_empty() && function != Function::Count {
        let message = format!("`{name}` needs a column");
        problem(
            0..written.len(),
            message,
            Some(format!("write `{name}(COLUMN)`")),
        );
        return None;
    }
    Some(Call {
        function: Spanned::new(within(text, name_at), function),
        column: (!column.is_empty())
            .then(|| Spanned::new(within(text, column_at), column.to_owned())),
    })
}

fn function(name: &str) -> Option<Function> {
    Function::ALL.into_iter().find(|known| known.name() == name)
}

/// `part` without surrounding space, and its place in a text in which it begins at `start`.
fn trimmed(part: &str, start: usize) -> (&str, Span) {
    let inner = part.trim();
    let at = start + (part.len() - part.trim_start().len());
    (inner, at..at + inner.len())
}
