//! Logs on stderr, spans and metrics over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, metrics for whoever scrapes
//! them, and what spans say.

mod context;
mod logs;
mod meter;
mod openmetrics;
mod otlp;
mod outcome;
mod process;
mod stages;
mod throttle;

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, dynamic_filter_fn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;
use crate::metrics;

pub use self::context::{context_of, link, set_parent, trace_id};
pub use self::meter::Scrape;
pub use self::outcome::{describe_database, record_failure, record_stage_total, traced};
use self::throttle::Throttle;

const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
const OUR_SPANS: &str = "off,tidemark=info,tidemark_shared=info,tidemark_producer=info,tidemark_worker=info";

/// What libraries log beside the errors that they return, which are logged where they are handled.
const QUIET: &str = "lapin=error,async_rs=off,sqlx::query=off,sqlx::postgres::notice=off,sqlx_core::pool=off";

/// Libraries that at TRACE write out what goes over their connections, logins with it: never shown, whatever `RUST_LOG` says.
const WIRES: [&str; 9] = [
    "lapin",
    "amq_protocol",
    "async_rs",
    "sqlx",
    "h2",
    "hyper",
    "tonic",
    "reqwest",
    "rustls",
];

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the OTLP exporter cannot be built from the OTEL_… variables")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is `{0}`: `grpc` and `http/protobuf` are understood")]
    Protocol(String),
    #[error("read the system's certificate authorities, for the OTLP endpoint")]
    Authorities(#[source] std::io::Error),
    #[error("the metrics cannot be set up")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
    #[error("a log subscriber is installed already")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// How a process logs when `RUST_LOG` does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// A process that runs for long: one line per outcome.
    Daemon,
    /// A command: its answer is on stdout, so only what needs attention is logged.
    Command,
}

/// Keeps the exporter alive; [`Self::shutdown`] flushes it.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    /// Of a process that runs for long: a command has ended before anybody could look.
    meter: Option<(SdkMeterProvider, Scrape)>,
}

impl Telemetry {
    /// Installs logs and spans for this process. Must be called inside the runtime, which the exporter uses.
    ///
    /// # Errors
    /// When the exporter's settings are wrong.
    pub fn init(
        role: &'static str,
        instance: &str,
        verbosity: Verbosity,
        format: Option<LogFormat>,
    ) -> Result<Self, TelemetryError> {
        let resource = resource(role, instance);
        let mut builder = SdkTracerProvider::builder().with_resource(resource.clone());
        if let Some(exporter) = otlp::span_exporter()? {
            // the default of 2048 drops spans of a burst of small chunks
            let batch = BatchConfigBuilder::default().with_max_queue_size(8192).build();
            builder = builder.with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batch)
                    .build(),
            );
        }
        let provider = builder.build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(provider.clone());
        let meter = match verbosity {
            Verbosity::Daemon => Some(meter::build(resource)?),
            Verbosity::Command => None,
        };
        if let Some((meter, _)) = &meter {
            global::set_meter_provider(meter.clone());
            metrics::observe_build(role);
            process::observe(&metrics::meter());
        }

        let shown = match verbosity {
            Verbosity::Daemon => format!("info,{QUIET}"),
            // what a command meets on the broker it tells itself, and a queue that is not there may be what it asks
            Verbosity::Command => format!("warn,{QUIET},lapin=off"),
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(shown));
        let throttle = Throttle::default();
        let exporters = dynamic_filter_fn(move |event, _| {
            !shows_the_wire(event) && throttle.lets_through(event.target())
        });
        let terminal = std::io::stderr().is_terminal();
        let for_people = terminal || verbosity == Verbosity::Command;
        let format = format.unwrap_or(if for_people {
            LogFormat::Pretty
        } else {
            LogFormat::Json
        });
        let colours = terminal && variable("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colours);
        let lines = match format {
            LogFormat::Pretty => lines
                .fmt_fields(JsonFields::new())
                .event_format(logs::Pretty)
                .boxed(),
            LogFormat::Json => lines.json().event_format(logs::Flat).boxed(),
        };
        // a filter of its own: our spans only, else the exporter's own calls would be traced without end
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tidemark"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // nothing asks for OpenTelemetry's own current context: parents are those of `tracing`
            .with_context_activation(false)
            .with_filter(EnvFilter::new(OUR_SPANS));
        let stages = meter
            .is_some()
            .then(|| stages::Stages.with_filter(EnvFilter::new(OUR_SPANS)));
        tracing_subscriber::registry()
            .with(spans)
            .with(stages)
            .with(lines.with_filter(filter.and(exporters)))
            .try_init()?;
        Ok(Self { provider, meter })
    }

    /// What this process counts; `None` for a command.
    #[must_use]
    pub fn scrape(&self) -> Option<Scrape> {
        self.meter.as_ref().map(|(_, scrape)| scrape.clone())
    }

    /// Sends what is still buffered, for at most five seconds.
    pub async fn shutdown(self) {
        // blocks its thread: on the runtime's own it would wait for itself
        let flushed = tokio::task::spawn_blocking(move || {
            let metrics = self
                .meter
                .map(|(meter, _)| meter.shutdown_with_timeout(FLUSH_TIMEOUT));
            let spans = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT);
            spans.and(metrics.unwrap_or(Ok(())))
        });
        if !matches!(flushed.await, Ok(Ok(()))) {
            tracing::debug!("some spans or metrics were not exported");
        }
    }
}

/// Who exports. What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say wins.
fn shows_the_wire(event: &Metadata<'_>) -> bool {
    *event.level() == Level::TRACE && WIRES.iter().any(|library| event.target().starts_with(library))
}

fn resource(role: &'static str, instance: &str) -> Resource {
    let resource = Resource::builder()
        .with_service_name(format!("tidemark-{role}"))
        .with_attributes([
            KeyValue::new("service.namespace", "tidemark"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()));
    match variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "OTEL_… variables and NO_COLOR are everybody's, not settings of ours"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
