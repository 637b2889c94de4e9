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
    let (checked, whole) = file.check_confined(&engine, &none, Confines::default(), text.len());
    assert!(checked.plan.is_some(), "{:?}", checked.problems);
    let read: toml::Table = whole.parse().unwrap();
    let path = |role: &str, name: &str| read[role][name]["path"].as_str().unwrap().to_owned();
    assert_eq!(path("sources", "lines"), "/home/t \\\"/in/*.txt");
    assert_eq!(path("sinks", "out"), "/home/t \\\"/out");
    assert!(whole.ends_with("} # stays\n"), "{whole}");
}

/// A source, a step and a sink that reject, and a step behind the source that does not.
const REJECTING: &str = "name = \"a\"
[sources.lines]
type = \"files\"
path = \"in\"
on_error = \"reject\"
[steps.numbers]
input = \"lines\"
select = { n = \"cast(line as bigint)\" }
carry = true
on_error = \"reject\"
[steps.counts]
input = \"lines\"
group_by = [\"line\"]
aggregate = { n = \"count()\" }
[sinks.out]
input = \"numbers\"
type = \"print\"
on_error = \"reject\"
[sinks.counted]
input = \"counts\"
type = \"print\"
";

#[test]
fn what_a_node_has_rejected_comes_again_beside_its_input() {
    let cache = tempfile::tempdir().unwrap();
    let engine = Engine::new(cache.path()).unwrap();
    let none = |name: &str| Err(Failure::user(format!("there is no {name}")));
    let appendix =
        "[rejected]\ntype = \"files\"\npath = \"/kept/rejected\"\nagain = \"/kept/again\"\n";
    let file = PipelineFile::from_text(
        Path::new("/home/t/pipeline.toml"),
        format!("{REJECTING}{appendix}"),
    );
    let (checked, whole) =
        file.check_confined(&engine, &none, Confines::default(), REJECTING.len());
    assert!(whole.ends_with(appendix), "{whole}");
    let plan = checked
        .plan
        .unwrap_or_else(|| panic!("{:?}", checked.problems));
    let reads = |name: &str| -> Vec<String> {
        let node = plan.nodes.iter().find(|node| node.name.as_str() == name);
        let ports = node.unwrap().inputs.iter().flat_map(|input| &input.ports);
        ports
            .map(|port| plan.nodes[port.node].name.to_string())
            .collect()
    };
    assert_eq!(reads("numbers"), ["lines", "lines.again", "numbers.again"]);
    assert_eq!(reads("counts"), ["lines", "lines.again"]);
    assert_eq!(reads("out"), ["numbers", "out.again"]);
    assert_eq!(reads("counted"), ["counts"]);
    for (place, node) in plan.nodes.iter().enumerate() {
        for input in &node.inputs {
            let read = |port: &super::plan::PortRef| {
                assert!(port.node < place, "{} comes too late", node.name);
                plan.nodes[port.node].ports[port.port].clone()
            };
            let schemas: Vec<_> = input.ports.iter().map(read).collect();
            assert!(
                schemas.iter().all(|schema| *schema == input.schema),
                "{schemas:?}"
            );
        }
    }

    let everywhere = file.check_confined(&engine, &none, Confines::default(), whole.len());
    assert!(everywhere.0.plan.is_none(), "the tenant wrote it");
}
