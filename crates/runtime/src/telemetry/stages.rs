//! How long the stages of a run take: the durations of their spans, so that traces and metrics cannot disagree.

use std::time::Instant;

use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::metrics::{SPAN_STAGES, record_stage_duration};

/// Records every span that is named like a stage when it ends.
#[derive(Debug)]
pub(super) struct Stages;

struct Begun(Instant);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Stages {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if SPAN_STAGES.contains(&attributes.metadata().name())
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(Begun(Instant::now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let begun = span.extensions_mut().remove::<Begun>();
        if let Some(Begun(begun)) = begun {
            record_stage_duration(span.name(), begun.elapsed());
        }
    }
}
