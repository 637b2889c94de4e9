//! Splitting text at speed.

/// The words of a text: the longest pieces without ASCII white space, as [`str::split_ascii_whitespace`] gives them.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}
