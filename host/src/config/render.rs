//! Draws problems as a compiler does: file, line, column, the line itself, what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level as Style, Renderer, Snippet};

use super::{Level, Problem};

/// Draws `problems` of the file `path` with this `text`, a blank line between them.
pub fn render(problems: &[Problem], path: &str, text: &str, colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .decor_style(DecorStyle::Ascii);
    let drawn: Vec<String> = problems
        .iter()
        .map(|problem| renderer.render(&[group(problem, path, text)]))
        .collect();
    drawn.join("\n\n")
}

fn group<'a>(problem: &'a Problem, path: &'a str, text: &'a str) -> Group<'a> {
    let style = match problem.level {
        Level::Error => Style::ERROR,
        Level::Warning => Style::WARNING,
    };
    let end = text.len();
    let clip = |span: &super::Span| span.start.min(end)..span.end.clamp(span.start.min(end), end);
    let also = problem.also.iter().map(|(span, words)| {
        AnnotationKind::Context
            .span(clip(span))
            .label(words.as_str())
    });
    let group = style.primary_title(problem.message.as_str()).element(
        Snippet::source(text)
            .path(path)
            .annotation(AnnotationKind::Primary.span(clip(&problem.span)))
            .annotations(also),
    );
    match &problem.help {
        Some(help) => group.element(Style::HELP.message(help.as_str())),
        None => group,
    }
}

/// Line and column, both counted from 1, columns in characters, of a byte of `text`.
pub fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_drawn_with_its_place_its_line_and_its_help() {
        let text = "name = \"a\"\nnmae = \"b\"\n";
        let problem = Problem::error(11..15, "the file has no setting `nmae`")
            .also(0..4, "this one is known")
            .help("did you mean `name`?");
        let drawn = render(&[problem], "p.toml", text, false);
        assert_eq!(
            drawn,
            "error: the file has no setting `nmae`
 --> p.toml:2:1
  |
1 | name = \"a\"
  | ---- this one is known
2 | nmae = \"b\"
  | ^^^^
  |
  = help: did you mean `name`?"
        );
    }

    #[test]
    fn a_span_beyond_the_end_is_drawn_at_the_end() {
        let drawn = render(
            &[Problem::error(90..99, "cut short")],
            "p.toml",
            "x\n",
            false,
        );
        assert!(drawn.contains("p.toml:"), "{drawn}");
    }

    #[test]
    fn a_column_counts_characters() {
        assert_eq!(position("a\näöx", 6), (2, 3));
        assert_eq!(position("", 5), (1, 1));
    }
}
