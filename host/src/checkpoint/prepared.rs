//! What sinks have prepared: durable, and not visible before a commit record has it.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{BatchTime, Epoch, NodeName, PartitionId};

/// By which a sink finds again what it has prepared of a partition of an epoch. To all others it is just bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub Vec<u8>);

/// Tokens of an epoch, by partition; one that has no rows has none.
pub type Tokens = BTreeMap<PartitionId, Token>;

/// What a sink has prepared of an epoch, on all processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Which epoch.
    pub epoch: Epoch,
    /// Its batch time.
    pub time: BatchTime,
    /// Its tokens.
    pub tokens: Tokens,
}

/// What each sink has prepared of committed epochs and may not have made visible yet, the oldest epoch first.
pub type Pending = BTreeMap<NodeName, Vec<Prepared>>;

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.escape_ascii())
    }
}

/// In a record it is a text.
impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_a_token_in_a_record_and_between_processes() {
        let token = Token((0..=255).collect());
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<Token>(&text).unwrap(), token);
        let bytes = postcard::to_stdvec(&token).unwrap();
        assert_eq!(postcard::from_bytes::<Token>(&bytes).unwrap(), token);
        assert!(serde_json::from_str::<Token>("\"?\"").is_err());
    }
}
