//! Runs: one planned pass for one tenant.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{RunId, TenantId};
use crate::job::Lane;
use crate::selection::Selection;
use crate::verification::Compared;

/// Up to this many chunks share the run's trace; chunks of a larger run have traces of their own. Viewers show a few
/// thousand spans, and a chunk has about eight.
pub const MAX_CHUNKS_PER_TRACE: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunType {
    /// Changes since the watermark.
    Incremental,
    /// Everything; sets the watermark to the time of its plan.
    Full,
    /// A requested part again; the watermark stays.
    Resync,
    /// The history of newly mapped inboxes; the watermark stays.
    Backfill,
    /// Writes every row at fault again after a verification; the watermark stays.
    Repair,
    /// Compares source and target, and writes nothing.
    Verify,
}

impl RunType {
    pub const ALL: [Self; 6] = [
        Self::Incremental,
        Self::Full,
        Self::Resync,
        Self::Backfill,
        Self::Repair,
        Self::Verify,
    ];

    #[must_use]
    pub const fn moves_watermark(self) -> bool {
        matches!(self, Self::Incremental | Self::Full)
    }

    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Incremental => Lane::Live,
            Self::Full | Self::Resync | Self::Backfill | Self::Repair | Self::Verify => Lane::Bulk,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Full => "full",
            Self::Resync => "resync",
            Self::Backfill => "backfill",
            Self::Repair => "repair",
            Self::Verify => "verify",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Entered by a request; left by a producer's claim.
    Requested,
    /// A producer reads the source; left by the transaction that writes the chunks.
    Planning,
    /// The chunks are written; left by the finalizer, or by a cancel.
    Running,
    /// Every chunk is done and no row was rejected.
    Success,
    /// Every chunk is done and some rows were rejected.
    Partial,
    /// The plan failed or a chunk is dead; the watermark stays. A retry sets it to running again.
    Failed,
    /// An operator cancelled it or removed its tenant; the watermark stays. A retry sets it to running again.
    Cancelled,
}

impl RunStatus {
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Planning,
        Self::Running,
        Self::Success,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
    ];

    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Partial | Self::Failed | Self::Cancelled
        )
    }

    /// Whether it has ended without success.
    #[must_use]
    pub const fn ended_badly(self) -> bool {
        matches!(self, Self::Partial | Self::Failed | Self::Cancelled)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Ids of a selection that reports and audits show. `run/report.sql` has the same number.
const IDS_SHOWN: usize = 20;

/// The parameters of a requested run beside its type (`etl_control.request`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Keys per chunk, instead of the tenant's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<i32>,
    /// Allow that suspiciously many rows are marked deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_mass_delete: bool,
    /// The part to run on, for run types that take one; `None`: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// Compare column by column, whatever the digests show.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deep: bool,
}

/// A request that cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the run's request cannot be read: request the run again with `tidemark sync` or `resync`")]
    Unreadable(#[source] serde_json::Error),
    #[error("the run's request has chunk_size {0}, which has to be 1 or more: request the run again")]
    ChunkSize(i32),
}

impl RunRequest {
    /// Reads a request from the ledger, where another version of the program or a person may have written it.
    ///
    /// # Errors
    /// When a field is unknown or a value is invalid.
    pub fn read(written: serde_json::Value) -> Result<Self, RequestError> {
        let request: Self = serde_json::from_value(written).map_err(RequestError::Unreadable)?;
        match request.chunk_size {
            Some(size) if size < 1 => Err(RequestError::ChunkSize(size)),
            _ => Ok(request),
        }
    }

    /// The request for people and audits. Of a long list of ids it has the first and the number of all.
    #[must_use]
    pub fn summary(&self) -> serde_json::Value {
        let mut summary = serde_json::to_value(self).expect("a request has string keys");
        if let Some(Selection::Ids { ids }) = &self.selection
            && ids.len() > IDS_SHOWN
        {
            summary["selection"]["ids"] = ids[..IDS_SHOWN].into();
            summary["selection"]["id_count"] = ids.len().into();
        }
        summary
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChunkTotals {
    pub total: i32,
    pub done: i32,
    pub dead: i32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RecordTotals {
    pub extracted: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub stale: i64,
    pub deleted: i64,
    pub rejected: i64,
}

/// A run as commands print it. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunReport {
    pub run_id: RunId,
    pub tenant_id: TenantId,
    #[serde(rename = "type")]
    pub run_type: RunType,
    pub status: RunStatus,
    pub watermark_start: Option<DateTime<Utc>>,
    pub watermark_end: Option<DateTime<Utc>>,
    pub chunks: ChunkTotals,
    pub records: RecordTotals,
    /// Hits of each change signal.
    pub signals: BTreeMap<String, i64>,
    /// Who asked: an operator, or the loop that found it due.
    pub triggered_by: String,
    pub reason: Option<String>,
    /// As stored; of a long list of ids the first and the number of all: see [`RunRequest::summary`].
    pub request: serde_json::Value,
    pub requested_at: DateTime<Utc>,
    /// When a producer began to plan it.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// From the request to the end, or until now.
    pub duration_ms: i64,
    pub trace_id: Option<String>,
    /// The result of a verify run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Compared>,
    /// What its plan found that an operator should know.
    pub warnings: Vec<String>,
    pub error: Option<String>,
}
