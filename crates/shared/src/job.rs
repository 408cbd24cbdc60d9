//! What travels through the queue: ids only. The receiver believes the ledger, not the message.

use serde::{Deserialize, Serialize};

use crate::ids::{ChunkId, RunId, TenantId};

/// Version of the message bodies written by this build; another version is set aside, never guessed at.
pub const MESSAGE_VERSION: u32 = 1;

/// Which queue a chunk travels in: a backfill of a million rows must not delay another tenant's fifty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Incremental runs.
    Live,
    /// Everything else.
    Bulk,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Live, Self::Bulk];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Bulk => "bulk",
        }
    }
}

/// The body of a chunk job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub v: u32,
    pub run_id: RunId,
    pub seq: i32,
    pub tenant_id: TenantId,
    /// The attempt that the dispatcher saw; for reading traces, it decides nothing.
    pub attempt: i32,
}

impl Job {
    #[must_use]
    pub const fn new(chunk: ChunkId, tenant_id: TenantId, attempt: i32) -> Self {
        Self {
            v: MESSAGE_VERSION,
            run_id: chunk.run_id,
            seq: chunk.seq,
            tenant_id,
            attempt,
        }
    }

    #[must_use]
    pub const fn chunk(&self) -> ChunkId {
        ChunkId {
            run_id: self.run_id,
            seq: self.seq,
        }
    }
}

/// "This chunk has reached a terminal state": wakes the finalizer early, and carries nothing that it relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEvent {
    pub v: u32,
    pub run_id: RunId,
    pub seq: i32,
    pub tenant_id: TenantId,
}

impl ChunkEvent {
    #[must_use]
    pub const fn new(chunk: ChunkId, tenant_id: TenantId) -> Self {
        Self {
            v: MESSAGE_VERSION,
            run_id: chunk.run_id,
            seq: chunk.seq,
            tenant_id,
        }
    }
}

/// W3C trace context as text: it crosses the queue in headers and waits on the chunk row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// That of a run, whose root has no state.
    #[must_use]
    pub const fn of_run(traceparent: Option<String>) -> Self {
        Self {
            traceparent,
            tracestate: None,
        }
    }
}
