//! `inbox_tenant_mapping`: which inboxes belong to which tenant.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::inbox::{Inbox, WaitingInbox};
use tidemark_shared::privacy::PrivacyPolicy;

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    RECORD_GONE = include_str!("inbox/record_gone.sql");
    RECORD_WAITING = include_str!("inbox/record_waiting.sql");
    LIST_ACTIVE = "SELECT inbox_id FROM inbox_tenant_mapping \
                   WHERE tenant_id = $1 AND source = $2 AND is_active ORDER BY inbox_id";
    // loads and changes of the mapping wait for each other here
    LOCK_VERSION = "SELECT mapping_version FROM tenants WHERE id = $1 FOR NO KEY UPDATE";
    LOAD_MAPPING = "SELECT t.mapping_version AS version, t.privacy, \
                           ARRAY(SELECT m.inbox_id FROM inbox_tenant_mapping m \
                                 WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active ORDER BY m.inbox_id) AS inboxes, \
                           ARRAY(SELECT m.inbox_id FROM inbox_tenant_mapping m \
                                 WHERE m.tenant_id = t.id AND m.source = t.source AND m.is_active \
                                   AND m.waiting_rows > 0 ORDER BY m.inbox_id) AS waiting, \
                           ARRAY(SELECT f.contact_id FROM etl_forgotten_contact f WHERE f.tenant_id = t.id) AS forgotten \
                    FROM tenants t WHERE t.id = $1";
    LIST = "SELECT source, inbox_id, tenant_id, inbox_name, channel_type, is_active, backfilled_at, unmapped_at, gone_at, waiting_rows \
            FROM inbox_tenant_mapping WHERE ($1::integer IS NULL OR tenant_id = $1) \
              AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL) \
            ORDER BY tenant_id, source, inbox_id";
    LIST_GONE = "SELECT m.tenant_id, \
                        jsonb_agg(jsonb_build_object('inbox_id', m.inbox_id, 'name', m.inbox_name, 'rows', m.waiting_rows) \
                                  ORDER BY m.inbox_id) AS gone \
                 FROM inbox_tenant_mapping m JOIN tenants t ON t.id = m.tenant_id AND t.source = m.source \
                 WHERE m.gone_at IS NOT NULL AND m.is_active AND t.deleted_at IS NULL \
                 GROUP BY m.tenant_id ORDER BY m.tenant_id";
    // Inboxes of a removed tenant count as unmapped. No plan maps an inbox that an operator unmapped.
    LIST_OWNERS = "SELECT inbox_id, tenant_id FROM inbox_tenant_mapping \
                   WHERE source = $1 AND inbox_id = ANY($2) \
                     AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL) ORDER BY inbox_id";
    FIND = "SELECT source, inbox_id, tenant_id, inbox_name, channel_type, is_active, backfilled_at, unmapped_at, gone_at, waiting_rows \
            FROM inbox_tenant_mapping WHERE source = $1 AND inbox_id = $2 \
              AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL)";
    LOCK_OWNERS = "SELECT m.inbox_id, m.tenant_id FROM inbox_tenant_mapping m JOIN tenants t ON t.id = m.tenant_id \
                   WHERE m.source = $1 AND m.inbox_id = ANY($2) AND m.is_active AND t.deleted_at IS NULL \
                   ORDER BY m.inbox_id FOR NO KEY UPDATE OF m";
    UNMAP = "UPDATE inbox_tenant_mapping SET is_active = false, unmapped_at = now(), updated_at = now() \
             WHERE tenant_id = $1 AND source = $2 AND inbox_id = ANY($3) AND is_active RETURNING inbox_id";
    MAP = include_str!("inbox/map.sql");
    // a run that began before does not count as their backfill
    FETCH_AGAIN = "UPDATE inbox_tenant_mapping m SET backfilled_at = NULL, updated_at = now() \
                   FROM (SELECT source, inbox_id FROM inbox_tenant_mapping \
                         WHERE tenant_id = $1 AND source = $2 AND is_active ORDER BY inbox_id FOR NO KEY UPDATE) l \
                   WHERE m.source = l.source AND m.inbox_id = l.inbox_id";
    // the run's plan may not contain inboxes that were mapped after it began
    MARK_BACKFILLED = "UPDATE inbox_tenant_mapping m SET backfilled_at = now() FROM etl_control r \
                       WHERE r.id = $1 AND m.tenant_id = r.tenant_id AND m.backfilled_at IS NULL \
                         AND m.updated_at < r.started_at \
                         AND (r.type = 'full' OR r.request #> '{selection,inboxes}' @> to_jsonb(m.inbox_id))";
}

