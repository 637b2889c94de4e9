//! Where a plugin's file is looked for.
//!
//! A value with a `/` or ending in `.wasm` is a path, counted from the folder of the pipeline file. A bare name is
//! looked for as `NAME.wasm` in that folder, in its `plugins/`, in the folders of `WASMILL_PLUGINS`, and in
//! `target/plugins` of the working directory, where builds of this repository put them.

use std::path::{Path, PathBuf};

use crate::config::nearest;
use crate::error::Failure;

/// Says which file a plugin is, as a pipeline file calls it.
pub type Find<'a> = dyn Fn(&str) -> Result<PathBuf, Failure> + 'a;

/// The folders to search, first first.
#[derive(Clone, Debug)]
pub struct SearchPath {
    base: PathBuf,
    folders: Vec<PathBuf>,
}

impl SearchPath {
    /// For a pipeline file in `base`, with the value of `WASMILL_PLUGINS`: folders separated as in `PATH`.
    pub fn new(base: &Path, wasmill_plugins: Option<&std::ffi::OsStr>) -> Self {
        let mut folders = vec![base.to_owned(), base.join("plugins")];
        folders.extend(wasmill_plugins.into_iter().flat_map(std::env::split_paths));
        folders.push(Path::new("target").join("plugins"));
        Self {
            base: base.to_owned(),
            folders,
        }
    }

    /// The file that `plugin` names.
    pub fn find(&self, plugin: &str) -> Result<PathBuf, Failure> {
        if plugin.contains(std::path::is_separator) || plugin.ends_with(".wasm") {
            let path = self.base.join(plugin);
            return match path.is_file() {
                true => Ok(path),
                false => Err(Failure::user(format!(
                    "there is no plugin file `{}`",
                    path.display()
                ))),
            };
        }
        let file = format!("{plugin}.wasm");
        let candidates = self.folders.iter().map(|folder| folder.join(&file));
        if let Some(found) = candidates.clone().find(|path| path.is_file()) {
            return Ok(found);
        }
        let looked: Vec<_> = candidates
            .map(|path| format!("`{}`", path.display()))
            .collect();
        let looked = format!("looked for {}", looked.join(", "));
        let names = self.names();
        let help = match nearest(plugin, names.iter().map(String::as_str)) {
            Some(name) => format!("did you mean `{name}`? {looked}"),
            None => looked,
        };
        Err(Failure::user(format!("there is no plugin called `{plugin}`")).help(help))
    }

    /// Every bare name that would be found.
    fn names(&self) -> Vec<String> {
        self.folders
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flat_map(|entries| entries.filter_map(Result::ok))
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(name.strip_suffix(".wasm")?.to_owned())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn a_path_counts_from_the_pipeline_files_folder() {
        let folder = folder(&["mine/split.wasm"]);
        let search = SearchPath::new(folder.path(), None);
        let found = search.find("mine/split.wasm").unwrap();
        assert_eq!(found, folder.path().join("mine/split.wasm"));
    }

    #[test]
    fn a_bare_name_is_found_in_the_first_folder_that_has_it() {
        let base = folder(&["plugins/split.wasm"]);
        let other = folder(&["split.wasm", "parse.wasm"]);
        let search = SearchPath::new(base.path(), Some(other.path().as_os_str()));
        let found = search.find("split").unwrap();
        assert_eq!(found, base.path().join("plugins/split.wasm"));
        assert_eq!(
            search.find("parse").unwrap(),
            other.path().join("parse.wasm")
        );
    }

    #[test]
    fn a_name_that_is_nowhere_says_where_it_was_looked_for_and_what_is_near() {
        let base = folder(&["plugins/split-words.wasm"]);
        let failure = SearchPath::new(base.path(), None)
            .find("split-wrods")
            .unwrap_err();
        assert_eq!(failure.message, "there is no plugin called `split-wrods`");
        let help = failure.help.unwrap();
        assert!(
            help.starts_with("did you mean `split-words`? looked for `"),
            "{help}"
        );
        assert!(help.contains("plugins/split-wrods.wasm"), "{help}");
        assert!(
            help.ends_with("`target/plugins/split-wrods.wasm`"),
            "{help}"
        );
    }

    #[test]
    fn a_path_to_nothing_names_the_file() {
        let base = folder(&[]);
        let failure = SearchPath::new(base.path(), None)
            .find("./none.wasm")
            .unwrap_err();
        assert!(failure.message.contains("none.wasm"), "{failure}");
    }
}
