//! `tenants`: the tenants and their settings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgRow, PgTransaction};
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, Row};
use tidemark_postgres::sqlstate::sqlstate;
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::WaitingInbox;
use tidemark_shared::privacy::PrivacyPolicy;
use tidemark_shared::tenant::{Tenant, TenantStatus};

use crate::coverage::Coverage;
use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, secs, statements};

statements! {
    FIND = "SELECT id, name, slug, status::text, source, account_id, discover, timezone, \
                   extract(epoch FROM sync_interval)::float8 AS sync_interval, \
                   extract(epoch FROM lookback)::float8 AS lookback, \
                   chunk_size, max_in_flight, mapping_version, privacy, paused_at, pause_reason, \
                   extract(epoch FROM verify_interval)::float8 AS verify_interval \
            FROM tenants WHERE id = $1 AND deleted_at IS NULL";
    FIND_BY_SLUG = "SELECT id, mapping_version FROM tenants WHERE slug = $1 AND deleted_at IS NULL";
    LOCK = "SELECT FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
    LIST = "SELECT id, name, slug, status::text, source, account_id, discover, timezone, \
                   extract(epoch FROM sync_interval)::float8 AS sync_interval, \
                   extract(epoch FROM lookback)::float8 AS lookback, \
                   chunk_size, max_in_flight, mapping_version, privacy, paused_at, pause_reason, \
                   extract(epoch FROM verify_interval)::float8 AS verify_interval \
            FROM tenants WHERE deleted_at IS NULL ORDER BY id";
    LIST_AFTER = "SELECT id, name, slug, status::text, source, account_id, discover, timezone, \
                         extract(epoch FROM sync_interval)::float8 AS sync_interval, \
                         extract(epoch FROM lookback)::float8 AS lookback, \
                         chunk_size, max_in_flight, mapping_version, privacy, paused_at, pause_reason, \
                         extract(epoch FROM verify_interval)::float8 AS verify_interval \
                  FROM tenants WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2";
    LIST_TO_PLAN = include_str!("tenant/list_to_plan.sql");
    INSERT = "INSERT INTO tenants (id, name, slug, source, account_id, timezone, chunk_size, max_in_flight, \
                                   sync_interval, privacy, verify_interval, discover) \
              VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, 1000), coalesce($8, 8), \
                      coalesce(make_interval(secs => $9), interval '5 minutes'), $10, make_interval(secs => $11), $12)";
    UPDATE = include_str!("tenant/update.sql");
    SET_STATUS = "UPDATE tenants SET status = $2::text::tenant_status, updated_at = now() WHERE id = $1 AND deleted_at IS NULL";
    LIST_REMOVED = "SELECT id FROM tenants WHERE deleted_at IS NOT NULL ORDER BY id";
    WAS_REMOVED = "SELECT EXISTS (SELECT FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL)";
    // pg_timezone_names would read the files of all time zones
    USE_TIMEZONE = "SELECT now() AT TIME ZONE $1 IS NOT NULL";
}

/// SQLSTATE of an unknown time zone.
const INVALID_PARAMETER_VALUE: &str = "22023";

/// A new tenant; a field that is `None` gets the ledger's default.
#[derive(Debug, Clone)]
pub struct NewTenant {
    pub id: TenantId,
    pub name: String,
    pub slug: String,
    pub source: String,
    pub account_id: Option<i32>,
    pub timezone: String,
    pub chunk_size: Option<i32>,
    pub max_in_flight: Option<i32>,
    pub sync_interval: Option<Duration>,
    pub privacy: PrivacyPolicy,
    /// `None`: compared only on request.
    pub verify_interval: Option<Duration>,
    /// Whether plans map new inboxes of its account to it.
    pub discover: bool,
}

