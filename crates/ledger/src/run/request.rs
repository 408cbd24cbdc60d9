//! Requests for runs.

use serde_json::json;
use sqlx::PgExecutor;
use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::Selection;

use crate::audit::{self, Entry};
use crate::stored::{Stored, value};
use crate::{Attempt, DbResult, statements};

statements! {
    // A tenant without a watermark gets a full run as its first sync. The lock waits for a removal of the tenant.
    REQUEST = "INSERT INTO etl_control (tenant_id, type, triggered_by, reason, request, trace_id, traceparent, etl_version) \
               SELECT $1, CASE WHEN $2::text = 'incremental' AND w.watermark IS NULL \
                               THEN 'full' ELSE $2::text END::etl_run_type, \
                      $3, $4, $5, $6, $7, $8 \
               FROM etl_watermark w JOIN tenants t ON t.id = w.tenant_id AND t.deleted_at IS NULL \
               WHERE w.tenant_id = $1 FOR KEY SHARE OF t \
               ON CONFLICT DO NOTHING RETURNING id, pg_notify('tidemark_requests', '')";
    FIND_SAME = "SELECT id FROM etl_control WHERE tenant_id = $1 AND finished_at IS NULL \
                 AND CASE WHEN $2::text IN ('incremental', 'full') THEN type IN ('incremental', 'full') \
                          ELSE type = $2::text::etl_run_type AND md5(coalesce((request -> 'selection')::text, '')) \
                                             = md5(coalesce(($3::jsonb -> 'selection')::text, '')) END";
    FIND_OPEN = "SELECT id FROM etl_control \
                 WHERE tenant_id = $1 AND finished_at IS NULL AND type IN ('incremental', 'full')";
}

const TRIES: usize = 10;
const CANNOT_REQUEST: &str = "request a run: the tenant was removed or has no watermark row";

/// A request for a run: who asks, and why.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub tenant_id: TenantId,
    pub run_type: RunType,
    pub triggered_by: String,
    pub reason: Option<String>,
    pub request: RunRequest,
    pub trace_id: Option<String>,
    pub traceparent: Option<String>,
}

impl NewRun {
    /// The same request with another type and selection.
    #[must_use]
    pub(crate) fn with_selection(&self, run_type: RunType, selection: Selection) -> Self {
        Self {
            run_type,
            request: RunRequest {
                selection: Some(selection),
                ..RunRequest::default()
            },
            ..self.clone()
        }
    }
}

/// The answer to a request for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    Created(RunId),
    /// The same run was open already; nothing was written.
    Open(RunId),
}

impl Requested {
    #[must_use]
    pub const fn run_id(self) -> RunId {
        match self {
            Self::Created(id) | Self::Open(id) => id,
        }
    }
}

/// Requests a run, or finds the open one. A tenant has one incremental or full run at a time, and one run of another
/// type for each selection.
pub async fn request(db: &DbPool, run: &NewRun) -> DbResult<Requested> {
    // the open run may end between the two statements; then the insert is tried again
    for _ in 0..TRIES {
        if let Some(id) = insert_requested(db, run).await? {
            return Ok(Requested::Created(id));
        }
        if let Some(id) = find_same(db, run).await? {
            return Ok(Requested::Open(id));
        }
    }
    Err(sqlx::Error::RowNotFound).attempt(CANNOT_REQUEST)
}

/// [`request`] for an operator, with the entry in the audit.
pub async fn request_for(db: &DbPool, actor: &Actor, run: &NewRun) -> DbResult<Requested> {
    for _ in 0..TRIES {
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        if let Some(requested) = request_in(&mut tx, actor, run).await? {
            tx.commit().await.attempt("request a run")?;
            return Ok(requested);
        }
    }
    Err(sqlx::Error::RowNotFound).attempt(CANNOT_REQUEST)
}

/// [`request_for`] in a transaction with more. `None`: the open run has ended meanwhile, or there is no such tenant.
pub async fn request_in(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    run: &NewRun,
) -> DbResult<Option<Requested>> {
    let requested = match insert_requested(&mut **tx, run).await? {
        Some(id) => Some(Requested::Created(id)),
        None => find_same(&mut **tx, run).await?.map(Requested::Open),
    };
    if let Some(requested) = requested {
        record_request(tx, actor, run, requested).await?;
    }
    Ok(requested)
}

/// Records that an operator has requested a run.
pub async fn record_request(
    tx: &mut PgTransaction<'_>,
    actor: &Actor,
    run: &NewRun,
    requested: Requested,
) -> DbResult<()> {
    let request = run.request.summary();
    let entry = Entry::new(Action::RunRequest)
        .tenant(run.tenant_id)
        .subject(format!("run {}", requested.run_id()))
        .reason(run.reason.as_deref())
        .after(json!({"type": run.run_type.as_str(), "request": request}))
        .result(match requested {
            Requested::Created(_) => ActionResult::Done,
            Requested::Open(_) => ActionResult::Unchanged,
        });
    audit::record(&mut **tx, actor, &entry).await
}

async fn find_same(db: impl PgExecutor<'_>, run: &NewRun) -> DbResult<Option<RunId>> {
    sqlx::query_scalar(FIND_SAME)
        .bind(Stored(run.tenant_id))
        .bind(Stored(run.run_type))
        .bind(Json(&run.request))
        .fetch_optional(db)
        .await
        .map(value)
        .attempt("find the open run")
}

/// Requests a run; `None` when the same run is open already.
pub async fn insert_requested(db: impl PgExecutor<'_>, run: &NewRun) -> DbResult<Option<RunId>> {
    sqlx::query_scalar(REQUEST)
        .bind(Stored(run.tenant_id))
        .bind(Stored(run.run_type))
        .bind(&run.triggered_by)
        .bind(&run.reason)
        .bind(Json(&run.request))
        .bind(&run.trace_id)
        .bind(&run.traceparent)
        .bind(env!("CARGO_PKG_VERSION"))
        .fetch_optional(db)
        .await
        .map(value)
        .attempt("request a run")
}

/// The tenant's open incremental or full run.
pub async fn find_open(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<Option<RunId>> {
    sqlx::query_scalar(FIND_OPEN)
        .bind(Stored(tenant))
        .fetch_optional(db)
        .await
        .map(value)
        .attempt("find the open run")
}
