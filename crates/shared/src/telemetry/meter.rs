//! One meter provider with up to two readers: what `/metrics` shows, and OTLP when the `OTEL_…` variables name an endpoint.

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Encoder, Registry, TextEncoder};

use super::{TelemetryError, openmetrics};

/// What this process has counted, for whoever scrapes it.
#[derive(Debug, Clone)]
pub struct Scrape(Registry);

impl Scrape {
    /// As OpenMetrics text 1.0.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        openmetrics::encode(&self.0.gather())
    }

    /// As Prometheus text 0.0.4, for clients that do not know OpenMetrics.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text)?;
        Ok(text)
    }
}

/// Must be called inside the runtime, which the exporter uses.
pub(super) fn build(resource: Resource) -> Result<(SdkMeterProvider, Scrape), TelemetryError> {
    let registry = Registry::new();
    // names are written out in full, so that one name is the same in the code, here and over OTLP
    let scraped = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .without_counter_suffixes()
        .without_target_info()
        .scope_info_enabled(false)
        .build()?;
    let mut provider = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(scraped);
    if pushes(super::variable) {
        provider = provider.with_reader(PeriodicReader::builder(exporter()?).build());
    }
    Ok((provider.build(), Scrape(registry)))
}

fn exporter() -> Result<MetricExporter, TelemetryError> {
    Ok(MetricExporter::builder().with_tonic().build()?)
}

/// `/metrics` is ours and has a setting of its own; these variables decide about OTLP.
fn pushes(variable: impl Fn(&str) -> Option<String>) -> bool {
    let named = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let chosen = variable("OTEL_METRICS_EXPORTER").filter(|exporters| !exporters.is_empty());
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    (named("OTEL_EXPORTER_OTLP_ENDPOINT") || named("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"))
        && chosen.is_none_or(|exporters| exporters.split(',').any(|exporter| exporter.trim() == "otlp"))
        && !disabled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushes_with(variables: &[(&str, &str)]) -> bool {
        pushes(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_pushed_without_an_endpoint_or_against_the_variables() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        assert!(pushes_with(&[endpoint]));
        assert!(pushes_with(&[(
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://localhost:4317"
        )]));
        assert!(pushes_with(&[
            endpoint,
            ("OTEL_METRICS_EXPORTER", "prometheus, otlp")
        ]));
        assert!(!pushes_with(&[]));
        assert!(!pushes_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(!pushes_with(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://localhost:4317"
        )]));
        assert!(!pushes_with(&[endpoint, ("OTEL_METRICS_EXPORTER", "none")]));
        assert!(!pushes_with(&[endpoint, ("OTEL_SDK_DISABLED", "True")]));
    }
}
