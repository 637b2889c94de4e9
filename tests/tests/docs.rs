//! The documentation says what the binary does: its pipelines run, and no setting is missing from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use wasmill::config::{Problems, parse};
use wasmill::pipeline::PipelineFile;
use wasmill::plugin::Engine;
use wasmill_tests::{folder, run, wasmill};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that a user reads.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("the documentation");
    let docs = docs.map(|entry| entry.expect("readable").path());
    let mut pages: Vec<PathBuf> = docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// The TOML blocks of a page, each with the number of its first line.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line == "```toml" {
            let block: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            blocks.push((number + 2, block.join("\n") + "\n"));
        }
    }
    blocks
}

/// A block that begins with the pipeline's name is a whole one; another shows a few settings.
fn is_whole(block: &str) -> bool {
    block.starts_with("name = ")
}

#[test]
fn every_pipeline_in_the_documentation_passes_its_check_and_every_fragment_is_toml() {
    let mut whole = 0;
    for page in pages() {
        for (line, block) in blocks(&read(&page)) {
            let place = format!("{}:{line}", page.display());
            let problems = Problems::default();
            assert!(
                parse(&block, Path::new("."), &problems).is_some(),
                "{place}: {:?}",
                problems.take()
            );
            if is_whole(&block) {
                whole += 1;
                let folder = folder(&[("pipeline.toml", &block)]);
                let ended = run(wasmill()
                    .arg("check")
                    .arg(folder.path().join("pipeline.toml")));
                assert!(
                    ended.status.success() && ended.err.is_empty(),
                    "{place}:\n{}",
                    ended.err
                );
            }
        }
    }
    assert!(whole > 3, "only {whole} pipelines were found");
}

/// Nothing that the parser knows resembles it, so that its help lists all that it knows.
const STRANGE: &str = "zzzzzzzzzzzzzzzzzzzzzzzz";
/// A text that is right for most settings.
const TEXT: &str = "127.0.0.1:9999";

/// A table of a pipeline file, and the tables around it, outermost first.
#[derive(Clone)]
struct Place(Vec<Table>);

#[derive(Clone)]
struct Table {
    key: String,
    /// What stands in it already.
    settings: Vec<String>,
    /// What decides which settings it knows: `tcp`, `plugin`.
    kind: Vec<String>,
}

impl Place {
    fn inside(&self, key: &str) -> Self {
        let mut place = self.clone();
        place.0.push(Table {
            key: key.to_owned(),
            settings: Vec::new(),
            kind: Vec::new(),
        });
        place
    }

    fn with(&self, key: &str, text: &str, kind: Option<&str>) -> Self {
        let mut place = self.clone();
        let table = place.0.last_mut().expect("the file itself at least");
        table.settings.push(format!("{key} = \"{text}\""));
        table.kind.extend(kind.map(str::to_owned));
        place
    }

    /// A file with this setting there.
    fn file(&self, setting: &str) -> String {
        let mut inner = setting.to_owned();
        for (depth, table) in self.0.iter().enumerate().rev() {
            let settings: Vec<&str> = table.settings.iter().map(String::as_str).collect();
            inner = match depth {
                0 => [&settings[..], &[&inner]].concat().join("\n"),
                _ => {
                    let settings = [&settings[..], &[&inner]].concat().join(", ");
                    format!("{} = {{ {settings} }}", table.key)
                }
            };
        }
        inner
    }

    /// What a heading of the documentation says that is about this place.
    fn topics(&self) -> Vec<String> {
        let tables = match self.0.as_slice() {
            [file] => std::slice::from_ref(file),
            [_, tables @ ..] => tables,
            [] => &[],
        };
        let topics = tables
            .iter()
            .flat_map(|table| std::iter::once(&table.key).chain(&table.kind));
        topics.cloned().collect()
    }
}

/// What the parser knows, asked of the parser itself.
struct Grammar {
    engine: Engine,
    /// The settings of each place, by its topics, and the words that a setting can be, as documentation writes them.
    known: BTreeMap<Vec<String>, BTreeSet<String>>,
}

impl Grammar {
    fn explored() -> Self {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let mut grammar = Self {
            engine: Engine::new(cache.path()).expect("an empty folder is a cache"),
            known: BTreeMap::new(),
        };
        let nowhere = Place(Vec::new());
        grammar.explore(&nowhere.inside("pipeline"));
        grammar
    }

