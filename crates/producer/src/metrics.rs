//! Metrics of a producer. Their names contain the unit.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tidemark_runtime::metrics::meter;

pub const PLANS: &str = "tidemark_plans_total";
pub const CHUNKS_PUBLISHED: &str = "tidemark_chunks_published_total";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanOutcome {
    /// The plan has chunks.
    Work,
    Nothing,
    Failed,
}

impl PlanOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
        }
    }
}

/// The broker's answer to published chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publication {
    Confirmed,
    Refused,
    /// No answer.
    Unknown,
}

impl Publication {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

struct Instruments {
    plans: Counter<u64>,
    published: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = meter();
    Instruments {
        plans: meter
            .u64_counter(PLANS)
            .with_description("Plans, by outcome.")
            .build(),
        published: meter
            .u64_counter(CHUNKS_PUBLISHED)
            .with_description("Published chunks, by the broker's answer.")
            .build(),
    }
});

/// Exports zeros from the start: a rate needs a first value.
pub fn begin() {
    for outcome in [PlanOutcome::Work, PlanOutcome::Nothing, PlanOutcome::Failed] {
        count_plans(outcome, 0);
    }
    for publication in [Publication::Confirmed, Publication::Refused, Publication::Unknown] {
        count_published(publication, 0);
    }
}

pub(crate) fn count_plans(outcome: PlanOutcome, tenants: usize) {
    INSTRUMENTS
        .plans
        .add(count(tenants), &[KeyValue::new("outcome", outcome.as_str())]);
}

pub(crate) fn count_published(outcome: Publication, chunks: usize) {
    INSTRUMENTS
        .published
        .add(count(chunks), &[KeyValue::new("outcome", outcome.as_str())]);
}

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}
