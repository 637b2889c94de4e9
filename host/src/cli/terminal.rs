//! One terminal for two streams: rows on standard output, the status line on standard error below them.
//!
//! Whoever writes takes the line away first; it is drawn again behind what was written. Without a terminal there is no
//! line, and both streams are written as they are.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::deliver::Output;

/// A printed epoch is at most some ten rows as a rule; one that shows all of them is passed on in pieces of this size.
const PIECE: usize = 64 << 10;

/// The process's terminal; cheap to clone.
#[derive(Clone, Debug)]
pub struct Terminal {
    line: ProgressBar,
}

impl Terminal {
    /// With a status line if standard error is a terminal and `wanted`.
    pub fn new(wanted: bool) -> Self {
        let line = match wanted && io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
        };
        let style = ProgressStyle::with_template("{spinner} {wide_msg}");
        line.set_style(style.expect("the template is a constant that is right"));
        Self { line }
    }

    /// Whether there is a status line.
    pub fn has_line(&self) -> bool {
        !self.line.is_hidden()
    }

    /// Draws the line with this text.
    pub fn set_line(&self, text: String) {
        self.line.set_message(text);
        self.line.tick();
    }

    /// Keeps the line moving, so that a run that waits does not look like one that hangs.
    pub fn animate(&self) {
        self.line.enable_steady_tick(Duration::from_millis(200));
    }

    /// Takes the line away for good.
    pub fn clear(&self) {
        self.line.finish_and_clear();
    }

    /// Standard output for `print` sinks, whole lines at a time.
    pub fn output(&self) -> Output {
        Output::new(Lines {
            terminal: self.clone(),
            target: io::stdout(),
            held: Vec::new(),
        })
    }

    fn without_line<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.has_line() {
            true => self.line.suspend(write),
            false => write(),
        }
    }
}

/// Holds what is written until it is flushed or becomes long, and passes only whole lines on before that: behind half a
/// line the status line could not be drawn.
struct Lines<W> {
    terminal: Terminal,
    target: W,
    held: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn pass_on(&mut self, bytes: usize) -> io::Result<()> {
        let (target, held) = (&mut self.target, &self.held[..bytes]);
        let written = self
            .terminal
            .without_line(|| target.write_all(held).and_then(|()| target.flush()));
        self.held.drain(..bytes);
        written
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE
            && let Some(end) = memchr::memrchr(b'\n', &self.held)
        {
            self.pass_on(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on(self.held.len())
    }
}

/// Log lines, above the status line.
impl<'writer> MakeWriter<'writer> for Terminal {
    type Writer = LogLine;

    fn make_writer(&'writer self) -> LogLine {
        LogLine(self.clone())
    }
}

/// Writes whole log lines to standard error.
pub struct LogLine(Terminal);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.without_line(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps each write apart.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(target: Writes) -> Lines<Writes> {
        Lines {
            terminal: Terminal::new(false),
            target,
            held: Vec::new(),
        }
    }

    #[test]
    fn an_epoch_is_passed_on_in_one_piece_when_it_is_flushed() {
        let target = Writes::default();
        let mut lines = lines(target.clone());
        write!(lines, "(a,1)\n(b,2)").unwrap();
        assert!(target.0.lock().unwrap().is_empty());
        lines.flush().unwrap();
        assert_eq!(*target.0.lock().unwrap(), [b"(a,1)\n(b,2)".to_vec()]);
    }

    #[test]
    fn a_long_epoch_is_passed_on_in_pieces_of_whole_lines() {
        let target = Writes::default();
        let mut lines = lines(target.clone());
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..200 {
            lines.write_all(&line[..500]).unwrap();
            lines.write_all(&line[500..]).unwrap();
        }
        lines.flush().unwrap();
        let writes = target.0.lock().unwrap();
        assert!(writes.len() > 1 && writes.len() < 10);
        assert!(writes.iter().all(|write| write.ends_with(b"\n")));
        assert_eq!(writes.concat(), line.repeat(200));
    }
}
