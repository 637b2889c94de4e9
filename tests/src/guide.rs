//! A page of the documentation as a shell script: its commands are run in order, its files written, and what it shows is what came.
//!
//! In a page, `    $ command` is a command, the indented lines below it are what it prints, among other lines perhaps, and a block after "In
//! `NAME`" is a file ("beside the folder" if it is not in the one where the commands are).

use std::path::Path;
use std::process::{Command, Stdio};

/// What there is to do in a section, in order.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    /// Run a command, and expect these lines.
    Run(String, Vec<String>),
    /// Write a file.
    Write(String, String),
}

/// Does what the section says in `folder`, with `environment` set.
///
/// # Panics
/// When a command fails or a line that is shown does not come.
pub fn follow(page: &str, section: &str, folder: &Path, environment: &[(&str, &Path)]) {
    let acts = read(page, section);
    let commands = acts.iter().filter(|act| matches!(act, Act::Run(..)));
    assert!(
        commands.count() > 3,
        "the page has too few commands: {acts:?}"
    );
    let mut here = folder.to_owned();
    for act in acts {
        match act {
            Act::Write(name, text) => std::fs::write(here.join(name), text).expect("writable"),
            Act::Run(command, shown) => {
                if let Some(into) = command.strip_prefix("cd ") {
                    here = here.join(into).canonicalize().expect("the folder is there");
                    continue;
                }
                let came = run(&command, &here, environment);
                let mut rest = came.lines().map(plain);
                for line in shown {
                    let found = rest.any(|came| came == plain(&line));
                    assert!(found, "after `{command}` no line `{line}` came in:\n{came}");
                }
            }
        }
    }
}

fn run(command: &str, here: &Path, environment: &[(&str, &Path)]) -> String {
    let output = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {{ {command}\n}} 2>&1")])
        .current_dir(here)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("there is bash");
    let came = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "`{command}` failed:\n{came}");
    came
}

fn read(page: &str, section: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    let (mut inside, mut file, mut block) = (false, None, None::<String>);
    for line in page.lines() {
        if let Some(text) = &mut block {
            if line.starts_with("```") {
                if let Some(name) = file.take() {
                    acts.push(Act::Write(name, std::mem::take(text)));
                }
                block = None;
            } else {
                text.push_str(line);
                text.push('\n');
            }
        } else if let Some(title) = line.strip_prefix("## ") {
            inside = title == section;
        } else if !inside {
        } else if line.starts_with("```") {
            block = Some(String::new());
        } else if let Some(command) = line.strip_prefix("    $ ") {
            let command = command.split("  #").next().unwrap_or(command);
            acts.push(Act::Run(command.trim().to_owned(), Vec::new()));
        } else if let Some(shown) = line.strip_prefix("    ") {
            if let Some(Act::Run(_, lines)) = acts.last_mut()
                && shown.trim() != "..."
            {
                lines.push(shown.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("In `") {
            let name = rest.split('`').next().expect("a name ends");
            let beside = if rest.contains("beside the folder") {
                "../"
            } else {
                ""
            };
            file = Some(format!("{beside}{name}"));
        }
    }
    acts
}

/// A line without what is another in every run: how long things took, numbers of two digits and more, digests, folders, and how wide columns are.
fn plain(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut plain = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        plain.push(match number_of(word) {
            Some(_) if words.get(at + 1).is_some_and(|next| is_unit(next)) => "D".to_owned(),
            Some(number) if number.len() > 1 => "N".to_owned(),
            _ if is_unit(word) => "T".to_owned(),
            _ if word.starts_with("sha256:") => "sha256:".to_owned(),
            _ if word.starts_with('/') => word.rsplit('/').next().unwrap_or_default().to_owned(),
            _ => (*word).to_owned(),
        });
    }
    plain.join(" ")
}

/// The digits of a word that is a number, whatever stands around it.
fn number_of(word: &str) -> Option<String> {
    let digits = word
        .trim_matches(|c: char| "(),B".contains(c))
        .replace([',', '.'], "");
    (!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())).then_some(digits)
}

/// Whether the word is a unit of time, after which a number is how long something took.
fn is_unit(word: &str) -> bool {
    matches!(
        word.trim_matches(|c: char| "(),".contains(c)),
        "us" | "ms" | "s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n\n    $ not this\n\n## Start\n\n    $ make it   # once\n    made 12 ms\n    ...\n\nIn `a.toml`, beside the folder:\n\n\
                        ```toml\nb = 1\n```\n\n## End\n\n    $ nor this\n";

    #[test]
    fn a_section_is_its_commands_its_lines_and_its_files() {
        assert_eq!(
            read(PAGE, "Start"),
            [
                Act::Run("make it".into(), vec!["made 12 ms".into()]),
                Act::Write("../a.toml".into(), "b = 1\n".into()),
            ]
        );
    }

    #[test]
    fn only_what_changes_from_run_to_run_is_left_out_of_a_line() {
        assert_eq!(plain("passed  x (20.03 s)"), plain("passed  x (1234.50 s)"));
        assert_eq!(
            plain("done after 9 ms, 1 epochs"),
            plain("done after 32 s, 1 epochs")
        );
        assert_eq!(plain("words 1 6 157 us"), plain("words 1 6 2 ms"));
        assert_eq!(
            plain("file /tmp/a/b.wasm 12 KiB"),
            plain("file  /x/b.wasm 345 KiB")
        );
        assert_ne!(plain("4 of 4 fixtures"), plain("3 of 4 fixtures"));
        assert_ne!(plain("(be,2)"), plain("(be,3)"));
        assert_ne!(plain("lines 1 6 0"), plain("lines 1 5 0"));
    }

    #[test]
    #[should_panic(expected = "no line `two` came")]
    fn a_line_that_does_not_come_is_a_failure() {
        let page = "## S\n\n    $ true\n    $ true\n    $ true\n    $ echo one\n    two\n";
        follow(page, "S", Path::new("."), &[]);
    }

    #[test]
    #[should_panic(expected = "`false` failed")]
    fn a_command_that_fails_is_a_failure() {
        let page = "## S\n\n    $ true\n    $ true\n    $ true\n    $ false\n";
        follow(page, "S", Path::new("."), &[]);
    }
}
