//! Finds the files that a path, a directory and a glob, or a pattern mean.
//!
//! Names that begin with `.` or `_` or end in `.tmp` or `._COPYING_` are files in the making and passed over, as in Spark
//! and Hadoop: a writer makes a file under such a name and renames it when it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use globset::{GlobBuilder, GlobMatcher};

use crate::error::Failure;

/// Deeper than any sane tree; ends the walk of one that contains itself by a symbolic link.
const MAX_DEPTH: usize = 64;

/// A file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path as the user's spelling leads to it.
    pub path: String,
    /// When it was last written.
    pub modified: SystemTime,
    /// Its bytes.
    pub size: u64,
}

/// What to look for.
#[derive(Debug)]
pub enum Listing {
    /// One file.
    File(PathBuf),
    /// Files below a directory.
    Tree {
        /// The directory.
        base: PathBuf,
        /// Matches paths relative to it.
        matcher: GlobMatcher,
        /// How many levels of directories the pattern can reach.
        depth: usize,
    },
}

/// Compiles a pattern, or says why it is none.
pub fn matcher(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| format!("`{pattern}` is not a file pattern: {}", error.kind()))
}

/// The directory that a pattern certainly lies in, and the pattern below it; `None` for a plain path.
pub fn split_pattern(path: &str) -> Option<(&str, &str)> {
    let wild = path.find(['*', '?', '[', '{'])?;
    Some(match path[..wild].rfind('/') {
        Some(0) => ("/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => ("", path),
    })
}

impl Listing {
    /// For a file, or a directory and the files of it that `glob` names, by default all.
    pub fn new(path: &Path, glob: Option<&str>) -> Result<Self, Failure> {
        let shown = path.display();
        let found = fs::metadata(path).map_err(|error| {
            Failure::user(format!("cannot read `{shown}`: {error}"))
                .help("it must exist when the pipeline starts; create it first, or mend `path`")
        })?;
        if found.is_dir() {
            return Self::tree(path.into(), glob.unwrap_or("*"));
        }
        match glob {
            None => Ok(Self::File(path.into())),
            Some(_) => Err(Failure::user(format!(
                "`glob` chooses files of a directory, and `{shown}` is a file"
            ))),
        }
    }

    fn tree(base: PathBuf, pattern: &str) -> Result<Self, Failure> {
        let depth = if pattern.contains("**") {
            MAX_DEPTH
        } else {
            pattern.split('/').count()
        };
        Ok(Self::Tree {
            base,
            matcher: matcher(pattern).map_err(Failure::user)?,
            depth,
        })
    }

    /// The files that are there, oldest first, those of one moment by path. Empty files count.
    pub fn list(&self) -> Result<Vec<Found>, Failure> {
        let mut all = Vec::new();
        let listed = match self {
            Self::File(path) => fs::metadata(path)
                .and_then(|metadata| found(path, &metadata).map(|file| all.extend(file)))
                .map_err(|error| (path.clone(), error)),
            Self::Tree {
                base,
                matcher,
                depth,
            } => walk(base, base, matcher, *depth, &mut all),
        };
        listed.map_err(|(path, error)| {
            Failure::external(format!("cannot list `{}`: {error}", path.display()))
        })?;
        all.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        Ok(all)
    }
}

fn walk(
    base: &Path,
    directory: &Path,
    matcher: &GlobMatcher,
    depth: usize,
    all: &mut Vec<Found>,
) -> Result<(), (PathBuf, io::Error)> {
    let at = |error| (directory.to_owned(), error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // A directory below the base that has just gone is no error.
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory != base => return Ok(()),
        Err(error) => return Err(at(error)),
    };
    for entry in entries {
        let path = entry.map_err(at)?.path();
        if is_in_the_making(&path) {
            continue;
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone since the directory was read, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err((path, error)),
        };
        let relative = path.strip_prefix(base).unwrap_or(&path);
        if metadata.is_dir() {
            if depth > 1 {
                walk(base, &path, matcher, depth - 1, all)?;
            }
        } else if matcher.is_match(relative) {
            all.extend(found(&path, &metadata).map_err(|error| (path, error))?);
        }
    }
    Ok(())
}

fn found(path: &Path, metadata: &fs::Metadata) -> io::Result<Option<Found>> {
    if !metadata.is_file() {
        return Ok(None);
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    let Some(path) = path.to_str() else {
        let message = "the file's name is not UTF-8; rename it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    Ok(Some(Found {
        path: path.to_owned(),
        modified: metadata.modified()?,
        size: metadata.len(),
    }))
}

fn is_in_the_making(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".")
        || name.starts_with(b"_")
        || name.ends_with(b".tmp")
        || name.ends_with(b"._COPYING_")
}
