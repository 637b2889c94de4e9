//! Traces: where the time of an epoch goes, as spans for whoever collects OpenTelemetry's.
//!
//! An epoch is a trace: a span from its cut to its delivery, and below it one for its plan, one for each source, step and sink that had work
//! for it, and one for the commit that ended it. The span of a node goes from the first to the last of its work on any worker, and has what it
//! was busy between them as an attribute. Of a run of several processes the first one tells, of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfig, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::error::Failure;
use crate::ids::{BatchTime, Epoch, NodeName};

/// Where spans go: one connection of a process, whatever runs in it.
#[derive(Clone, Debug)]
pub struct Collector(Arc<Sender>);

#[derive(Debug)]
struct Sender {
    endpoint: String,
    spans: BatchSpanProcessor,
}

impl Drop for Sender {
    fn drop(&mut self) {
        // What waits is sent; a collector that does not answer is not waited for beyond the time-out.
        if let Err(error) = self.spans.shutdown() {
            tracing::warn!("the last spans were not collected: {error}");
        }
    }
}

impl Collector {
    /// Sends spans to `endpoint`, as protocol buffers over HTTP: `http://127.0.0.1:4318/v1/traces`. Nothing waits for it: what it does not take
    /// fast enough is dropped and counted by a warning.
    ///
    /// # Errors
    /// When that is no address.
    pub fn at(endpoint: &str) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::user(format!("spans cannot be sent to `{endpoint}`: {why}"))
                .help("write the whole address: http://127.0.0.1:4318/v1/traces")
        };
        reqwest::Url::parse(endpoint).map_err(|error| wrong(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let mut processor = BatchSpanProcessor::new(exporter, BatchConfig::default());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let service = Resource::builder()
            .with_service_name("wasmill")
            .with_attribute(version);
        processor.set_resource(&service.build());
        Ok(Self(Arc::new(Sender {
            endpoint: endpoint.to_owned(),
            spans: processor,
        })))
    }

    /// Where that is.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }
}

/// The traces of one run; without a collector, nothing.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Run>>);

#[derive(Debug)]
struct Run {
    collector: Collector,
    /// Makes the ids of this run's epochs unlike those of any other's.
    seed: u64,
    /// Of every span.
    attributes: Vec<KeyValue>,
    /// Of epochs that are not delivered.
    open: Mutex<BTreeMap<Epoch, BTreeMap<NodeName, Stretch>>>,
}

/// The work of a node on an epoch.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    began: Instant,
    ended: Instant,
    busy: Duration,
}

/// An epoch that is delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// Which.
    pub epoch: Epoch,
    /// Its time.
    pub time: BatchTime,
    /// When it was cut.
    pub cut: Instant,
    /// Bytes of its input.
    pub bytes: u64,
    /// How long it waited for the one before it.
    pub delay: Duration,
}

impl Traces {
    /// Of a run whose spans have these attributes: of which tenant it is, of which pipeline.
    pub fn to(collector: Collector, attributes: &[(&'static str, &str)]) -> Self {
        let attributes = attributes.iter();
        let attributes = attributes.map(|(key, value)| KeyValue::new(*key, (*value).to_owned()));
        let mut seed = [0; 8];
        // Without random numbers two runs may have traces of one name, which is no reason not to run.
        getrandom::fill(&mut seed).ok();
        Self(Some(Arc::new(Run {
            collector,
            seed: u64::from_le_bytes(seed),
            attributes: attributes.collect(),
            open: Mutex::default(),
        })))
    }

    /// A node has worked on an epoch since then.
    pub fn worked(&self, epoch: Epoch, node: &NodeName, began: Instant) {
        let Some(run) = &self.0 else { return };
        let ended = Instant::now();
        let mut open = run.open();
        let nodes = open.entry(epoch).or_default();
        let stretch = nodes.entry(node.clone()).or_insert(Stretch {
            began,
            ended,
            busy: Duration::ZERO,
        });
        stretch.began = stretch.began.min(began);
        stretch.ended = ended;
        stretch.busy += ended - began;
    }

    /// The plan of an epoch was made durable since then.
    pub fn planned(&self, epoch: Epoch, began: Instant) {
        self.part(epoch, "plan", began);
    }

    /// An epoch was committed since then.
    pub fn committed(&self, epoch: Epoch, began: Instant) {
        self.part(epoch, "commit", began);
    }

    fn part(&self, epoch: Epoch, name: &'static str, began: Instant) {
        if let Some(run) = &self.0 {
            run.tell(run.span(epoch, name, name.to_owned(), began, Instant::now()));
        }
    }

    /// An epoch is delivered: tells of it and of all work on it.
    pub fn delivered(&self, delivered: Delivered) {
        let Some(run) = &self.0 else { return };
        let now = Instant::now();
        let Delivered { epoch, cut, .. } = delivered;
        // Work on earlier epochs that was noted after they were delivered is of no trace any more.
        let mut done = {
            let mut open = run.open();
            let later = open.split_off(&Epoch(epoch.0 + 1));
            std::mem::replace(&mut *open, later)
        };
        for (node, stretch) in done.remove(&epoch).unwrap_or_default() {
            let id = format!("node/{node}");
            let mut span = run.span(epoch, &id, node.to_string(), stretch.began, stretch.ended);
            let busy = stretch.busy.as_secs_f64() * 1e3;
            span.attributes.push(KeyValue::new("wasmill.busy_ms", busy));
            run.tell(span);
        }
        let mut span = run.span(epoch, "epoch", "epoch".to_owned(), cut, now);
        span.span_context = run.context(epoch);
        span.parent_span_id = SpanId::INVALID;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        span.attributes.extend([
            KeyValue::new("wasmill.batch_time", delivered.time.as_date()),
            KeyValue::new("wasmill.bytes_in", number(delivered.bytes)),
            KeyValue::new("wasmill.delay_ms", delivered.delay.as_secs_f64() * 1e3),
        ]);
        run.tell(span);
    }
}

impl Run {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Epoch, BTreeMap<NodeName, Stretch>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the span of an epoch, which all others of its trace have above them: known without asking, so that any thread can.
    fn context(&self, epoch: Epoch) -> SpanContext {
        let id = xxh3_128_with_seed(&epoch.0.to_le_bytes(), self.seed);
        // Ids are not zero.
        context(TraceId::from(id | 1), SpanId::from(id as u64 | 1))
    }

    /// A part of an epoch; `part` is unlike that of any other.
    fn span(
        &self,
        epoch: Epoch,
        part: &str,
        name: String,
        began: Instant,
        ended: Instant,
    ) -> SpanData {
        let above = self.context(epoch);
        let id = xxh3_128_with_seed(
            part.as_bytes(),
            u64::from_be_bytes(above.span_id().to_bytes()),
        );
        let mut attributes = self.attributes.clone();
        let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("wasmill.epoch", number));
        SpanData {
            span_context: context(above.trace_id(), SpanId::from(id as u64 | 1)),
            parent_span_id: above.span_id(),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: clock(began),
            end_time: clock(ended),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("wasmill").build(),
        }
    }

    fn tell(&self, span: SpanData) {
        self.collector.0.spans.on_end(span);
    }
}

fn context(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

/// A moment of this process by the clock on the wall.
fn clock(moment: Instant) -> SystemTime {
    SystemTime::now()
        .checked_sub(moment.elapsed())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
