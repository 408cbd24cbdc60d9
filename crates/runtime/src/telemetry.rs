//! Logs on stderr, spans and metrics over OTLP if `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and metrics for scraping.

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
/// A target matches by its beginning, so this covers every crate of the workspace.
const OUR_SPANS: &str = "off,tidemark=info";

/// Turns off logs of libraries that repeat the errors they return. Errors are logged where they are handled.
const QUIET: &str = "lapin=error,async_rs=off,sqlx::query=off,sqlx::postgres::notice=off,sqlx_core::pool=off";

/// Libraries whose TRACE logs contain their network traffic, logins included. These logs are never shown, even if `RUST_LOG`
/// asks for them.
const TRAFFIC_LOGGERS: [&str; 9] = [
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
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is `{0}`: `grpc` and `http/protobuf` are supported")]
    Protocol(String),
    #[error("read the system's certificate authorities, for the OTLP endpoint")]
    Authorities(#[source] std::io::Error),
    #[error("the metrics cannot be set up")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
    #[error("a log subscriber is installed already")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// The log level of a process without `RUST_LOG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// A long-running process: one line for each outcome.
    Daemon,
    /// A command: its result goes to stdout, and only warnings and errors are logged.
    Command,
}

/// Owns the exporters; [`Self::shutdown`] flushes them.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    /// Only for long-running processes: a command ends before a scrape.
    meter: Option<(SdkMeterProvider, Scrape)>,
}

impl Telemetry {
    /// Installs logs, spans and metrics for this process. Must be called inside the runtime, which the exporter uses.
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
            // a command reports errors of the broker itself, and a missing queue may be its result
            Verbosity::Command => format!("warn,{QUIET},lapin=off"),
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(shown));
        let throttle = Throttle::default();
        let exporters =
            dynamic_filter_fn(move |event, _| !logs_traffic(event) && throttle.passes(event.target()));
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
                .event_format(logs::TextLines)
                .boxed(),
            LogFormat::Json => lines.json().event_format(logs::JsonLines).boxed(),
        };
        // only Tidemark's spans: tracing the exporter's own calls would never end
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tidemark"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // nothing reads OpenTelemetry's current context: `tracing` defines the parents
            .with_context_activation(false)
            .with_filter(EnvFilter::new(OUR_SPANS));
        let stages = meter
            .is_some()
            .then(|| stages::StageTimer.with_filter(EnvFilter::new(OUR_SPANS)));
        tracing_subscriber::registry()
            .with(spans)
            .with(stages)
            .with(lines.with_filter(filter.and(exporters)))
            .try_init()?;
        Ok(Self { provider, meter })
    }

    /// The metrics of this process; `None` for a command.
    #[must_use]
    pub fn scrape(&self) -> Option<Scrape> {
        self.meter.as_ref().map(|(_, scrape)| scrape.clone())
    }

    /// Sends buffered spans and metrics, for at most five seconds each.
    pub async fn shutdown(self) {
        // shutdown blocks its thread; on a runtime thread it would wait for itself
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

fn logs_traffic(event: &Metadata<'_>) -> bool {
    *event.level() == Level::TRACE
        && TRAFFIC_LOGGERS
            .iter()
            .any(|library| event.target().starts_with(library))
}

/// Attributes of the exporting process. `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` override them.
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
    reason = "OTEL_… variables and NO_COLOR are conventions, not settings of Tidemark"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
