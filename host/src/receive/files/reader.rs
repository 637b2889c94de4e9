//! Decodes a byte range of a file: the records that start in it.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Failure;
use crate::format::{BadRecord, Decoder, Frame, Framer, Numbering, Read, RecordFormat};
use crate::receive::{Range, Reader};

/// Read at once: stays in a core's second-level cache between the kernel's copy and the decoder's.
const CHUNK: usize = 256 << 10;
/// Read at once to end the range's last record.
const TAIL_CHUNK: usize = 64 << 10;

/// The reader of a `files` source.
#[derive(Debug)]
pub struct FilesReader {
    format: RecordFormat,
    schema: SchemaRef,
    provenance: bool,
}

impl FilesReader {
    /// For files of this format.
    pub fn new(format: RecordFormat, provenance: bool) -> Self {
        let schema = format.schema();
        Self {
            format,
            schema,
            provenance,
        }
    }
}

/// A `Range::File` taken apart.
struct Span<'a> {
    path: &'a str,
    start: u64,
    end: u64,
    size: u64,
}

/// Why a range was not read to its end.
enum Stop {
    /// The run is ending.
    Broken,
    /// The file is not what was listed; decided about by `on_error`.
    Changed(String),
    /// The system refused.
    Failed(io::Error),
}

impl Reader for FilesReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn read(
        &self,
        range: &Range,
        emit: &mut dyn FnMut(Read) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let Range::File {
            path,
            start,
            end,
            size,
        } = range
        else {
            return Err(Failure::internal(format!(
                "a files source was given {range:?} to read"
            )));
        };
        let span = Span {
            path,
            start: *start,
            end: *end,
            size: *size,
        };
        match self.decode(&span, emit) {
            Ok(()) | Err(Stop::Broken) => Ok(()),
            Err(Stop::Changed(reason)) => {
                let origin = format!("{path}, bytes {start} to {end}");
                let bad = BadRecord {
                    origin,
                    reason,
                    raw: String::new(),
                };
                let rows = RecordBatch::new_empty(self.schema.clone());
                // Whether the run is ending or not, this was the last part.
                let _ = emit(Read {
                    rows,
                    positions: None,
                    bad: vec![bad],
                    bytes: 0,
                });
                Ok(())
            }
            Err(Stop::Failed(error)) => {
                Err(Failure::external(format!("cannot read `{path}`: {error}")))
            }
        }
    }

    fn origin(&self, range: &Range, position: u64) -> String {
        match range {
            Range::File { path, .. } => origin(path, position),
            other => format!("{other:?} at {position}"),
        }
    }
}

fn origin(path: &str, position: u64) -> String {
    format!("{path} at byte {position}")
}

impl FilesReader {
    fn decode(
        &self,
        span: &Span<'_>,
        emit: &mut dyn FnMut(Read) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let (file, grown) = open(span)?;
        let most = span.size - span.start.min(span.size);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(most).unwrap_or(CHUNK))];
        let Some(first) = first_record(&file, span, &mut buffer)? else {
            return Ok(());
        };
        let name = |position| origin(span.path, position);
        let mut decoder =
            Decoder::new(&self.format, span.end - first, self.provenance, &name, emit);
        let fed = self.feed(&file, span, first, grown, &mut buffer, &mut decoder);
        // What was decoded before the trouble is good.
        match decoder.finish() {
            ControlFlow::Continue(()) => fed,
            ControlFlow::Break(()) => Err(Stop::Broken),
        }
    }

    /// Gives the decoder all records that start in `first..span.end`.
    fn feed(
        &self,
        file: &File,
        span: &Span<'_>,
        first: u64,
        grown: bool,
        buffer: &mut [u8],
        decoder: &mut Decoder<'_>,
    ) -> Result<(), Stop> {
        let mut framer = Framer::new(self.format.max_record, first);
        let mut done = first;
        let mut at = first;
        while at < span.size {
            if at >= span.end && (!framer.is_unfinished() || framer.is_skipping()) {
                return Ok(());
            }
            let read = read_chunk(file, span, at, buffer)?;
            at += read as u64;
            let pushed = framer.push(&buffer[..read], |frame| {
                decode_frame(decoder, frame, span.end, &mut done)
            });
            if pushed.is_break() {
                return Ok(());
            }
        }
        if grown && framer.is_unfinished() && !framer.is_skipping() {
            let reason = "the file was still being written when it was listed: this record has no end, and what follows is not read";
            decoder.unreadable(BadRecord::new(origin(span.path, done), reason, &[]));
        } else {
            // Break or not, there is no more.
            let _ = framer.finish(|frame| decode_frame(decoder, frame, span.end, &mut done));
        }
        Ok(())
    }
}

