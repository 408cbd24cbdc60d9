//! The trace context that chunk rows and message headers carry between processes.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use tidemark_shared::job::TraceContext;

/// The context of a span as text.
#[must_use]
pub fn context_of(span: &Span) -> TraceContext {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    TraceContext {
        traceparent: carrier.remove("traceparent"),
        tracestate: carrier.remove("tracestate").filter(|state| !state.is_empty()),
    }
}

/// Makes a span a child of another process's context. Must be called before the span is entered.
pub fn set_parent(span: &Span, context: &TraceContext) {
    let parent = read(context);
    if !parent.span().span_context().is_valid() {
        return;
    }
    if let Err(error) = span.set_parent(parent) {
        tracing::debug!(error = %error, "span has no parent");
    }
}

/// Links a span to another span of any trace.
pub fn link(span: &Span, context: &TraceContext) {
    let other = read(context).span().span_context().clone();
    if other.is_valid() {
        span.add_link(other);
    }
}

/// The trace id of a span, 32 hex digits; `None` when tracing is off.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span_context = context.span().span_context().clone();
    span_context
        .is_valid()
        .then(|| span_context.trace_id().to_string())
}

fn read(context: &TraceContext) -> Context {
    let pairs = [
        ("traceparent", &context.traceparent),
        ("tracestate", &context.tracestate),
    ];
    let carrier: HashMap<String, String> = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
        .collect();
    // an empty context, so that the current thread's span never becomes the parent
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}
