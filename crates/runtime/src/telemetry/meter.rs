//! One meter provider with up to two readers: `/metrics`, and OTLP if the `OTEL_…` variables name an endpoint.

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Encoder, Registry, TextEncoder};

use super::{TelemetryError, openmetrics, otlp};

/// The metrics of this process, for scraping.
#[derive(Debug, Clone)]
pub struct Scrape(Registry);

impl Scrape {
    /// In the OpenMetrics text format 1.0.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        openmetrics::encode(&self.0.gather())
    }

    /// In the Prometheus text format 0.0.4, for clients that do not accept OpenMetrics.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text)?;
        Ok(text)
    }
}

/// Must be called inside the runtime, which the exporter uses.
pub(super) fn build(resource: Resource) -> Result<(SdkMeterProvider, Scrape), TelemetryError> {
    let registry = Registry::new();
    // no suffixes are added, so that a metric has the same name in the code, here and over OTLP
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
    if let Some(exporter) = otlp::metric_exporter()? {
        provider = provider.with_reader(PeriodicReader::builder(exporter).build());
    }
    Ok((provider.build(), Scrape(registry)))
}