/// Decodes what starts before `end`; breaks after it.
fn decode_frame(
    decoder: &mut Decoder<'_>,
    frame: Frame<'_>,
    end: u64,
    done: &mut u64,
) -> ControlFlow<()> {
    let at = match frame {
        Frame::Lines { at, .. } | Frame::TooLong { at, .. } => at,
    };
    // What lies between the last frame and this one is the rest of a record that was too long.
    decoder.skip(at - *done);
    *done = at;
    if at >= end {
        return ControlFlow::Break(());
    }
    match frame {
        Frame::TooLong { head, .. } => decoder.too_long(head, at),
        Frame::Lines { bytes, .. } => {
            let mine = lines_before(bytes, end - at);
            *done = at + mine.len() as u64;
            let records = without_mark(mine, at);
            let mark = (mine.len() - records.len()) as u64;
            decoder.skip(mark);
            decoder.lines(records, Numbering::Bytes(at + mark))?;
            if mine.len() < bytes.len() || *done >= end {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
}

/// Without the byte order mark that some editors put at the beginning of a file.
fn without_mark(lines: &[u8], at: u64) -> &[u8] {
    match lines.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) if at == 0 => rest,
        _ => lines,
    }
}

/// The lines among `lines` that start in their first `bytes` bytes.
fn lines_before(lines: &[u8], bytes: u64) -> &[u8] {
    if bytes >= lines.len() as u64 {
        return lines;
    }
    let last = bytes as usize - 1;
    match memchr::memchr(b'\n', &lines[last..]) {
        Some(end) => &lines[..=last + end],
        None => lines,
    }
}

/// Opens the file and compares it with what was listed; also says whether it has grown.
fn open(span: &Span<'_>) -> Result<(File, bool), Stop> {
    let file = File::open(span.path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let reason = "the file has gone since it was listed, or this process does not see the files that process 0 sees";
            Stop::Changed(reason.to_owned())
        }
        _ => Stop::Failed(error),
    })?;
    let size = file.metadata().map_err(Stop::Failed)?.len();
    if size < span.size {
        return Err(shrunk(span, size));
    }
    Ok((file, size > span.size))
}

fn shrunk(span: &Span<'_>, size: u64) -> Stop {
    Stop::Changed(format!(
        "the file has shrunk from {} to {size} bytes since it was listed",
        span.size
    ))
}

/// Where the first record of the range starts, if one does.
fn first_record(file: &File, span: &Span<'_>, buffer: &mut [u8]) -> Result<Option<u64>, Stop> {
    if span.start == 0 {
        return Ok((span.end > 0).then_some(0));
    }
    // A record starts at `start` if the byte before it ends a line.
    let mut at = span.start - 1;
    let last = span.end - 1;
    while at < last {
        let wanted = TAIL_CHUNK.min((last - at) as usize);
        let read = read_at(file, span, at, &mut buffer[..wanted])?;
        if let Some(line_end) = memchr::memchr(b'\n', &buffer[..read]) {
            return Ok(Some(at + line_end as u64 + 1));
        }
        at += read as u64;
    }
    Ok(None)
}

fn read_chunk(file: &File, span: &Span<'_>, at: u64, buffer: &mut [u8]) -> Result<usize, Stop> {
    let wanted = if at < span.end {
        span.end - at
    } else {
        TAIL_CHUNK as u64
    };
    let wanted = wanted.min(span.size - at).min(buffer.len() as u64) as usize;
    read_at(file, span, at, &mut buffer[..wanted])
}

/// Reads at least one byte: there must be one, since the file was longer when it was listed.
fn read_at(file: &File, span: &Span<'_>, at: u64, buffer: &mut [u8]) -> Result<usize, Stop> {
    loop {
        match file.read_at(buffer, at) {
            Ok(0) => return Err(shrunk(span, at)),
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::Failed(error)),
        }
    }
}
