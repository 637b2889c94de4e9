//! Where pipelines' checkpoints are: each in its pipeline's folder, or all of them in a bucket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{sync, write};
use crate::checkpoint::storage::{Bucket, Location};
use crate::error::Failure;
use crate::ids::{PipelineName, TenantId};

/// The places of all of them.
#[derive(Debug)]
pub struct Checkpoints(Option<Bucket>);

/// What the file says if they are in the data folder.
const HERE: &str = "here";

impl Checkpoints {
    /// Where they are wanted. A data folder in whose file `noted` another place is written is refused: pipelines would forget everything.
    ///
    /// # Errors
    /// When it is, or the file cannot be read or written.
    pub fn open(root: &Path, is_new: bool, wanted: Option<Bucket>) -> Result<Self, Failure> {
        let noted = root.join("checkpoints");
        let failed = |error: io::Error| {
            Failure::external(format!("{} cannot be used: {error}", noted.display()))
        };
        let place = wanted.as_ref().map_or(HERE.to_owned(), Bucket::to_string);
        let before = match fs::read_to_string(&noted) {
            Ok(before) => before.trim().to_owned(),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Err(_) if !is_new => HERE.to_owned(),
            Err(_) => {
                let line = format!("{place}\n");
                write(&noted, line.as_bytes()).map_err(failed)?;
                sync(root).map_err(failed)?;
                place.clone()
            }
        };
        if before != place {
            let message = format!(
                "the checkpoints of {} are {before}, and not {place}",
                root.display()
            );
            return Err(Failure::user(message)
                .help("say --store as at the first start, or not at all if it was not said"));
        }
        Ok(Self(wanted))
    }

    /// That of a pipeline, whose folder is this.
    pub fn of(&self, folder: &Path, tenant: &TenantId, pipeline: &PipelineName) -> Location {
        match self.bucket(tenant, pipeline) {
            Some(bucket) => Location::Bucket(bucket),
            None => Location::Folder(here(folder)),
        }
    }

    /// Removes that of a pipeline, if it is in a bucket.
    ///
    /// # Errors
    /// When the bucket cannot be reached; a part of it may be gone by then.
    pub fn empty(&self, tenant: &TenantId, pipeline: &PipelineName) -> Result<(), Failure> {
        let Some(bucket) = self.bucket(tenant, pipeline) else {
            return Ok(());
        };
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let emptied = bucket.open(environment)?.clear();
        emptied.map_err(|error| Failure::external(format!("the checkpoint in {bucket}: {error}")))
    }

    fn bucket(&self, tenant: &TenantId, pipeline: &PipelineName) -> Option<Bucket> {
        let all = self.0.as_ref()?;
        let own = format!("tenants/{tenant}/pipelines/{pipeline}");
        let prefix = match all.prefix.as_str() {
            "" => own,
            prefix => format!("{prefix}/{own}"),
        };
        Some(Bucket {
            prefix,
            ..all.clone()
        })
    }
}

/// In a pipeline's folder.
pub fn here(folder: &Path) -> PathBuf {
    folder.join("checkpoint")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_stays_with_the_place_that_it_began_with() {
        let bucket = || Bucket::parse("s3://bucket/prefix");
        let (tenant, pipeline) = (TenantId::parse("acme").unwrap(), "counts".into());
        let root = tempfile::tempdir().unwrap();
        for is_new in [true, false] {
            let all = Checkpoints::open(root.path(), is_new, bucket()).unwrap();
            assert_eq!(
                all.of(root.path(), &tenant, &pipeline).to_string(),
                "s3://bucket/prefix/tenants/acme/pipelines/counts"
            );
        }
        let failure = Checkpoints::open(root.path(), false, None).unwrap_err();
        let said = "are s3://bucket/prefix, and not here";
        assert!(failure.message.ends_with(said), "{failure}");
        // One of before there was a choice.
        let old = tempfile::tempdir().unwrap();
        assert!(Checkpoints::open(old.path(), false, bucket()).is_err());
        let all = Checkpoints::open(old.path(), false, None).unwrap();
        let here = Location::Folder(old.path().join("checkpoint"));
        assert_eq!(all.of(old.path(), &tenant, &pipeline), here);
    }
}
