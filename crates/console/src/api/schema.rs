//! The shapes of answers, for the document alone. The answers themselves are the structs that the commands print; a test
//! compares the names of their fields with these.
#![expect(dead_code, reason = "only the derived descriptions are used")]

mod more;

pub use self::more::*;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub struct Status {
    /// The tenants that the author sees
    tenants: Vec<TenantStatus>,
    /// Null for authors who see only some tenants
    sources: Option<Vec<Value>>,
    unsynced_inboxes: Option<Vec<Value>>,
    processes: Option<Vec<Process>>,
    /// By the ledger's clock
    at: DateTime<Utc>,
}

#[derive(ToSchema)]
pub struct TenantStatus {
    tenant_id: i32,
    name: String,
    watermark: Option<DateTime<Utc>>,
    /// Age of the watermark; null before the first sync
    behind_ms: Option<i64>,
    late: bool,
    checked_at: Option<DateTime<Utc>>,
    consecutive_failures: i32,
    next_due_at: DateTime<Utc>,
    inboxes: i64,
    chunks_pending: i64,
    chunks_queued: i64,
    chunks_running: i64,
    last_run: Option<Run>,
    last_verification: Option<Value>,
    held_by: Option<String>,
    gone_inboxes: Vec<Value>,
    undecided: Option<String>,
}

#[derive(ToSchema)]
pub struct Tenant {
    id: i32,
    name: String,
    slug: String,
    /// active, suspended, cancelled, trial
    status: String,
    source: String,
    account_id: Option<i32>,
    discover: bool,
    timezone: String,
    /// Such as `5m`
    sync_interval: String,
    lookback: String,
    chunk_size: i32,
    max_in_flight: i32,
    verify_interval: Option<String>,
    mapping_version: i64,
    privacy: BTreeMap<String, String>,
    paused_at: Option<DateTime<Utc>>,
    pause_reason: Option<String>,
    inboxes: Vec<i32>,
    watermark: Option<DateTime<Utc>>,
    next_due_at: DateTime<Utc>,
}

#[derive(ToSchema)]
pub struct TenantPage {
    items: Vec<Tenant>,
    /// `after` of the next page; null at the end
    next: Option<i32>,
}

#[derive(ToSchema)]
pub struct ChunkTotals {
    total: i32,
    done: i32,
    dead: i32,
}

#[derive(ToSchema)]
pub struct RecordTotals {
    extracted: i64,
    inserted: i64,
    updated: i64,
    unchanged: i64,
    stale: i64,
    deleted: i64,
    rejected: i64,
}

#[derive(ToSchema)]
pub struct Run {
    run_id: i64,
    tenant_id: i32,
    /// incremental, full, resync, backfill, repair, verify
    r#type: String,
    /// requested, planning, running, success, partial, failed, cancelled
    status: String,
    watermark_start: Option<DateTime<Utc>>,
    watermark_end: Option<DateTime<Utc>>,
    chunks: ChunkTotals,
    records: RecordTotals,
    /// Hits of each change signal
    signals: BTreeMap<String, i64>,
    triggered_by: String,
    reason: Option<String>,
    request: Value,
    requested_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    duration_ms: i64,
    trace_id: Option<String>,
    warnings: Vec<String>,
    error: Option<String>,
}

#[derive(ToSchema)]
pub struct RunPage {
    items: Vec<Run>,
    /// `before` of the next page; null at the end
    next: Option<i64>,
}

#[derive(ToSchema)]
pub struct Chunk {
    run_id: i64,
    seq: i32,
    tenant_id: i32,
    /// live, bulk
    lane: String,
    /// pending, queued, running, done, dead, cancelled
    status: String,
    key_count: i64,
    attempt: i32,
    failure_count: i32,
    lost_count: i32,
    worker_id: Option<String>,
    lease_until: Option<DateTime<Utc>>,
    due_at: Option<DateTime<Utc>>,
    queued_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    extracted: i64,
    rejected: i64,
    error: Option<String>,
}

#[derive(ToSchema)]
pub struct ChunkId {
    run_id: i64,
    seq: i32,
}

#[derive(ToSchema)]
pub struct ChunkPage {
    items: Vec<Chunk>,
    /// The last chunk of this page: its `seq` is `after` of the next; null at the end
    next: Option<ChunkId>,
}

#[derive(ToSchema)]
pub struct Reject {
    tenant_id: i32,
    conversation_id: i64,
    /// source, transform, target
    side: String,
    sqlstate: Option<String>,
    error: String,
    run_id: i64,
    chunk_seq: i32,
    attempts: i32,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
}

#[derive(ToSchema)]
pub struct RejectPage {
    items: Vec<Reject>,
    /// `after` of the next page; null at the end
    next: Option<String>,
}

#[derive(ToSchema)]
pub struct Source {
    source: String,
    looked_at: Option<DateTime<Utc>>,
    fence_at: Option<DateTime<Utc>>,
    /// The oldest open writing transaction
    holder: Option<Value>,
    error: Option<String>,
    failing_since: Option<DateTime<Utc>>,
    written_at: DateTime<Utc>,
}

#[derive(ToSchema)]
pub struct Process {
    instance: String,
    role: String,
    host: String,
    version: String,
    started_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    http_address: Option<String>,
    doing: Option<String>,
}

#[derive(ToSchema)]
pub struct AuditEntry {
    id: i64,
    acted_at: DateTime<Utc>,
    actor: String,
    origin: Option<String>,
    action: String,
    tenant_id: Option<i32>,
    subject: Option<String>,
    reason: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
    /// begun, done, unchanged, refused, failed
    result: String,
}

#[derive(ToSchema)]
pub struct AuditPage {
    items: Vec<AuditEntry>,
    /// `before` of the next page; null at the end
    next: Option<i64>,
}
