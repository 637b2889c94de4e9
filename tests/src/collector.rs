//! A collector of traces. None can be had from the registries: a socket and OpenTelemetry's own message types take its place.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::http::read_raw;

/// Takes spans until the process ends.
#[derive(Clone, Debug, Default)]
pub struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// One that listens, and its address.
    pub fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let collector = Self::default();
        let taken = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("it listens");
                let request = read_raw(&stream).expect("a request");
                assert_eq!((&*request.method, &*request.path), ("POST", "/v1/traces"));
                assert_eq!(request.headers["content-type"], "application/x-protobuf");
                taken.take(&request.body);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .expect("who sends spans waits for an answer");
            }
        });
        (collector, format!("http://{address}/v1/traces"))
    }

    fn take(&self, body: &[u8]) {
        let sent = ExportTraceServiceRequest::decode(body).expect("spans");
        for resource in sent.resource_spans {
            let service = resource.resource.expect("whose they are").attributes;
            assert_eq!(text(&service, "service.name"), "wasmill");
            let scopes = resource.scope_spans.into_iter();
            let new = scopes.flat_map(|scope| scope.spans);
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(new);
        }
    }

    /// Those that have come.
    pub fn spans(&self) -> Vec<Span> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What an attribute says.
pub fn value<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|found| found.value.as_ref()?.value.as_ref());
    value.unwrap_or_else(|| panic!("no {key} in {attributes:?}"))
}

/// What an attribute says that is a text.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match value(attributes, key) {
        Value::StringValue(text) => text,
        other => panic!("{key} is {other:?}"),
    }
}
