//! Answers as tables for people, or as JSON for programs.

use serde::Serialize;

use super::Form;
use crate::cli::output;

/// A table that is being filled.
pub struct Listing {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    next: Option<Box<Self>>,
}

impl Listing {
    /// With these columns.
    pub fn of(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.into(),
            rows: Vec::new(),
            next: None,
        }
    }

    /// Shows another one below it.
    pub fn then(self, next: Self) -> Self {
        let next = Some(Box::new(next));
        Self { next, ..self }
    }

    /// Adds a row.
    pub fn row(mut self, cells: impl IntoIterator<Item = String>) -> Self {
        self.rows.push(cells.into_iter().collect());
        self
    }

    /// Adds a row for each of these.
    pub fn rows<T>(self, items: &[T], row: impl Fn(&T) -> Vec<String>) -> Self {
        items
            .iter()
            .fold(self, |listing, item| listing.row(row(item)))
    }

    /// Prints it, or what it was made of.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn show(&self, form: Form, answer: &impl Serialize) -> anyhow::Result<()> {
        match form {
            Form::Table => output::write(self.text().as_bytes()),
            Form::Json => show_json(answer),
        }
    }

    /// Columns are as wide as their widest cell; the last one ends where it ends.
    pub fn text(&self) -> String {
        let headings = self.headings.iter().map(ToString::to_string).collect();
        let lines = std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines.clone().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        for row in lines {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        if let Some(next) = &self.next {
            text.push('\n');
            text.push_str(&next.text());
        }
        text
    }
}

/// Prints an answer for programs.
///
/// # Errors
/// When standard output cannot be written.
pub fn show_json(answer: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(answer)?;
    output::write(format!("{json}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_lines_have_no_blanks_at_their_end() {
        let listing = Listing::of(&["NAME", "STATE"])
            .row(["a".into(), "running".into()])
            .row(["word-count".into(), String::new()]);
        let text = "NAME        STATE\na           running\nword-count\n";
        assert_eq!(listing.text(), text);
        let two = listing.then(Listing::of(&["N"]).row(["1".into()]));
        assert_eq!(two.text(), format!("{text}\nN\n1\n"));
    }
}
