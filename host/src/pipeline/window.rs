//! Reads the setting `window` of a step.

use std::time::Duration;

use toml::Spanned;

use crate::config::{Span, Table};
use crate::window::WindowSpec;

/// `window = { length, slide }`, without `slide` one window after the other.
pub fn window(table: &mut Table<'_>) -> Option<Spanned<WindowSpec>> {
    let mut window = setting(table)?;
    let length = window.duration("length").map(Spanned::into_inner);
    let slide = window.duration("slide").map(Spanned::into_inner);
    let span = window.span();
    window.finish();
    let length = length?;
    let spec = spec(table, &span, length, slide.unwrap_or(length))?;
    Some(Spanned::new(span, spec))
}

/// The same of both sides of a join, which may have a length each: `length = ["1h", "10m"]`.
pub fn windows(table: &mut Table<'_>) -> Option<Spanned<[WindowSpec; 2]>> {
    let mut window = setting(table)?;
    let is_missing = !window.has("length");
    let written = window.strings("length").into_iter();
    let lengths = written.map(|text| window.span_of_time(text));
    let lengths: Vec<Option<Spanned<Duration>>> = lengths.collect();
    let slide = window.duration("slide").map(Spanned::into_inner);
    let span = window.span();
    window.finish();
    let of = |length: &Option<Spanned<Duration>>| length.as_ref().map(|length| *length.get_ref());
    let [left, right] = match lengths.as_slice() {
        [both] => [of(both)?, of(both)?],
        [left, right] => [of(left)?, of(right)?],
        _ if is_missing => return None,
        _ => {
            let message = "a join has windows of one length, or of two, the left's and the right's";
            let help = "write length = \"1m\", or length = [\"1h\", \"10m\"]";
            table.problem(span, message, Some(help.into()));
            return None;
        }
    };
    let slide = slide.unwrap_or(left.min(right));
    let left = spec(table, &span, left, slide)?;
    let right = spec(table, &span, right, slide)?;
    Some(Spanned::new(span, [left, right]))
}

fn setting<'a>(table: &mut Table<'a>) -> Option<Table<'a>> {
    let window = table.table("window", format!("`window` of {}", table.what()))?;
    if !window.has("length") {
        window.missing("length", "how long a window is", None);
    }
    Some(window)
}

fn spec(table: &Table<'_>, span: &Span, length: Duration, slide: Duration) -> Option<WindowSpec> {
    let spec = WindowSpec::new(length, slide);
    spec.map_err(|reason| table.problem(span.clone(), reason, None))
        .ok()
}
