//! The messages of the queue. They only have ids: the receiver reads everything else from the ledger.

use serde::{Deserialize, Serialize};

use crate::ids::{ChunkId, RunId, TenantId};

/// Version of the message bodies written by this build. A message of another version is set aside and not interpreted.
pub const MESSAGE_VERSION: u32 = 1;

/// The queue of a chunk. There are two, so that a backfill of a million rows does not delay another tenant's fifty.
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
    /// The attempt at dispatch. Only for reading traces; it decides nothing.
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

/// A chunk has reached a terminal state. The event only wakes the finalizer early, which then reads the ledger.
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

/// W3C trace context as text. It is sent in message headers and stored with the chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// The context of a run's root span, which has no state.
    #[must_use]
    pub const fn of_run(traceparent: Option<String>) -> Self {
        Self {
            traceparent,
            tracestate: None,
        }
    }
}
