//! Export of spans and metrics over OTLP, as the `OTEL_…` variables define it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    MetricExporter, Protocol as Encoding, SpanExporter, WithExportConfig, WithHttpConfig,
};
use tokio::runtime::Handle;

use super::{TelemetryError, variable};

/// OpenTelemetry's default.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Signal {
    Traces,
    Metrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// `None` when spans are not exported. Must be called inside the runtime, which the exporter uses.
pub(super) fn span_exporter() -> Result<Option<SpanExporter>, TelemetryError> {
    let exporter = match protocol(Signal::Traces, variable)? {
        None => return Ok(None),
        Some(Protocol::Grpc) => SpanExporter::builder().with_tonic().build()?,
        Some(Protocol::Http) => SpanExporter::builder()
            .with_http()
            .with_protocol(Encoding::HttpBinary)
            .with_http_client(client(Signal::Traces)?)
            .build()?,
    };
    Ok(Some(exporter))
}

/// `None` when metrics are not pushed. Must be called inside the runtime, which the exporter uses.
pub(super) fn metric_exporter() -> Result<Option<MetricExporter>, TelemetryError> {
    let exporter = match protocol(Signal::Metrics, variable)? {
        None => return Ok(None),
        Some(Protocol::Grpc) => MetricExporter::builder().with_tonic().build()?,
        Some(Protocol::Http) => MetricExporter::builder()
            .with_http()
            .with_protocol(Encoding::HttpBinary)
            .with_http_client(client(Signal::Metrics)?)
            .build()?,
    };
    Ok(Some(exporter))
}

/// The protocol, or `None` if the signal is not exported. Without an endpoint nothing is exported. Exporters other than
/// `otlp` are ignored: `/metrics` has its own setting.
fn protocol(
    signal: Signal,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Protocol>, TelemetryError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let exporters = match signal {
        Signal::Traces => "OTEL_TRACES_EXPORTER",
        Signal::Metrics => "OTEL_METRICS_EXPORTER",
    };
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let chosen =
        set(exporters).is_none_or(|names| names.split(',').any(|exporter| exporter.trim() == "otlp"));
    if disabled || !chosen || signal_variable(signal, "ENDPOINT", &set).is_none() {
        return Ok(None);
    }
    match signal_variable(signal, "PROTOCOL", &set).as_deref() {
        None | Some("grpc") => Ok(Some(Protocol::Grpc)),
        Some("http/protobuf") => Ok(Some(Protocol::Http)),
        Some(other) => Err(TelemetryError::Protocol(other.to_owned())),
    }
}

/// The signal's own variable, else the variable for all signals.
fn signal_variable(signal: Signal, name: &str, set: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let signal = match signal {
        Signal::Traces => "TRACES",
        Signal::Metrics => "METRICS",
    };
    set(&format!("OTEL_EXPORTER_OTLP_{signal}_{name}")).or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn client(signal: Signal) -> Result<OnRuntime, TelemetryError> {
    let timeout = signal_variable(signal, "TIMEOUT", &variable)
        .and_then(|milliseconds| milliseconds.parse().ok())
        .map_or(TIMEOUT, Duration::from_millis);
    let https = signal_variable(signal, "ENDPOINT", &variable).is_some_and(|url| url.starts_with("https:"));
    // read the system's authorities only for https, because a small container has none
    let client: Arc<dyn HttpClient> = if https {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(TelemetryError::Authorities)?
            .https_only()
            .enable_http1()
            .build();
        Arc::new(HyperClient::new(connector, timeout, None))
    } else {
        Arc::new(HyperClient::with_default_connector(timeout, None))
    };
    Ok(OnRuntime {
        client,
        runtime: Handle::current(),
    })
}

/// Sends requests on the runtime, because hyper cannot run on the exporters' threads.
#[derive(Debug)]
struct OnRuntime {
    client: Arc<dyn HttpClient>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        self.runtime
            .spawn(async move { client.send_bytes(request).await })
            .await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");

    fn with(signal: Signal, variables: &[(&str, &str)]) -> Result<Option<Protocol>, TelemetryError> {
        protocol(signal, |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_an_endpoint_or_when_turned_off_nothing_is_exported() {
        let metrics = |variables: &[(&str, &str)]| with(Signal::Metrics, variables).unwrap();
        assert_eq!(metrics(&[ENDPOINT]), Some(Protocol::Grpc));
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://localhost:4317");
        assert_eq!(metrics(&[own]), Some(Protocol::Grpc));
        let chosen = ("OTEL_METRICS_EXPORTER", "prometheus, otlp");
        assert_eq!(metrics(&[ENDPOINT, chosen]), Some(Protocol::Grpc));
        assert_eq!(metrics(&[]), None);
        assert_eq!(metrics(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        let other = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4317");
        assert_eq!(metrics(&[other]), None);
        assert_eq!(metrics(&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")]), None);
        assert_eq!(metrics(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]), None);

        let traces = |variables: &[(&str, &str)]| with(Signal::Traces, variables).unwrap();
        assert_eq!(traces(&[other]), Some(Protocol::Grpc));
        assert_eq!(traces(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(
            traces(&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")]),
            Some(Protocol::Grpc)
        );
    }

    #[test]
    fn a_signals_own_protocol_wins_over_the_protocol_of_all_signals() {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let grpc = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
        let both = [ENDPOINT, http, grpc];
        assert_eq!(with(Signal::Traces, &both).unwrap(), Some(Protocol::Grpc));
        assert_eq!(with(Signal::Metrics, &both).unwrap(), Some(Protocol::Http));
        let json = [ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert!(with(Signal::Traces, &json).is_err());
    }
}
