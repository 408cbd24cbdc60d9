//! Metrics of a finalizer, and of the fleet. Their names contain the unit.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tidemark_runtime::metrics::meter;
use tidemark_shared::run::{RunStatus, RunType};

pub const CHUNKS_RESCUED: &str = "tidemark_chunks_rescued_total";
pub const RUNS_FINISHED: &str = "tidemark_runs_finished_total";
pub const WEBHOOK_ATTEMPTS: &str = "tidemark_webhook_attempts_total";

// of the fleet, see `fleet.rs`
pub const TENANTS: &str = "tidemark_tenants";
pub const TENANTS_FRESH: &str = "tidemark_tenants_fresh";
pub const WATERMARK_LAG_MAX: &str = "tidemark_watermark_lag_max_seconds";
pub const TENANT_WATERMARK_LAG: &str = "tidemark_tenant_watermark_lag_seconds";
pub const TENANT_FAILURES: &str = "tidemark_tenant_consecutive_failures";
pub const CHUNKS_OPEN: &str = "tidemark_chunks_open";
pub const RUNS_OPEN: &str = "tidemark_runs_open";
pub const RUN_STALLED_MAX: &str = "tidemark_run_stalled_max_seconds";
pub const REJECTS_OPEN: &str = "tidemark_rejects_open";
pub const TENANTS_VERIFIED: &str = "tidemark_tenants_verified";
pub const VERIFICATION_FAULTS: &str = "tidemark_verification_faults";
pub const FENCE_LAG: &str = "tidemark_fence_lag_seconds";
pub const SOURCE_FAILING: &str = "tidemark_source_failing";
pub const SOURCE_SEEN: &str = "tidemark_source_seen_seconds";
pub const PROCESSES: &str = "tidemark_processes";
pub const QUEUE_MESSAGES: &str = "tidemark_queue_messages";
pub const QUEUE_CONSUMERS: &str = "tidemark_queue_consumers";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rescued {
    /// Its worker vanished: another worker takes it.
    LeaseExpired,
    /// No worker claimed it: it is published again.
    QueuedTooLong,
}

impl Rescued {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseExpired => "lease expired",
            Self::QueuedTooLong => "queued too long",
        }
    }
}

/// How an attempt to deliver a message of a webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Delivered,
    Failed,
    /// The last attempt has failed too.
    Dead,
}

impl Delivery {
    const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::Dead];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }
}

struct Instruments {
    rescued: Counter<u64>,
    runs_finished: Counter<u64>,
    webhook_attempts: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = meter();
    Instruments {
        rescued: meter
            .u64_counter(CHUNKS_RESCUED)
            .with_description("Chunks returned to pending, by reason.")
            .build(),
        runs_finished: meter
            .u64_counter(RUNS_FINISHED)
            .with_description("Closed runs, by type and status.")
            .build(),
        webhook_attempts: meter
            .u64_counter(WEBHOOK_ATTEMPTS)
            .with_description("Attempts to deliver messages of webhooks, by outcome.")
            .build(),
    }
});

/// Exports zeros from the start: a rate needs a first value.
pub fn begin() {
    for reason in [Rescued::LeaseExpired, Rescued::QueuedTooLong] {
        count_rescued(reason, 0);
    }
    for outcome in Delivery::ALL {
        count_delivery(outcome, 0);
    }
    for status in [RunStatus::Success, RunStatus::Partial, RunStatus::Failed] {
        for run_type in [RunType::Incremental, RunType::Full] {
            count_finished_runs(run_type, status, 0);
        }
    }
}

pub(crate) fn count_rescued(reason: Rescued, chunks: usize) {
    let label = reason.as_str().replace(' ', "_");
    INSTRUMENTS
        .rescued
        .add(count(chunks), &[KeyValue::new("reason", label)]);
}

pub(crate) fn count_finished_runs(run_type: RunType, status: RunStatus, runs: usize) {
    let labels = [
        KeyValue::new("type", run_type.as_str()),
        KeyValue::new("status", status.as_str()),
    ];
    INSTRUMENTS.runs_finished.add(count(runs), &labels);
}

pub(crate) fn count_delivery(outcome: Delivery, messages: usize) {
    let label = KeyValue::new("outcome", outcome.as_str());
    INSTRUMENTS.webhook_attempts.add(count(messages), &[label]);
}

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}
