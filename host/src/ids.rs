//! Names and numbers that identify things. None of them is ever a bare integer or string.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<String> for $type {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }
        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $type(pub $inner);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(
    /// A pipeline's name, on a server unique to its tenant.
    PipelineName
);
name!(
    /// The name of a source, step or sink, unique in its pipeline. State and offsets are stored under it.
    NodeName
);
number!(
    /// Counts the micro-batches of a pipeline from 0; also timely's timestamp.
    Epoch(u64)
);
number!(
    /// Counts the starts of a pipeline on its checkpoint from 1: a newer one has taken over from all before it.
    Generation(u64)
);
number!(
    /// A logical unit of work of one epoch, never a worker: before an exchange an input range of the epoch's
    /// plan, after it a fixed range of key groups.
    PartitionId(u32)
);
number!(
    /// A fixed virtual partition of the key space, `0..KEY_GROUPS`.
    KeyGroup(u16)
);
number!(
    /// A worker thread, counted over all processes of a run.
    WorkerIndex(usize)
);
number!(
    /// An operating-system process of a run; 0 coordinates.
    ProcessIndex(usize)
);
number!(
    /// The time of an epoch in milliseconds since 1970 (UTC), fixed when its input was cut.
    BatchTime(i64)
);

/// Longest name on a server: that of a folder, a host name or a label anywhere.
const NAME_BYTES: usize = 63;

/// A name that cannot be one on a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a name: it has lower-case letters, digits and `-`, at most 63 of them, and begins with a letter"
)]
pub struct WrongName(String);

/// Names of tenants and pipelines are folders on disk and parts of addresses, so few characters are let in.
fn checked(name: &str) -> Result<Arc<str>, WrongName> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= NAME_BYTES
        && name.chars().all(fits);
    match is_name {
        true => Ok(name.into()),
        false => Err(WrongName(name.to_owned())),
    }
}

macro_rules! server_name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Reads such a name.
            ///
            /// # Errors
            /// When it has a character that no name on a server has, or is too long or empty.
            pub fn parse(name: &str) -> Result<Self, WrongName> {
                checked(name).map(Self)
            }

            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = WrongName;

            fn try_from(name: String) -> Result<Self, WrongName> {
                Self::parse(&name)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

server_name!(
    /// A tenant of a server: whose pipelines, plugins, logs and figures nobody else sees.
    TenantId
);
server_name!(
    /// A plugin of a tenant's catalog, of which there are numbered versions.
    PluginName
);

/// What the name of a source ends with that gives a node rejected rows again. No name in a pipeline file has a point.
const AGAIN: &str = ".again";

impl NodeName {
    /// The source that gives this node rows again which it has rejected; of one with several inputs, those of an input.
    pub fn again(&self, input: Option<usize>) -> Self {
        let input = input.map(|input| format!(".{input}")).unwrap_or_default();
        format!("{self}{input}{AGAIN}").as_str().into()
    }

    /// Whether it is such a source.
    pub fn is_again(&self) -> bool {
        self.0.ends_with(AGAIN)
    }

    /// The node that it gives rows to, or itself, and which of its inputs, if it has several.
    pub fn without_again(&self) -> (&str, Option<usize>) {
        let name = self.0.strip_suffix(AGAIN).unwrap_or(&self.0);
        match name.split_once('.') {
            Some((node, input)) => (node, input.parse().ok()),
            None => (name, None),
        }
    }
}
server_name!(
    /// A secret of a tenant, by which the settings of its plugins name it.
    SecretName
);

impl PipelineName {
    /// Reads the name of a pipeline of a server. A pipeline that runs on its own is called as its file says.
    ///
    /// # Errors
    /// When it has a character that no name on a server has, or is too long or empty.
    pub fn parse(name: &str) -> Result<Self, WrongName> {
        checked(name).map(Self)
    }
}

impl BatchTime {
    /// The time as people read it, in UTC; the number where there is no such date.
    pub fn as_date(self) -> String {
        let date = jiff::Timestamp::from_millisecond(self.0);
        date.map_or_else(|_| self.0.to_string(), |date| date.to_string())
    }
}

/// How many key groups there are; stored state is cut by them, so it never changes.
pub const KEY_GROUPS: u16 = 256;

/// The SHA-256 of a component's or module's bytes, shown as `sha256:<hex>` as OCI registries do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The 64 hex digits without the algorithm's name.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        let byte = |at: usize| u8::from_str_radix(digits?.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no SHA-256"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_a_server_is_a_folder_everywhere() {
        let longest = "a".repeat(NAME_BYTES);
        for name in ["a", "word-count-2", &longest] {
            assert_eq!(TenantId::parse(name).unwrap().as_str(), name);
            assert_eq!(PipelineName::parse(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(NAME_BYTES + 1);
        for name in ["", "2a", "-a", "A", "a/b", "..", "a.b", "a b", "ä", &long] {
            let wrong = TenantId::parse(name).unwrap_err();
            assert!(wrong.to_string().contains("begins with a letter"));
            assert!(PipelineName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wrong_tenant_cannot_come_in_by_json() {
        assert!(serde_json::from_str::<TenantId>("\"../a\"").is_err());
        let tenant: TenantId = serde_json::from_str("\"acme\"").unwrap();
        assert_eq!(tenant.to_string(), "acme");
    }
}
