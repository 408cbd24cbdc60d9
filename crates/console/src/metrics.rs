//! Metrics of the console. Their names contain the unit.

use std::sync::LazyLock;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, UpDownCounter};
use tidemark_runtime::metrics::meter;

use crate::console::Console;

pub const REQUEST_DURATION: &str = "tidemark_console_request_duration_seconds";
pub const STREAMS: &str = "tidemark_console_streams";

struct Instruments {
    requests: Histogram<f64>,
    streams: UpDownCounter<i64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = meter();
    Instruments {
        requests: meter
            .f64_histogram(REQUEST_DURATION)
            .with_description("How long requests to the console took, by route and class of their status.")
            .with_unit("s")
            .with_boundaries(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0])
            .build(),
        streams: meter
            .i64_up_down_counter(STREAMS)
            .with_description("Open streams of the console: one for each tab that shows live numbers.")
            .build(),
    }
});

/// Exports the number of streams before the first one is opened.
pub fn begin() {
    INSTRUMENTS.streams.add(0, &[]);
}

/// Counts one open stream until it is dropped.
pub struct OpenStream;

impl OpenStream {
    pub fn new() -> Self {
        INSTRUMENTS.streams.add(1, &[]);
        Self
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        INSTRUMENTS.streams.add(-1, &[]);
    }
}

const fn class(status: u16) -> &'static str {
    match status {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// Records the duration of a request.
pub async fn observe(State(_): State<std::sync::Arc<Console>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let labels = [
        KeyValue::new("route", route),
        KeyValue::new("status", class(response.status().as_u16())),
    ];
    INSTRUMENTS
        .requests
        .record(began.elapsed().as_secs_f64(), &labels);
    response
}
