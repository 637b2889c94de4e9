//! What `wasmill check` says about plugins that are used wrongly, in the words on file.

use std::path::{Path, PathBuf};

use wasmill_tests::{plugins, run, wasmill};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("diagnostics");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    cases
}

/// What is said about a case, without what differs from machine to machine and from compiler to compiler: folders, and which
/// functions of an interface a component has kept.
fn said(case: &Path) -> String {
    let ended = run(wasmill().arg("check").arg(case.join("pipeline.toml"))).failed_with(2);
    assert_eq!(ended.out, "", "a plan of what cannot run");
    let mut said = String::new();
    for line in ended.err.lines() {
        let line = line
            .replace(&*case.to_string_lossy(), "<case>")
            .replace(&*plugins().to_string_lossy(), "<plugins>");
        let line = match line.split_once(" (") {
            Some((interface, _)) if interface.trim().starts_with("wasi:") => {
                format!("{interface} (<functions>)")
            }
            _ => line,
        };
        said.push_str(&line);
        said.push('\n');
    }
    said
}

/// Each folder below `diagnostics/` is a pipeline and what is said about it. `UPDATE=1` writes what is said now: read the
/// difference.
#[test]
fn every_wrong_use_of_a_plugin_is_diagnosed_in_the_words_on_file() {
    let mut wrong = Vec::new();
    for case in cases() {
        let said = said(&case);
        let file = case.join("expected.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &said).expect("writable");
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            wrong.push(format!(
                "{}\n--- expected\n{expected}--- said\n{said}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
