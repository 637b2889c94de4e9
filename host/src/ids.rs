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
    /// A pipeline's name, unique on a server.
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