    fn explore(&mut self, place: &Place) {
        let strange = self.check(&place.file(&format!("{STRANGE} = 1")));
        let unknown = format!("has no setting `{STRANGE}`");
        let listed = strange
            .iter()
            .filter(|said| said.message.ends_with(&unknown));
        let mut keys: Vec<String> = listed.flat_map(Said::listed).collect();
        let needed = self.needed(place, &strange);
        keys.extend(needed.iter().cloned());
        for key in keys {
            if !self.note(place, format!("`{key}`")) {
                continue;
            }
            let decides = needed.contains(&key);
            for word in self.words(place, &key) {
                self.note(place, format!("\"{word}\""));
                self.explore(&place.with(&key, &word, decides.then_some(&word)));
            }
            self.explore(&place.with(&key, TEXT, decides.then_some(&key)));
            self.explore(&place.inside(&key));
        }
        let named = format!("`{STRANGE}` of ");
        let is_map = |said: &Said| {
            said.message.starts_with(&named) && said.message.contains("must be a table")
        };
        if strange.iter().any(is_map) {
            self.explore(&place.inside(NAME));
        }
    }

    /// Settings without which it does not say what else it knows.
    fn needed(&self, place: &Place, strange: &[Said]) -> Vec<String> {
        let around = Place(place.0[..place.0.len() - 1].to_vec());
        let around = self.check(&around.file(""));
        let own = strange.iter().filter(|said| !around.contains(said));
        own.filter_map(|said| said.message.split_once(" needs "))
            .flat_map(|(_, needed)| backticked(needed))
            .collect()
    }

    /// The words that a setting can be, if it is one of a few.
    fn words(&self, place: &Place, key: &str) -> Vec<String> {
        let said = self.check(&place.file(&format!("{key} = \"{STRANGE}\"")));
        let quoted = format!("`{STRANGE}`");
        let about = said.iter().filter(|said| said.message.contains(&quoted));
        about.flat_map(Said::listed).collect()
    }

    /// Whether it was not known before.
    fn note(&mut self, place: &Place, mention: String) -> bool {
        self.known
            .entry(place.topics())
            .or_default()
            .insert(mention)
    }

    fn check(&self, text: &str) -> Vec<Said> {
        let file = PipelineFile::from_text(Path::new("pipeline.toml"), text.to_owned());
        let said = file.check(&self.engine).problems.into_iter();
        said.map(|problem| Said {
            message: problem.message,
            help: problem.help.unwrap_or_default(),
        })
        .collect()
    }
}

/// The name of a node.
const NAME: &str = "node-of-any-name";

/// A problem of a file.
#[derive(PartialEq)]
struct Said {
    message: String,
    help: String,
}

impl Said {
    /// What its help lists.
    fn listed(&self) -> Vec<String> {
        let list = self.help.strip_prefix("known here: ");
        list.map(backticked).unwrap_or_default()
    }
}

fn backticked(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The page about the pipeline file and those that it links, cut at their headings: heading and text.
fn sections() -> Vec<(String, String)> {
    let docs = root().join("docs");
    let first = read(&docs.join("pipeline.md"));
    let linked = first.split("](").skip(1).filter_map(|link| {
        let (target, _) = link.split_once(')')?;
        let page = target.split('#').next()?;
        page.ends_with(".md").then(|| page.to_owned())
    });
    let mut pages = vec![first.clone()];
    pages.extend(
        linked
            .collect::<BTreeSet<String>>()
            .iter()
            .map(|page| read(&docs.join(page))),
    );
    let mut sections = Vec::new();
    for page in pages {
        for section in page.split("\n#").skip(1) {
            let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
            sections.push((heading.to_lowercase(), text.to_owned()));
        }
    }
    sections
}

#[test]
fn every_setting_that_the_parser_knows_is_in_the_documentation() {
    let known = Grammar::explored().known;
    let mentions: usize = known.values().map(BTreeSet::len).sum();
    assert!(
        mentions > 100,
        "the parser does not say what it knows: {known:#?}"
    );
    let sections = sections();
    let mut missing = Vec::new();
    for (topics, mentions) in known {
        let about: Vec<&str> = sections
            .iter()
            .filter(|(heading, _)| topics.iter().any(|topic| heading.contains(topic)))
            .map(|(_, text)| text.as_str())
            .collect();
        for mention in mentions {
            if !about.iter().any(|text| text.contains(&mention)) {
                missing.push(format!("{mention} of {}", topics.join(", ")));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not documented:\n{}",
        missing.join("\n")
    );
}
