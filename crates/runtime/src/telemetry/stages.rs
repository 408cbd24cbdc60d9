//! Durations of a run's stages, measured by their spans, so that traces and metrics agree.

use std::time::Instant;

use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::metrics::{SPAN_STAGES, record_stage_duration};

/// Records the duration of every span in [`SPAN_STAGES`] when it ends.
#[derive(Debug)]
pub(super) struct StageTimer;

struct StartedAt(Instant);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StageTimer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if SPAN_STAGES.contains(&attributes.metadata().name())
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(StartedAt(Instant::now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let started_at = span.extensions_mut().remove::<StartedAt>();
        if let Some(StartedAt(started_at)) = started_at {
            record_stage_duration(span.name(), started_at.elapsed());
        }
    }
}
