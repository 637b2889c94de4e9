//! The name that a misspelt one was probably meant to be.

/// The nearest among `known`, if it is near: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, remove, change or swap with the next to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // From the first `i` letters of `a` to the first `j` of `b`.
    let mut steps = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, j) in (0..=a.len()).flat_map(|i| (0..=b.len()).map(move |j| (i, j))) {
        steps[i][j] = if i == 0 || j == 0 {
            i + j
        } else {
            let changed = steps[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let least = changed.min(steps[i - 1][j] + 1).min(steps[i][j - 1] + 1);
            let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            match swap {
                true => least.min(steps[i - 2][j - 2] + 1),
                false => least,
            }
        };
    }
    steps[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["line", "word", "status"];
        assert_eq!(nearest("lines", known.into_iter()), Some("line"));
        assert_eq!(nearest("wrod", known.into_iter()), Some("word"));
        assert_eq!(nearest("sttus", known.into_iter()), Some("status"));
        assert_eq!(nearest("banana", known.into_iter()), None);
    }

    #[test]
    fn each_slip_is_one_step() {
        let cases = [
            ("", "", 0),
            ("", "ab", 2),
            ("text", "txet", 1),
            ("text", "tex", 1),
            ("text", "tesxt", 1),
            ("text", "test", 1),
            ("été", "tée", 2),
            ("ab", "bca", 3),
        ];
        for (a, b, steps) in cases {
            assert_eq!((distance(a, b), distance(b, a)), (steps, steps), "{a} {b}");
        }
    }
}
