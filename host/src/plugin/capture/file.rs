//! A capture's file: a tar archive of `call.json`, `component.wasm` and Arrow streams, so that other tools can look into it too.
//!
//! docs/formats.md describes it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use super::{Called, Capture, Function, Header};

/// What reads no other number.
const FORMAT: u32 = 1;
/// The most bytes of a member: far above a component and a call's rows, far below what would fill a machine.
const MEMBER_BYTES: u64 = 1 << 30;
const CALL: &str = "call.json";
const COMPONENT: &str = "component.wasm";

#[derive(Serialize, Deserialize)]
struct Call {
    format: u32,
    #[serde(flatten)]
    header: Header,
    call: Function,
    /// How many members `bound-N.arrow` and `batch-N.arrow` there are.
    bound: usize,
    batches: usize,
}

/// Why a file is no capture.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It lacks something.
    #[error("it is no capture: it has no `{0}`")]
    Lacks(String),
    /// What it says of the call is not understood.
    #[error("its call.json is not understood: {0}")]
    Call(#[from] serde_json::Error),
    /// Of another version.
    #[error("it has the format {0}, and this version of wasmill reads {FORMAT}")]
    Format(u32),
    /// Rows that are none.
    #[error("its rows cannot be read: {0}")]
    Rows(#[from] ArrowError),
}

impl Capture {
    /// Writes it to `file`, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let call = Call {
            format: FORMAT,
            header: self.header.clone(),
            call: self.called.function.clone(),
            bound: self.called.bound.len(),
            batches: self.called.batches.len(),
        };
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut aside = tempfile::NamedTempFile::new_in(folder)?;
        let mut archive = tar::Builder::new(aside.as_file_mut());
        member(&mut archive, CALL, &serde_json::to_vec_pretty(&call)?)?;
        for (index, schema) in self.called.bound.iter().enumerate() {
            let bytes = stream(schema, None).map_err(io::Error::other)?;
            member(&mut archive, &bound(index), &bytes)?;
        }
        for (index, rows) in self.called.batches.iter().enumerate() {
            let bytes = stream(&rows.schema(), Some(rows)).map_err(io::Error::other)?;
            member(&mut archive, &batch(index), &bytes)?;
        }
        member(&mut archive, COMPONENT, &self.component)?;
        archive.into_inner()?.flush()?;
        aside.persist(file)?;
        Ok(())
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is no capture, or is of another version.
    pub fn read(file: &Path) -> Result<Self, ReadError> {
        let mut members = members(file)?;
        let mut take = |name: &str| {
            let taken = members.remove(name);
            taken.ok_or_else(|| ReadError::Lacks(name.to_owned()))
        };
        let bytes = take(CALL)?;
        let version: Version = serde_json::from_slice(&bytes)?;
        if version.format != FORMAT {
            return Err(ReadError::Format(version.format));
        }
        let call: Call = serde_json::from_slice(&bytes)?;
        let schemas = (0..call.bound).map(|index| Ok(parse(&take(&bound(index))?)?.0));
        let schemas = schemas.collect::<Result<_, ReadError>>()?;
        let batches = (0..call.batches).map(|index| Ok(parse(&take(&batch(index))?)?.1));
        Ok(Self {
            header: call.header,
            called: Called {
                function: call.call,
                bound: schemas,
                batches: batches.collect::<Result<_, ReadError>>()?,
            },
            component: take(COMPONENT)?,
        })
    }
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

fn bound(index: usize) -> String {
    format!("bound-{index}.arrow")
}

fn batch(index: usize) -> String {
    format!("batch-{index}.arrow")
}

fn member(archive: &mut tar::Builder<&mut fs::File>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}

fn members(file: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(fs::File::open(file)?).entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.take(MEMBER_BYTES).read_to_end(&mut bytes)?;
        members.insert(name, bytes);
    }
    Ok(members)
}

fn stream(schema: &SchemaRef, rows: Option<&RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    if let Some(rows) = rows {
        writer.write(rows)?;
    }
    writer.into_inner()
}

fn parse(bytes: &[u8]) -> Result<(SchemaRef, RecordBatch), ArrowError> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    let rows = match reader.next() {
        Some(rows) => rows?,
        None => RecordBatch::new_empty(schema.clone()),
    };
    Ok((schema, rows))
}
