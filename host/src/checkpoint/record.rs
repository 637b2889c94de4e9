//! What is written down, and how: a line of JSON that a person can read, sealed with a checksum.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::prepared::Pending;
use super::state::Manifest;
use crate::ids::{BatchTime, Digest, Epoch, Generation, NodeName, PipelineName};
use crate::receive::Range;

/// Which pipeline a checkpoint is of: what has to stay the same for it to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineRecord {
    /// Its name.
    pub name: PipelineName,
    /// Its nodes, each with whether it is a source, step or sink.
    pub nodes: BTreeMap<NodeName, String>,
    /// Partitions after an exchange: state is kept by them.
    pub partitions: u32,
}

/// Whose a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// Tells its epochs from those of any other checkpoint or run.
    pub id: String,
    /// The pipeline.
    pub pipeline: PipelineRecord,
}

/// That a process has started to write a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Its number.
    pub generation: Generation,
    /// Tells it from another start that wanted the same number.
    pub id: String,
}

/// The input of an epoch, and where each source stands after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// The start that planned it; what it kept of the input has the same number.
    pub generation: Generation,
    /// Its batch time.
    pub time: BatchTime,
    /// Digest of the pipeline file and all components that planned it.
    pub pipeline: Digest,
    /// Its input; a position in this list is the partition's id.
    pub reads: Vec<RecordedRead>,
    /// Where each source goes on, in its own words.
    pub positions: BTreeMap<NodeName, Value>,
    /// What the steps remember before it, if that is not what they remembered after the epoch before: they were set back. Epochs between the
    /// last commit and this one are then not run any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Manifest>,
}

/// One partition of an epoch's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRead {
    /// Whose input.
    pub source: NodeName,
    /// What to read.
    pub range: Range,
    /// Where it is kept, if the source could not give it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptInput>,
}

/// The place of a partition's input in what the start that planned its epoch has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptInput {
    /// Its object, of those of the epoch, from 0.
    pub object: u32,
    /// Bytes before it there.
    pub offset: u64,
    /// Bytes of it, with its seal.
    pub bytes: u64,
}

/// That every sink holds all of some epochs that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The first of them.
    pub first: Epoch,
    /// The last, by which the record is called.
    pub epoch: Epoch,
    /// The start that committed them.
    pub generation: Generation,
    /// The batch time of the last.
    pub time: BatchTime,
    /// What the steps remember after the last.
    #[serde(default, skip_serializing_if = "Manifest::is_empty")]
    pub state: Manifest,
    /// What sinks may not have made visible yet, of these epochs and of some before.
    #[serde(default, skip_serializing_if = "Pending::is_empty")]
    pub pending: Pending,
}

/// Before the checksum, after the content.
const SEAL: &str = "\nxxh3 ";
/// The seal, sixteen digits and a line end.
const SEAL_BYTES: usize = SEAL.len() + 16 + 1;

/// A record as bytes.
pub fn encode(record: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(record).expect("records have nothing that JSON cannot say");
    sealed(json)
}

/// The record in some bytes, or what is wrong with them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let json = unsealed(bytes)?;
    serde_json::from_slice(json)
        .map_err(|error| format!("is not what this version writes: {error}"))
}

/// Content with its checksum.
pub fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let seal = seal(&content);
    content.extend_from_slice(seal.as_bytes());
    content
}

fn seal(content: &[u8]) -> String {
    format!("{SEAL}{:016x}\n", xxh3_64(content))
}

/// The content, if it is what was sealed.
pub fn unsealed(bytes: &[u8]) -> Result<&[u8], String> {
    let end = bytes.len().checked_sub(SEAL_BYTES).ok_or("is cut off")?;
    let (content, found) = bytes.split_at(end);
    match found == seal(content).as_bytes() {
        true => Ok(content),
        false => Err("does not match its checksum".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bit_flipped_and_any_byte_missing_is_noticed() {
        let commit = CommitRecord {
            first: Epoch(6),
            epoch: Epoch(7),
            generation: Generation(2),
            time: BatchTime(9),
            state: Manifest::new(),
            pending: Pending::from([("out".into(), Vec::new())]),
        };
        let bytes = encode(&commit);
        assert_eq!(decode(&bytes), Ok(commit));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unsealed(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(unsealed(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
