//! `wasmill plugin new`: a plugin that works, to begin from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::build::folder::Language;
use super::build::kit::Kit;
use crate::cli::engine::EngineOptions;
use crate::cli::output;
use crate::plugin::World;

/// Begin a plugin
///
/// Makes a folder with a small plugin of the kind asked for that builds, passes its tests and explains itself, with fixtures for
/// `wasmill plugin test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill plugin new shout --lang python
  wasmill plugin new totals --lang rust --kind keyed")]
pub struct New {
    /// The folder to make; its last part is the plugin's name
    dir: PathBuf,

    /// The language to write it in
    #[arg(long, value_enum)]
    lang: Language,

    /// What it is
    #[arg(long, value_enum, default_value = "transform")]
    kind: World,

    /// Of a plugin in Rust: a checkout of Wasmill whose SDK it uses, instead of the published one
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineOptions,
}

impl New {
    /// Makes the folder, and says how to go on.
    ///
    /// # Errors
    /// When the folder is there already or cannot be made.
    pub fn run(self) -> anyhow::Result<()> {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
            bail!("`{name}` is no name for a plugin: use lower-case letters, digits and `-`");
        }
        if self.dir.exists() {
            bail!("{} is there already", self.dir.display());
        }
        let kit = Kit::open(&self.engine.folder()?)?;
        let template = template(self.kind);
        let twin = kit.plugin(template);
        let rename = (template, name.as_ref());
        match self.lang {
            Language::Rust => {
                let manifest = self.cargo_toml(&name)?;
                copy(&twin, &self.dir, rename)?;
                fs::write(self.dir.join("Cargo.toml"), manifest)?;
            }
            language => {
                let examples = kit.sdk(language.as_str()).join("examples");
                copy(&examples.join(template), &self.dir, rename)?;
                copy(&twin.join("fixtures"), &self.dir.join("fixtures"), rename)?;
            }
        }
        fs::write(
            self.dir.join(".gitignore"),
            "target/\nnode_modules/\n__pycache__/\n",
        )?;
        let (dir, language, kind) = (
            self.dir.display(),
            self.lang.as_str(),
            self.kind.interface(),
        );
        let text = format!(
            "{dir}/ is a {kind} in {language}\n\n  cd {dir}\n  wasmill plugin setup --lang {language}    # once: the tools that build it\n  wasmill plugin test                  # builds it, and runs it on fixtures/\n\n{}\n",
            own_tests(self.lang)
        );
        output::write(text.as_bytes())
    }

    fn cargo_toml(&self, name: &str) -> anyhow::Result<String> {
        let sdk = match &self.sdk {
            Some(checkout) => {
                let path = checkout.join("guest-sdk").join("rust").canonicalize();
                let path = path
                    .with_context(|| format!("{} is no checkout of Wasmill", checkout.display()))?;
                toml::Value::from(path.to_string_lossy().into_owned()).to_string()
            }
            None => String::new(),
        };
        let sdk = match sdk.as_str() {
            "" => "{ git = \"https://github.com/wasmill/wasmill\" }".to_owned(),
            path => format!("{{ path = {path} }}"),
        };
        Ok(format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"cdylib\", \"rlib\"] # cdylib becomes the component, rlib is for the tests\n\n\
             [dependencies]\nwasmill-sdk = {sdk}\nserde = {{ version = \"1\", features = [\"derive\"] }}\nserde_json = \"1\"\n"
        ))
    }
}

/// The plugin that a new one of a kind begins as.
fn template(kind: World) -> &'static str {
    match kind {
        World::Transform => "split-words",
        World::Reducer => "longest-word",
        World::Keyed => "running-count",
        World::Sink => "sink-log",
    }
}

fn own_tests(language: Language) -> &'static str {
    match language {
        Language::Rust => "Its own tests: cargo test",
        Language::Python => {
            "Its own tests: PYTHONPATH=$(wasmill plugin sdk python)/src python3 -m unittest"
        }
        Language::Js => "Its own tests: npm install $(wasmill plugin sdk js) && node --test",
        Language::C => {
            "Its own tests: SDK=$(wasmill plugin sdk c)\n  cc -I$SDK/include src/*.c tests/*.c $SDK/src/*.c $SDK/testing/*.c -o test && ./test"
        }
    }
}

/// Copies a folder, with another name in every text.
fn copy(from: &Path, to: &Path, (old, new): (&str, &str)) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} is gone", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target, (old, new))?;
        } else {
            let text = fs::read_to_string(&path)?;
            fs::write(target, text.replace(old, new))?;
        }
    }
    Ok(())
}
