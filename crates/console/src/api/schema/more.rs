//! The shapes of jobs, webhooks, and of what changes tenants.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub struct Unmapped {
    tenant_id: i32,
    unmapped: Vec<i32>,
}

#[derive(ToSchema)]
pub struct Forgotten {
    tenant_id: i32,
    contact_id: i64,
    removed: i64,
    cleaned: i64,
}

#[derive(ToSchema)]
pub struct Removed {
    tenant_id: i32,
    cancelled_runs: Vec<i64>,
}

#[derive(ToSchema)]
pub struct Redriven {
    redriven: u64,
    /// Left: this version cannot read them
    unreadable: u64,
    /// Left: their chunk does not wait for a worker
    unwanted: u64,
    /// Left: the broker did not confirm them
    refused: u64,
}

#[derive(ToSchema)]
pub struct Webhook {
    id: i32,
    /// Without the path
    host: String,
    events: Vec<String>,
    tenant_id: Option<i32>,
    /// json, slack
    format: String,
    created_at: DateTime<Utc>,
    created_by: String,
    waiting: i64,
    delivered: i64,
    dead: i64,
    delivered_at: Option<DateTime<Utc>>,
    error: Option<String>,
}

#[derive(ToSchema)]
pub struct AddedWebhook {
    #[schema(inline)]
    #[serde(flatten)]
    webhook: Webhook,
    /// What the receiver checks signatures with; null for messages that are not signed, and in a repeated answer
    secret: Option<String>,
}

#[derive(ToSchema)]
pub struct WebhookMessage {
    id: i64,
    event: String,
    tenant_id: Option<i32>,
    body: Value,
    created_at: DateTime<Utc>,
    /// When it is sent next; null when it has ended
    due_at: Option<DateTime<Utc>>,
    attempt: i32,
    delivered_at: Option<DateTime<Utc>>,
    dead_at: Option<DateTime<Utc>>,
    status_code: Option<i32>,
    error: Option<String>,
}

#[derive(ToSchema)]
pub struct WebhookMessagePage {
    items: Vec<WebhookMessage>,
    /// `before` of the next page; null at the end
    next: Option<i64>,
}

#[derive(ToSchema)]
pub struct BulkFilter {
    /// Only these: tenants `4`, runs `18`, chunks `18/3`, conversations `4:4711`
    ids: Option<Vec<String>>,
    tenant: Option<i32>,
    /// late, failing, paused, never, rejects, attention
    state: Option<String>,
    source: Option<String>,
    text: Option<String>,
    status: Option<String>,
    r#type: Option<String>,
    side: Option<String>,
    sqlstate: Option<String>,
    error: Option<String>,
}

#[derive(ToSchema)]
pub struct Bulk {
    id: i64,
    action: String,
    filter: Value,
    reason: Option<String>,
    actor: String,
    origin: Option<String>,
    /// prepared, running, done, stopped
    status: String,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    item_count: i32,
    /// Conversations, where an item has several
    object_count: i32,
    done_count: i32,
    skipped_count: i32,
    failed_count: i32,
}

#[derive(ToSchema)]
pub struct BulkPage {
    items: Vec<Bulk>,
    /// `before` of the next page; null at the end
    next: Option<i64>,
}

#[derive(ToSchema)]
pub struct BulkItem {
    seq: i32,
    tenant_id: i32,
    run_id: Option<i64>,
    chunk_seq: Option<i32>,
    conversation_count: i32,
    /// pending, done, skipped, failed
    status: String,
    /// Why it was skipped
    outcome: Option<String>,
    new_run_id: Option<i64>,
    error: Option<String>,
    finished_at: Option<DateTime<Utc>>,
}

#[derive(ToSchema)]
pub struct BulkItemPage {
    items: Vec<BulkItem>,
    /// `after` of the next page; null at the end
    next: Option<i32>,
}

#[derive(ToSchema)]
pub struct Skipped {
    /// paused, not_active, no_inboxes, not_paused, run_ended, nothing_to_retry, already_open, other_source, removed
    why: String,
    items: i64,
}

#[derive(ToSchema)]
pub struct BulkView {
    #[schema(inline)]
    #[serde(flatten)]
    bulk: Bulk,
    skipped: Vec<Skipped>,
    /// The first items
    sample: Vec<BulkItem>,
    /// The first that failed
    failed: Vec<BulkItem>,
}

/// What a sync would do
#[derive(ToSchema)]
pub struct Plan {
    tenant_id: i32,
    /// incremental, full
    r#type: String,
    keys: i64,
    chunks: i32,
    /// Hits of each change signal
    signals: BTreeMap<String, i64>,
    watermark_start: Option<DateTime<Utc>>,
    watermark_end: Option<DateTime<Utc>>,
    /// fence, safety_lag, open_transaction: why the watermark would end there
    watermark_held_by: Option<String>,
    /// Inboxes, accounts, users and teams with a new name
    renamed: usize,
    warnings: Vec<String>,
    cost: PlanCost,
}

#[derive(ToSchema)]
pub struct PlanCost {
    conversations: i64,
    /// Null when the tables were never analyzed
    messages: Option<i64>,
}
