//! The `tcp` source: the records that peers send over sockets, either one that we connect to or any that connect to us.
//!
//! A thread of process 0 owns the sockets ([`connection`]): it cuts what comes into whole lines and puts them into a bounded
//! [`buffer`]. The receiver cuts the buffer into blocks, and a reader thread of each worker decodes one: `Range::Held`.

mod buffer;
mod connection;
mod reader;
#[cfg(test)]
mod tests;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use toml::Spanned;

use super::{Budget, Offer, OpenOptions, Range, Receiver, Source, Waiting};
use crate::config::Table;
use crate::error::Failure;
use crate::format::RecordFormat;
use buffer::Buffer;
use connection::{Intake, Link};
use reader::TcpReader;

/// Holds a second of a fast peer; a slower pipeline makes the peer wait.
const DEFAULT_BUFFER: u64 = 16 << 20;
/// Each connection may hold one unfinished record of `max_record`, so their number bounds memory too.
const DEFAULT_MAX_CONNECTIONS: u64 = 64;
const DEFAULT_RETRY_MAX: Duration = Duration::from_secs(10);

/// A checked `tcp` source.
#[derive(Clone, Debug)]
pub struct TcpSource {
    link: Mode,
    format: RecordFormat,
    buffer: u64,
}

/// Who opens the connection.
#[derive(Clone, Debug)]
enum Mode {
    Connect {
        address: String,
        retry_max: Duration,
    },
    Listen {
        address: String,
        max_connections: u64,
    },
}

impl TcpSource {
    /// Reads its settings.
    pub fn from_table(table: &mut Table) -> Option<Self> {
        let connect = address(table, "address");
        let listen = address(table, "listen");
        let buffer = table.size("buffer");
        let format = RecordFormat::from_table(table);
        // Each way has a setting that is not known to the other.
        let retry_max = (connect.is_some() || listen.is_none())
            .then(|| table.duration("retry_max"))
            .flatten();
        let max_connections = (listen.is_some() || connect.is_none())
            .then(|| table.integer("max_connections", 1))
            .flatten();
        let link = match (connect, listen) {
            (Some(connect), None) => Mode::Connect {
                address: connect.into_inner()?,
                retry_max: retry_max.map_or(DEFAULT_RETRY_MAX, Spanned::into_inner),
            },
            (None, Some(listen)) => Mode::Listen {
                address: listen.into_inner()?,
                max_connections: max_connections
                    .map_or(DEFAULT_MAX_CONNECTIONS, Spanned::into_inner),
            },
            (Some(_), Some(listen)) => {
                let help = "two sources can be united: `input = [\"a\", \"b\"]`";
                table.problem(
                    listen.span(),
                    "`address` and `listen` exclude each other",
                    Some(help.into()),
                );
                return None;
            }
            (None, None) => {
                let wanted =
                    "the address to connect to, or `listen`, the address to accept connections on";
                if table.misspelt("listen").is_none() {
                    table.missing("address", wanted, None);
                }
                return None;
            }
        };
        Some(Self {
            link,
            format: format?,
            buffer: buffer.map_or(DEFAULT_BUFFER, Spanned::into_inner),
        })
    }

    /// How its records are written.
    pub fn format(&self) -> &RecordFormat {
        &self.format
    }

    /// Columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    /// A peer that closes may come back.
    pub fn is_endless(&self) -> bool {
        true
    }

    /// Makes it ready to run in this process; process 0 opens the sockets.
    pub fn open(&self, options: OpenOptions) -> Result<Source, Failure> {
        let buffer = Arc::new(Buffer::new(self.buffer));
        let reader = Arc::new(TcpReader::new(
            self.format.clone(),
            options.provenance,
            buffer.clone(),
        ));
        if !options.coordinator {
            return Ok(Source {
                receiver: None,
                reader,
            });
        }
        let link = match &self.link {
            Mode::Connect { address, retry_max } => Link::Connect {
                address: address.clone(),
                retry_max: *retry_max,
            },
            Mode::Listen {
                address,
                max_connections,
            } => Link::Listen {
                listener: listen(address).map_err(|failure| failure.at_node(&options.node))?,
                max_connections: usize::try_from(*max_connections).unwrap_or(usize::MAX),
            },
        };
        let receiver = TcpReceiver {
            intake: Intake::start(link, self.format.max_record, buffer.clone(), options)?,
            buffer,
        };
        Ok(Source {
            receiver: Some(Box::new(receiver)),
            reader,
        })
    }
}

/// A `host:port`; the inner value is missing if it is not one, which has been reported.
fn address(table: &mut Table, key: &str) -> Option<Spanned<Option<String>>> {
    let text = table.string(key)?;
    let span = text.span();
    let is_address = text
        .get_ref()
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_address {
        let message = format!("`{}` is not an address", text.get_ref());
        let help = "write host and port: \"127.0.0.1:9999\", \"[::1]:9999\", \"logs.example:514\"";
        table.problem(span.clone(), message, Some(help.into()));
    } else {
        table.check_address(&text);
    }
    Some(Spanned::new(span, is_address.then(|| text.into_inner())))
}

fn listen(address: &str) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        Failure::external(format!("cannot listen on `{address}`: {error}")).help(
            "another program may have taken the port, or the address may be another machine's",
        )
    })
}

struct TcpReceiver {
    intake: Intake,
    buffer: Arc<Buffer>,
}

impl Receiver for TcpReceiver {
    fn poll(&mut self, budget: Budget) -> Result<Offer, Failure> {
        Ok(self.buffer.offer(budget))
    }

    fn waiting(&mut self) -> Result<Waiting, Failure> {
        self.buffer.waiting()
    }

    /// Closes the sockets. What came before stays available; `waiting` says when the last of it is in.
    fn stop(&mut self) {
        self.intake.stop();
    }

    /// A peer does not send again what it has sent: there is nothing to go back to.
    fn position(&self) -> Value {
        Value::Null
    }

    fn restore(&mut self, _position: &Value) -> Result<(), Failure> {
        Ok(())
    }

    fn save(&self, range: &Range) -> Option<Vec<u8>> {
        self.buffer.save(range.block()?)
    }
}
