//! Decodes a byte range of a file: the records that start in it.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Failure;
use crate::format::{BadRecord, Decoder, Frame, Framer, Numbering, Read, RecordFormat};
use crate::receive::{Parts, Range, Reader};

/// Read at once: stays in a core's second-level cache between the kernel's copy and the decoder's, beside what is made of it.
const CHUNK: usize = 64 << 10;

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
struct Span {
    path: String,
    start: u64,
    end: u64,
    size: u64,
}

/// Why a range is not read to its end.
enum Trouble {
    /// The file is not what was listed; decided about by `on_error`.
    Changed(String),
    /// The system refused.
    Failed(io::Error),
}

impl Reader for FilesReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn read(&self, range: &Range) -> Result<Parts, Failure> {
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
            path: path.clone(),
            start: *start,
            end: *end,
            size: *size,
        };
        let (feed, trouble) = match Feed::open(&span, self.format.max_record) {
            Ok(feed) => (feed, None),
            Err(trouble) => (None, Some(trouble)),
        };
        let name = Box::new({
            let path = path.clone();
            move |position| origin(&path, position)
        });
        Ok(Box::new(FileParts {
            decoder: Decoder::new(&self.format, end - start, self.provenance, name),
            schema: self.schema.clone(),
            span,
            feed,
            trouble,
        }))
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

/// The parts of a range.
struct FileParts {
    span: Span,
    schema: SchemaRef,
    decoder: Decoder,
    /// Until there is nothing more to read.
    feed: Option<Feed>,
    /// Told once what was decoded before it has been taken.
    trouble: Option<Trouble>,
}

impl Iterator for FileParts {
    type Item = Result<Read, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(part) = self.decoder.part() {
                return Some(Ok(part));
            }
            let Some(feed) = &mut self.feed else {
                let trouble = self.trouble.take()?;
                return Some(self.tell(trouble));
            };
            let fed = feed.chunk(&self.span, &mut self.decoder);
            if !matches!(fed, Ok(ControlFlow::Continue(()))) {
                self.trouble = fed.err();
                self.feed = None;
                self.decoder.finish();
            }
        }
    }
}

impl FileParts {
    fn tell(&self, trouble: Trouble) -> Result<Read, Failure> {
        let Span {
            path, start, end, ..
        } = &self.span;
        match trouble {
            Trouble::Changed(reason) => Ok(Read {
                rows: RecordBatch::new_empty(self.schema.clone()),
                positions: None,
                bad: vec![BadRecord {
                    origin: format!("{path}, bytes {start} to {end}"),
                    reason,
                    kept: None,
                }],
                bytes: 0,
            }),
            Trouble::Failed(error) => {
                Err(Failure::external(format!("cannot read `{path}`: {error}")))
            }
        }
    }
}

/// Gives a decoder all records that start in a range, from one chunk of the file after the other.
struct Feed {
    file: File,
    /// Whether the file has more bytes than when it was listed.
    grown: bool,
    framer: Framer,
    buffer: Vec<u8>,
    /// What is read next.
    at: u64,
    /// Where the records that are decoded end.
    done: u64,
}

impl Feed {
    /// `None` if no record starts in the range.
    fn open(span: &Span, max_record: usize) -> Result<Option<Self>, Trouble> {
        let (file, grown) = open(span)?;
        let most = span.size - span.start.min(span.size);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(most).unwrap_or(CHUNK))];
        let first = first_record(&file, span, &mut buffer)?;
        Ok(first.map(|first| Self {
            file,
            grown,
            framer: Framer::new(max_record, first),
            buffer,
            at: first,
            done: first,
        }))
    }

    /// Reads the next chunk; breaks after the last.
    fn chunk(&mut self, span: &Span, decoder: &mut Decoder) -> Result<ControlFlow<()>, Trouble> {
        let is_unfinished = self.framer.is_unfinished() && !self.framer.is_skipping();
        if self.at >= span.end && !is_unfinished {
            return Ok(ControlFlow::Break(()));
        }
        let (done, end) = (&mut self.done, span.end);
        if self.at < span.size {
            let read = read_chunk(&self.file, span, self.at, &mut self.buffer)?;
            self.at += read as u64;
            let each = |frame: Frame<'_>| decode_frame(decoder, frame, end, done);
            return Ok(self.framer.push(&self.buffer[..read], each));
        }
        if self.grown {
            let reason = "the file was still being written when it was listed: this record has no end, and what follows is not read";
            decoder.unreadable(BadRecord {
                origin: origin(&span.path, *done),
                reason: reason.into(),
                kept: None,
            });
        } else {
            // Break or not, there is no more.
            let _ = self
                .framer
                .finish(|frame| decode_frame(decoder, frame, end, done));
        }
        Ok(ControlFlow::Break(()))
    }
}

/// Decodes what starts before `end`; breaks after it.
fn decode_frame(
    decoder: &mut Decoder,
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
            decoder.lines(records, Numbering::Bytes(at + mark));
            if mine.len() < bytes.len() || *done >= end {
                return ControlFlow::Break(());
            }
        }
    }
    ControlFlow::Continue(())
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
fn open(span: &Span) -> Result<(File, bool), Trouble> {
    let file = File::open(&span.path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let reason = "the file has gone since it was listed, or this process does not see the files that process 0 sees";
            Trouble::Changed(reason.to_owned())
        }
        _ => Trouble::Failed(error),
    })?;
    let size = file.metadata().map_err(Trouble::Failed)?.len();
    if size < span.size {
        return Err(shrunk(span, size));
    }
    Ok((file, size > span.size))
}

fn shrunk(span: &Span, size: u64) -> Trouble {
    Trouble::Changed(format!(
        "the file has shrunk from {} to {size} bytes since it was listed",
        span.size
    ))
}

/// Where the first record of the range starts, if one does.
fn first_record(file: &File, span: &Span, buffer: &mut [u8]) -> Result<Option<u64>, Trouble> {
    if span.start == 0 {
        return Ok((span.end > 0).then_some(0));
    }
    // A record starts at `start` if the byte before it ends a line.
    let mut at = span.start - 1;
    let last = span.end - 1;
    while at < last {
        let wanted = CHUNK.min((last - at) as usize);
        let read = read_at(file, span, at, &mut buffer[..wanted])?;
        if let Some(line_end) = memchr::memchr(b'\n', &buffer[..read]) {
            return Ok(Some(at + line_end as u64 + 1));
        }
        at += read as u64;
    }
    Ok(None)
}

fn read_chunk(file: &File, span: &Span, at: u64, buffer: &mut [u8]) -> Result<usize, Trouble> {
    // The range's last record may end behind it.
    let end = if at < span.end { span.end } else { span.size };
    let wanted = (end - at).min(buffer.len() as u64) as usize;
    read_at(file, span, at, &mut buffer[..wanted])
}

/// Reads at least one byte: there must be one, since the file was longer when it was listed.
fn read_at(file: &File, span: &Span, at: u64, buffer: &mut [u8]) -> Result<usize, Trouble> {
    loop {
        match file.read_at(buffer, at) {
            Ok(0) => return Err(shrunk(span, at)),
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Trouble::Failed(error)),
        }
    }
}
