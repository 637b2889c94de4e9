//! Every kind of mistake in a pipeline file, as its author sees it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::PipelineFile;
use crate::config::Confines;
use crate::error::Failure;
use crate::plugin::Engine;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

/// What `wasmill check` says about a file.
fn diagnosis(path: &Path, engine: &Engine) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap();
    let file = PipelineFile::from_text(Path::new(name), text);
    let checked = file.check(engine);
    let mut said = file.draw(&checked.problems, false);
    if checked.plan.is_some() {
        if !said.is_empty() {
            said.push_str("\n\n");
        }
        said.push_str("The pipeline can run.");
    }
    said + "\n"
}

/// Each `NAME.toml` in the folder says the text of `NAME.txt`. `UPDATE=1` writes what it says now, for a look at the
/// difference in version control.
#[test]
fn every_mistake_is_diagnosed_in_the_words_on_file() {
    let cache = tempfile::tempdir().unwrap();
    let engine = Engine::new(cache.path()).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    assert!(files.len() > 40, "the cases are in {}", folder().display());
    let mut wrong = String::new();
    for path in files {
        let said = diagnosis(&path, &engine);
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        let expected = std::fs::read_to_string(expected).unwrap_or_default();
        if said != expected {
            write!(
                wrong,
                "{}\n--- expected\n{expected}--- said\n{said}\n",
                path.display()
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_confined_file_means_the_same_wherever_it_stands() {
    let cache = tempfile::tempdir().unwrap();
    let engine = Engine::new(cache.path()).unwrap();
    let none = |name: &str| Err(Failure::user(format!("there is no {name}")));
    let text = "name = \"a\"
sources.lines = { type = \"files\", path = 'in/*.txt', format = \"text\" }
sinks.out = { input = \"lines\", type = \"files\", path = \"out\" } # stays
";
    let file = PipelineFile::from_text(Path::new("/home/t \\\"/pipeline.toml"), text.into());
    let (checked, whole) = file.check_confined(&engine, &none, Confines::default());
    assert!(checked.plan.is_some(), "{:?}", checked.problems);
    let read: toml::Table = whole.parse().unwrap();
    let path = |role: &str, name: &str| read[role][name]["path"].as_str().unwrap().to_owned();
    assert_eq!(path("sources", "lines"), "/home/t \\\"/in/*.txt");
    assert_eq!(path("sinks", "out"), "/home/t \\\"/out");
    assert!(whole.ends_with("} # stays\n"), "{whole}");
}
