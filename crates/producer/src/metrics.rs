//! What a producer counts. Names carry the unit; the table in docs/observability.md describes each.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tidemark_runtime::metrics::meter;

pub const PLANS: &str = "tidemark_plans_total";
pub const CHUNKS_PUBLISHED: &str = "tidemark_chunks_published_total";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planned {
    /// With something to do.
    Work,
    Nothing,
    Failed,
}

impl Planned {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
        }
    }
}

/// What the broker made of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publication {
    Confirmed,
    Refused,
    /// It has not answered.
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
            .with_description("Plans, by what they found.")
            .build(),
        published: meter
            .u64_counter(CHUNKS_PUBLISHED)
            .with_description("Chunks published, by what the broker said.")
            .build(),
    }
});

/// Shows a nought for what has not happened yet: a rate needs both its ends.
pub fn begin() {
    for what in [Planned::Work, Planned::Nothing, Planned::Failed] {
        planned(what, 0);
    }
    for publication in [Publication::Confirmed, Publication::Refused, Publication::Unknown] {
        published(publication, 0);
    }
}

pub(crate) fn planned(what: Planned, tenants: usize) {
    INSTRUMENTS
        .plans
        .add(count(tenants), &[KeyValue::new("outcome", what.as_str())]);
}

pub(crate) fn published(what: Publication, chunks: usize) {
    INSTRUMENTS
        .published
        .add(count(chunks), &[KeyValue::new("outcome", what.as_str())]);
}

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}