/// An inbox and its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct InboxMapping {
    pub source: String,
    pub inbox_id: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub inbox_name: Option<String>,
    pub channel_type: Option<String>,
    pub is_active: bool,
    /// `None`: its history still has to be fetched.
    pub backfilled_at: Option<DateTime<Utc>>,
    /// When an operator unmapped it: no plan maps it again.
    pub unmapped_at: Option<DateTime<Utc>>,
    /// Since when the source no longer has it.
    pub gone_at: Option<DateTime<Utc>>,
    /// Its live rows that wait for a decision, because their conversations are gone with the inbox.
    pub waiting_rows: i64,
}

/// Ids of the tenant's active inboxes, ascending.
pub async fn list_active(db: impl PgExecutor<'_>, tenant: TenantId, source: &str) -> DbResult<Vec<i32>> {
    sqlx::query_scalar(LIST_ACTIVE)
        .bind(Stored(tenant))
        .bind(source)
        .fetch_all(db)
        .await
        .attempt("list the tenant's inboxes")
}

/// Decides which of a source's conversations belong to a tenant, and which parts of them are stored.
#[derive(Debug, Clone, FromRow)]
pub struct Mapping {
    /// Grows with every change of the other fields.
    pub version: i64,
    /// The tenant's active inboxes, ascending.
    pub inboxes: Vec<i32>,
    #[sqlx(json)]
    pub privacy: PrivacyPolicy,
    /// Active inboxes that are gone from the source. Their rows are not marked deleted until an operator decides.
    pub waiting: Vec<i32>,
    /// Forgotten contacts.
    pub forgotten: Vec<i64>,
}