/// A tenant with everything that the ledger knows for its plan, from one moment.
#[derive(Debug, Clone)]
pub struct TenantToPlan {
    pub tenant: Tenant,
    pub watermark: Option<DateTime<Utc>>,
    /// Failed runs in a row.
    pub consecutive_failures: i32,
    /// What its source lacked at its last plan.
    pub absent_columns: Vec<String>,
    /// How long ago its digests were last compared under this mapping; `None`: they must be compared.
    pub digests_age: Option<Duration>,
    /// What its runs have covered under this mapping.
    pub coverage: Option<Coverage>,
    /// Its active inboxes, ascending.
    pub inboxes: Vec<i32>,
    /// Active inboxes whose history was not fetched yet.
    pub unfetched: Vec<i32>,
    /// Active inboxes that the source no longer had at the last plan.
    pub gone: Vec<i32>,
    /// Those of them with rows that wait for an operator.
    pub waiting: Vec<WaitingInbox>,
}

impl FromRow<'_, PgRow> for TenantToPlan {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: Stored::from_row(row)?.0,
            watermark: row.try_get("watermark")?,
            consecutive_failures: row.try_get("consecutive_failures")?,
            absent_columns: row.try_get("absent_columns")?,
            digests_age: row
                .try_get::<Option<f64>, _>("digests_age")?
                .map(|age| Duration::from_secs_f64(age.max(0.0))),
            coverage: Coverage::from_row(
                row,
                ["covered_epoch", "covered_xmin", "covered_clock", "covered_since"],
            )?,
            inboxes: row.try_get("inboxes")?,
            unfetched: row.try_get("unfetched")?,
            gone: row.try_get("gone")?,
            waiting: row.try_get::<Json<_>, _>("waiting")?.0,
        })
    }
}

/// A change of a tenant; a field that is `None` keeps its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantChange {
    pub name: Option<String>,
    pub slug: Option<String>,
    pub source: Option<String>,
    pub account_id: Option<i32>,
    pub timezone: Option<String>,
    pub chunk_size: Option<i32>,
    pub max_in_flight: Option<i32>,
    pub sync_interval: Option<Duration>,
    /// `Some(None)`: compared only on request.
    pub verify_interval: Option<Option<Duration>>,
    pub discover: Option<bool>,
}

impl FromRow<'_, PgRow> for Stored<Tenant> {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self(Tenant {
            id: row.try_get::<Stored<_>, _>("id")?.0,
            name: row.try_get("name")?,
            slug: row.try_get("slug")?,
            status: row.try_get::<Stored<_>, _>("status")?.0,
            source: row.try_get("source")?,
            account_id: row.try_get("account_id")?,
            discover: row.try_get("discover")?,
            timezone: row.try_get("timezone")?,
            sync_interval: Duration::from_secs_f64(row.try_get("sync_interval")?),
            lookback: Duration::from_secs_f64(row.try_get("lookback")?),
            chunk_size: row.try_get("chunk_size")?,
            max_in_flight: row.try_get("max_in_flight")?,
            mapping_version: row.try_get("mapping_version")?,
            privacy: row.try_get::<Json<_>, _>("privacy")?.0,
            paused_at: row.try_get::<Option<DateTime<Utc>>, _>("paused_at")?,
            pause_reason: row.try_get("pause_reason")?,
            verify_interval: row
                .try_get::<Option<f64>, _>("verify_interval")?
                .map(Duration::from_secs_f64),
        }))
    }
}

pub async fn find(db: impl PgExecutor<'_>, id: TenantId) -> DbResult<Option<Tenant>> {
    sqlx::query_as(FIND)
        .bind(Stored(id))
        .fetch_optional(db)
        .await
        .map(|found| found.map(|Stored(tenant)| tenant))
        .attempt("find the tenant")
}

/// With the version of its mapping.
pub async fn find_by_slug(db: impl PgExecutor<'_>, slug: &str) -> DbResult<Option<(TenantId, i64)>> {
    sqlx::query_as(FIND_BY_SLUG)
        .bind(slug)
        .fetch_optional(db)
        .await
        .map(|found: Option<(i32, i64)>| found.map(|(id, version)| (TenantId(id), version)))
        .attempt("find the tenant by its slug")
}

pub async fn list(db: impl PgExecutor<'_>) -> DbResult<Vec<Tenant>> {
    sqlx::query_as(LIST)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the tenants")
}

