//! Span attributes for failures and databases. They never contain a value, a credential or a statement.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use opentelemetry::trace::{Status, Tracer};
use opentelemetry::{KeyValue, global, time};
use sqlx::PgPool;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::metrics::record_stage_duration;
use tidemark_postgres::report::report;

/// Runs `work` in `span`, and records its failure on the span.
pub async fn traced<T, E: Error + 'static>(
    span: Span,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let outcome = work.instrument(span.clone()).await;
    if let Err(error) = &outcome {
        record_failure(&span, error);
    }
    outcome
}

/// Records a failure on a span: status, `error.type` and an `exception` event.
pub fn record_failure<E: Error + 'static>(span: &Span, error: &E) {
    let kind = error_type::<E>(error);
    let text = report(error);
    span.set_status(Status::error(text.clone()));
    span.set_attribute("error.type", kind.clone());
    let exception = vec![
        KeyValue::new("exception.type", kind),
        KeyValue::new("exception.message", text),
    ];
    span.add_event("exception", exception);
}

/// The SQLSTATE of a database error, else the name of the error type.
fn error_type<E: Error + 'static>(error: &E) -> String {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = link {
        let database = cause
            .downcast_ref::<sqlx::Error>()
            .and_then(sqlx::Error::as_database_error);
        if let Some(code) = database.and_then(|error| error.code()) {
            return code.into_owned();
        }
        link = cause.source();
    }
    let path = std::any::type_name::<E>();
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

/// Records the database that a span works on, and a short summary of the work.
pub fn describe_database(span: &Span, pool: &PgPool, summary: &'static str) {
    let options = pool.connect_options();
    span.set_attribute("db.system.name", "postgresql");
    span.set_attribute("db.query.summary", summary);
    span.set_attribute("server.address", options.get_host().to_owned());
    span.set_attribute("server.port", i64::from(options.get_port()));
    if let Some(database) = options.get_database() {
        span.set_attribute("db.namespace", database.to_owned());
    }
}

/// Records a stage whose work alternates with other work of the current span: a child span that ends now and lasts `took`,
/// the sum of its parts.
pub fn record_stage_total(stage: &'static str, took: Duration) {
    record_stage_duration(stage, took);
    let (tracer, end) = (global::tracer("tidemark"), time::now());
    let span = tracer
        .span_builder(stage)
        .with_start_time(end.checked_sub(took).unwrap_or(end));
    let mut span = span.start_with_context(&tracer, &Span::current().context());
    opentelemetry::trace::Span::end_with_timestamp(&mut span, end);
}