/// The tenant's current mapping.
///
/// # Errors
/// When there is no such tenant.
pub async fn load_mapping(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<Mapping> {
    sqlx::query_as(LOAD_MAPPING)
        .bind(Stored(tenant))
        .fetch_one(db)
        .await
        .attempt("load the tenant's mapping")
}

/// Locks the version of the tenant's mapping until the transaction ends. Only one transaction of a tenant gets past
/// this point at a time.
///
/// # Errors
/// When there is no such tenant.
pub async fn lock_version(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<i64> {
    sqlx::query_scalar(LOCK_VERSION)
        .bind(Stored(tenant))
        .fetch_one(db)
        .await
        .attempt("lock the tenant's mapping")
}

/// Mappings of one tenant, or of all.
pub async fn list(db: impl PgExecutor<'_>, tenant: Option<TenantId>) -> DbResult<Vec<InboxMapping>> {
    sqlx::query_as(LIST)
        .bind(tenant.map(Stored))
        .fetch_all(db)
        .await
        .attempt("list the inboxes")
}

/// The tenants of those inboxes that are mapped, or were until an operator unmapped them.
pub async fn list_owners(
    db: impl PgExecutor<'_>,
    source: &str,
    inboxes: &[i32],
) -> DbResult<Vec<(i32, TenantId)>> {
    owners(LIST_OWNERS, db, source, inboxes).await
}

/// The tenants that have these inboxes now. Nobody else can take or unmap the inboxes before the transaction ends.
pub async fn lock_owners(
    tx: &mut PgTransaction<'_>,
    source: &str,
    inboxes: &[i32],
) -> DbResult<Vec<(i32, TenantId)>> {
    owners(LOCK_OWNERS, &mut **tx, source, inboxes).await
}

async fn owners(
    statement: &'static str,
    db: impl PgExecutor<'_>,
    source: &str,
    inboxes: &[i32],
) -> DbResult<Vec<(i32, TenantId)>> {
    let found: Vec<(i32, Stored<TenantId>)> = sqlx::query_as(statement)
        .bind(source)
        .bind(inboxes)
        .fetch_all(db)
        .await
        .attempt("list the tenants of the inboxes")?;
    Ok(found
        .into_iter()
        .map(|(inbox, Stored(tenant))| (inbox, tenant))
        .collect())
}

/// The mapping of an inbox, also after it was unmapped.
pub async fn find(db: impl PgExecutor<'_>, source: &str, inbox: i32) -> DbResult<Option<InboxMapping>> {
    sqlx::query_as(FIND)
        .bind(source)
        .bind(inbox)
        .fetch_optional(db)
        .await
        .attempt("find the inbox")
}

/// Gives inboxes to a tenant, also those of the tenant `from`; those of other tenants stay theirs. Returns how many changed.
pub async fn map(
    db: impl PgExecutor<'_>,
    source: &str,
    tenant: TenantId,
    inboxes: &[Inbox],
    from: Option<TenantId>,
) -> DbResult<u64> {
    let ids: Vec<i32> = inboxes.iter().map(|inbox| inbox.id).collect();
    let names: Vec<Option<&str>> = inboxes.iter().map(|inbox| inbox.name.as_deref()).collect();
    let channels: Vec<Option<&str>> = inboxes
        .iter()
        .map(|inbox| inbox.channel_type.as_deref())
        .collect();
    sqlx::query(MAP)
        .bind(source)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(names)
        .bind(channels)
        .bind(from.map(Stored))
        .execute(db)
        .await
        .map(|done| done.rows_affected())
        .attempt("map the inboxes")
}

/// Takes inboxes away from their tenant and returns those that it had. The tenant's next plan marks their rows deleted.
pub async fn unmap(
    db: impl PgExecutor<'_>,
    source: &str,
    tenant: TenantId,
    inboxes: &[i32],
) -> DbResult<Vec<i32>> {
    sqlx::query_scalar(UNMAP)
        .bind(Stored(tenant))
        .bind(source)
        .bind(inboxes)
        .fetch_all(db)
        .await
        .attempt("unmap the inboxes")
}

/// Makes a backfill of all of the tenant's inboxes due.
pub async fn fetch_again(db: impl PgExecutor<'_>, tenant: TenantId, source: &str) -> DbResult<()> {
    sqlx::query(FETCH_AGAIN)
        .bind(Stored(tenant))
        .bind(source)
        .execute(db)
        .await
        .map(drop)
        .attempt("make a backfill of the inboxes due")
}

/// Records that a full run has fetched the history of all inboxes of its tenant, or a backfill that of its own inboxes.
pub async fn mark_backfilled(db: impl PgExecutor<'_>, run: RunId) -> DbResult<()> {
    sqlx::query(MARK_BACKFILLED)
        .bind(Stored(run))
        .execute(db)
        .await
        .map(drop)
        .attempt("mark the inboxes as fetched")
}

/// Records which of a plan's inboxes the source no longer has, and that it has the others.
pub async fn record_gone(
    db: impl PgExecutor<'_>,
    source: &str,
    gone: &[i32],
    present: &[i32],
) -> DbResult<()> {
    sqlx::query(RECORD_GONE)
        .bind(source)
        .bind(gone)
        .bind(present)
        .execute(db)
        .await
        .map(drop)
        .attempt("record which inboxes are gone")
}

/// Records which inboxes of a tenant are gone with so many conversations that their rows wait for an operator. None of its
/// other inboxes waits.
pub async fn record_waiting(
    db: impl PgExecutor<'_>,
    source: &str,
    tenant: TenantId,
    waiting: &[WaitingInbox],
) -> DbResult<()> {
    let ids: Vec<i32> = waiting.iter().map(|inbox| inbox.inbox_id).collect();
    let rows: Vec<i64> = waiting.iter().map(|inbox| inbox.rows).collect();
    sqlx::query(RECORD_WAITING)
        .bind(source)
        .bind(Stored(tenant))
        .bind(ids)
        .bind(rows)
        .execute(db)
        .await
        .map(drop)
        .attempt("record which rows wait for a decision")
}

/// Each tenant's inboxes that the source no longer has; tenants without any are left out.
pub async fn list_gone(db: impl PgExecutor<'_>) -> DbResult<Vec<(TenantId, Vec<WaitingInbox>)>> {
    let found: Vec<(Stored<TenantId>, Json<Vec<WaitingInbox>>)> = sqlx::query_as(LIST_GONE)
        .fetch_all(db)
        .await
        .attempt("list the inboxes that are gone")?;
    Ok(found
        .into_iter()
        .map(|(Stored(tenant), Json(gone))| (tenant, gone))
        .collect())
}
