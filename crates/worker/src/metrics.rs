//! The worker's metrics. Names carry the unit; the table in docs/observability.md describes each.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, UpDownCounter};
use tidemark_runtime::metrics::meter;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::job::Lane;

pub const ROWS: &str = "tidemark_rows_total";
pub const CHUNK_ATTEMPTS: &str = "tidemark_chunk_attempts_total";
pub const CHUNKS_IN_FLIGHT: &str = "tidemark_chunks_in_flight";
pub const CONCURRENCY: &str = "tidemark_worker_concurrency";
pub const CHUNK_WAIT: &str = "tidemark_chunk_wait_seconds";
pub const DELIVERIES: &str = "tidemark_deliveries_total";

/// From an idle worker to a queue that takes more than ten minutes to work off.
const WAIT_BOUNDS: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
];

/// How an attempt at a chunk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Retry,
    Dead,
    Released,
    /// A server is unavailable, or a comparison waits for a sync.
    Postponed,
    /// The chunk was not claimable.
    Refused,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Done,
        Self::Retry,
        Self::Dead,
        Self::Released,
        Self::Postponed,
        Self::Refused,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::Dead => "dead",
            Self::Released => "released",
            Self::Postponed => "postponed",
            Self::Refused => "refused",
        }
    }
}

struct Instruments {
    rows: Counter<u64>,
    attempts: Counter<u64>,
    in_flight: UpDownCounter<i64>,
    concurrency: Gauge<u64>,
    wait: Histogram<f64>,
    deliveries: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = meter();
    Instruments {
        rows: meter
            .u64_counter(ROWS)
            .with_description("Rows of chunks that are done, by what became of them.")
            .build(),
        attempts: meter
            .u64_counter(CHUNK_ATTEMPTS)
            .with_description("Attempts at chunks, by how they ended.")
            .build(),
        in_flight: meter
            .i64_up_down_counter(CHUNKS_IN_FLIGHT)
            .with_description("Chunks that are executed now.")
            .build(),
        concurrency: meter
            .u64_gauge(CONCURRENCY)
            .with_description("Chunks of a lane that may be read at once.")
            .build(),
        wait: meter
            .f64_histogram(CHUNK_WAIT)
            .with_description("From a chunk's dispatch to its claim.")
            .with_unit("s")
            .with_boundaries(WAIT_BOUNDS.to_vec())
            .build(),
        deliveries: meter
            .u64_counter(DELIVERIES)
            .with_description("Messages received from the queue.")
            .build(),
    }
});

/// Records the concurrency, and sets every counter to 0 so that a rate sees the first increase.
pub(crate) fn initialize(concurrency: u16) {
    INSTRUMENTS.concurrency.record(u64::from(concurrency), &[]);
    rows(&ChunkCounts::default());
    for outcome in Outcome::ALL {
        INSTRUMENTS
            .attempts
            .add(0, &[KeyValue::new("outcome", outcome.as_str())]);
    }
    for lane in Lane::ALL {
        INSTRUMENTS
            .in_flight
            .add(0, &[KeyValue::new("lane", lane.as_str())]);
    }
    for redelivered in [false, true] {
        INSTRUMENTS
            .deliveries
            .add(0, &[KeyValue::new("redelivered", redelivered)]);
    }
}

pub(crate) fn delivered(redelivered: bool) {
    INSTRUMENTS
        .deliveries
        .add(1, &[KeyValue::new("redelivered", redelivered)]);
}

pub(crate) fn attempted(outcome: Outcome) {
    INSTRUMENTS
        .attempts
        .add(1, &[KeyValue::new("outcome", outcome.as_str())]);
}

pub(crate) fn rows(counts: &ChunkCounts) {
    let by_outcome = [
        ("extracted", counts.extracted),
        ("inserted", counts.inserted),
        ("updated", counts.updated),
        ("unchanged", counts.unchanged),
        ("stale", counts.stale),
        ("deleted", counts.deleted),
        ("rejected", counts.rejected),
    ];
    for (outcome, count) in by_outcome {
        let count = u64::try_from(count).unwrap_or(0);
        INSTRUMENTS.rows.add(count, &[KeyValue::new("outcome", outcome)]);
    }
}

/// Counts a chunk as in flight until it is dropped.
pub(crate) struct InFlight([KeyValue; 1]);

impl InFlight {
    /// `waited` is the time since dispatch; `None` when the chunk was claimed without a dispatch.
    pub fn begin(lane: Lane, waited: Option<Duration>) -> Self {
        let labels = [KeyValue::new("lane", lane.as_str())];
        INSTRUMENTS.in_flight.add(1, &labels);
        if let Some(waited) = waited {
            INSTRUMENTS.wait.record(waited.as_secs_f64(), &labels);
        }
        Self(labels)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        INSTRUMENTS.in_flight.add(-1, &self.0);
    }
}