/// Tenants behind the tenant `after`, ascending by id, at most `limit`.
pub async fn list_after(
    db: impl PgExecutor<'_>,
    after: Option<TenantId>,
    limit: i64,
) -> DbResult<Vec<Tenant>> {
    sqlx::query_as(LIST_AFTER)
        .bind(Stored(after.unwrap_or(TenantId(0))))
        .bind(limit)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the tenants")
}

/// Those of these tenants that were not removed, ascending, with everything that their plans start from.
pub async fn list_to_plan(db: impl PgExecutor<'_>, ids: &[TenantId]) -> DbResult<Vec<TenantToPlan>> {
    sqlx::query_as(LIST_TO_PLAN)
        .bind(stored(ids))
        .fetch_all(db)
        .await
        .attempt("load the tenants to plan")
}

/// The tenant, which nobody else changes before the transaction ends.
pub async fn lock(tx: &mut PgTransaction<'_>, id: TenantId) -> DbResult<Option<Tenant>> {
    sqlx::query(LOCK)
        .bind(Stored(id))
        .execute(&mut **tx)
        .await
        .attempt("lock the tenant")?;
    find(&mut **tx, id).await
}

/// # Errors
/// When a constraint of the table refuses the row (a taken id or slug).
pub async fn insert(db: impl PgExecutor<'_>, tenant: &NewTenant) -> DbResult<()> {
    sqlx::query(INSERT)
        .bind(Stored(tenant.id))
        .bind(&tenant.name)
        .bind(&tenant.slug)
        .bind(&tenant.source)
        .bind(tenant.account_id)
        .bind(&tenant.timezone)
        .bind(tenant.chunk_size)
        .bind(tenant.max_in_flight)
        .bind(tenant.sync_interval.map(secs))
        .bind(Json(&tenant.privacy))
        .bind(tenant.verify_interval.map(secs))
        .bind(tenant.discover)
        .execute(db)
        .await
        .map(drop)
        .attempt("add the tenant")
}

/// Changes a tenant; `false` when there is none with that id.
///
/// # Errors
/// When a constraint of the table refuses the change (a taken slug).
pub async fn update(db: impl PgExecutor<'_>, id: TenantId, change: &TenantChange) -> DbResult<bool> {
    sqlx::query(UPDATE)
        .bind(Stored(id))
        .bind(&change.name)
        .bind(&change.slug)
        .bind(&change.source)
        .bind(change.account_id)
        .bind(&change.timezone)
        .bind(change.chunk_size)
        .bind(change.max_in_flight)
        .bind(change.sync_interval.map(secs))
        .bind(change.verify_interval.is_some())
        .bind(change.verify_interval.flatten().map(secs))
        .bind(change.discover)
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
        .attempt("change the tenant")
}

pub async fn set_status(db: impl PgExecutor<'_>, id: TenantId, status: TenantStatus) -> DbResult<()> {
    sqlx::query(SET_STATUS)
        .bind(Stored(id))
        .bind(Stored(status))
        .execute(db)
        .await
        .map(drop)
        .attempt("set the tenant's status")
}

/// Ids of removed tenants, ascending: these ids cannot be used again.
pub async fn list_removed(db: impl PgExecutor<'_>) -> DbResult<Vec<TenantId>> {
    sqlx::query_scalar(LIST_REMOVED)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("list the removed tenants")
}

/// Whether an id belongs to a tenant that was removed.
pub async fn was_removed(db: impl PgExecutor<'_>, id: TenantId) -> DbResult<bool> {
    sqlx::query_scalar(WAS_REMOVED)
        .bind(Stored(id))
        .fetch_one(db)
        .await
        .attempt("check whether the tenant was removed")
}

/// Whether the server knows an IANA time zone: the live view needs it.
pub async fn timezone_exists(db: impl PgExecutor<'_>, name: &str) -> DbResult<bool> {
    match sqlx::query_scalar(USE_TIMEZONE).bind(name).fetch_one(db).await {
        Err(error) if sqlstate(&error).as_deref() == Some(INVALID_PARAMETER_VALUE) => Ok(false),
        answer => answer.attempt("check the time zone"),
    }
}
