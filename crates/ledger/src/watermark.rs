//! `etl_watermark` and its audit. Only `advance` moves a watermark forward; `set` moves it for an operator.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgTransaction;
use sqlx::{FromRow, PgExecutor};
use tidemark_shared::audit::{Action, ActionResult, Actor};
use tidemark_shared::ids::{RunId, TenantId};

use crate::audit::{self, Entry};
use crate::coverage::Coverage;
use crate::stored::{Stored, stored, values};
use crate::{Attempt, DbResult, run, secs, statements};

statements! {
    LOAD = "SELECT tenant_id, watermark, run_id, advanced_at, checked_at, consecutive_failures, next_due_at \
            FROM etl_watermark WHERE tenant_id = $1";
    LIST = "SELECT tenant_id, watermark, run_id, advanced_at, checked_at, consecutive_failures, next_due_at \
            FROM etl_watermark \
            WHERE $1::float8 IS NULL OR watermark IS NULL OR watermark < now() - make_interval(secs => $1) \
            ORDER BY tenant_id";
    // skips locked rows: another transaction is working on that tenant, and waiting could deadlock
    LOCK_IDLE = "SELECT w.tenant_id FROM etl_watermark w \
                 WHERE w.tenant_id = ANY($1) \
                   AND NOT EXISTS (SELECT FROM etl_control r WHERE r.tenant_id = w.tenant_id AND r.finished_at IS NULL \
                                   AND r.type IN ('incremental', 'full')) \
                 ORDER BY w.tenant_id FOR UPDATE OF w SKIP LOCKED";
    // A tenant that has moved since was planned from another source. A separate statement sees a move for which
    // LOCK_IDLE has waited.
    LIST_NOT_MOVED = "SELECT t.id FROM unnest($1::integer[], $2::bigint[]) AS n (tenant_id, mapping_version) \
                      JOIN tenants t ON t.id = n.tenant_id AND t.source_version <= n.mapping_version \
                      WHERE t.id = ANY($3) ORDER BY t.id";
    LOCK_MANY = "SELECT FROM etl_watermark WHERE tenant_id = ANY($1) ORDER BY tenant_id FOR NO KEY UPDATE";
    ADVANCE = include_str!("watermark/advance.sql");
    LOCK = "SELECT watermark FROM etl_watermark WHERE tenant_id = $1 FOR UPDATE";
    SET = "UPDATE etl_watermark SET watermark = $2, advanced_at = now(), digests_compared_at = NULL, covered_xmin = NULL \
           WHERE tenant_id = $1";
    // the same values as for a new tenant; none of its rows is live
    CLEAR = "UPDATE etl_watermark w SET watermark = NULL, run_id = NULL, advanced_at = now(), checked_at = NULL, \
                    consecutive_failures = 0, plan_error = NULL, digests_compared_at = NULL, covered_xmin = NULL, \
                    next_due_at = now() + t.sync_interval, \
                    policy_version = greatest(w.policy_version, t.policy_version) \
             FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id = $1";
    LIST_MOVES = "SELECT id, coalesce(began_at, moved_at) AS began_at, moved_at, old, new, run_id, actor, reason \
                  FROM etl_watermark_audit \
                  WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    AUDIT = "INSERT INTO etl_watermark_audit (tenant_id, old, new, run_id, actor, reason) \
             SELECT m.tenant_id, m.old, m.new, m.run_id, $5, $6 \
             FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::bigint[]) AS m (tenant_id, old, new, run_id)";
    // Moves of an idle tenant extend one line, instead of adding a line every minute. After a pause there is a new one: each
    // line stands for a time without a gap.
    EXTEND_IDLE_AUDIT = "UPDATE etl_watermark_audit a SET new = m.new, moved_at = now() \
                         FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) AS m (tenant_id, old, new) \
                         JOIN tenants t ON t.id = m.tenant_id \
                         WHERE a.id = (SELECT max(l.id) FROM etl_watermark_audit l WHERE l.tenant_id = m.tenant_id) \
                           AND a.moved_at > now() - greatest(interval '5 minutes', t.sync_interval * 3) \
                           AND a.new = m.old AND a.run_id IS NULL AND a.actor = $4 AND a.reason = $5 \
                         RETURNING a.tenant_id";
    // The claim has set when the tenant is due next, and that stays: the length of a run does not slow the rhythm, and tenants
    // that were planned together stay together. After a run that took longer there is a whole interval of pause.
    RECORD_SUCCESS = "UPDATE etl_watermark w SET checked_at = now(), consecutive_failures = 0, plan_error = NULL, \
                             next_due_at = CASE WHEN w.next_due_at > now() THEN least(w.next_due_at, now() + t.sync_interval) \
                                                ELSE now() + t.sync_interval END \
                      FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id = ANY($1)";
    RECORD_DIGESTS_COMPARED = "UPDATE etl_watermark w SET digests_compared_at = now(), digests_version = n.version \
                               FROM unnest($1::integer[], $2::bigint[]) AS n (tenant_id, version) \
                               WHERE w.tenant_id = n.tenant_id";
    RECORD_ABSENT = "UPDATE etl_watermark SET absent_columns = $2 WHERE tenant_id = $1";
    // as of the run's plan
    RECORD_RUN_COMPARED = "UPDATE etl_watermark w SET digests_compared_at = r.started_at, digests_version = r.mapping_version \
                           FROM etl_control r \
                           WHERE r.id = ANY($1) AND r.compares_digests AND w.tenant_id = r.tenant_id";
    // doubles with every failure, up to an hour
    RECORD_FAILURE = "UPDATE etl_watermark w SET checked_at = now(), consecutive_failures = w.consecutive_failures + 1, \
                             plan_error = NULL, \
                             next_due_at = now() + greatest(t.sync_interval, \
                                 least(interval '1 hour', t.sync_interval * power(2, least(w.consecutive_failures, 10)))) \
                      FROM tenants t WHERE t.id = w.tenant_id AND w.tenant_id = ANY($1)";
    // locked rows are skipped: the next plan records its own outcome
    RECORD_PLAN_ERROR = "UPDATE etl_watermark SET plan_error = $2 \
                         WHERE tenant_id IN (SELECT tenant_id FROM etl_watermark WHERE tenant_id = ANY($1) \
                                             ORDER BY tenant_id FOR NO KEY UPDATE SKIP LOCKED)";
    CLAIM_DUE = include_str!("watermark/claim_due.sql");
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Watermark {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    /// Everything that the source wrote before this instant is in the target.
    pub watermark: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    pub run_id: Option<RunId>,
    pub advanced_at: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    pub consecutive_failures: i32,
    pub next_due_at: DateTime<Utc>,
}

/// Who moves a watermark.
#[derive(Debug, Clone, Copy)]
pub enum Mover<'a> {
    /// The run of each move, in their order.
    Runs(&'a [RunId]),
    /// An actor other than a run, with the reason.
    Actor { actor: &'a str, reason: &'a str },
}

/// One move of a watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Move {
    pub id: i64,
    /// The first of the moves that this one stands for: those of an idle tenant are one.
    #[serde(skip)]
    pub began_at: DateTime<Utc>,
    pub moved_at: DateTime<Utc>,
    pub old: Option<DateTime<Utc>>,
    pub new: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Stored<Option<RunId>>")]
    pub run_id: Option<RunId>,
    pub actor: Option<String>,
    pub reason: Option<String>,
}

/// The result of setting a watermark by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// The watermark was moved from `old`.
    From { old: Option<DateTime<Utc>> },
    /// This run is open and started from the current watermark; nothing was changed.
    Open(RunId),
}

/// # Errors
/// When there is no such tenant.
pub async fn load(db: impl PgExecutor<'_>, tenant: TenantId) -> DbResult<Watermark> {
    sqlx::query_as(LOAD)
        .bind(Stored(tenant))
        .fetch_one(db)
        .await
        .attempt("load the watermark")
}

/// Every tenant's watermark, or only those that are further behind the ledger's clock than `behind` or were never set.
pub async fn list(db: impl PgExecutor<'_>, behind: Option<Duration>) -> DbResult<Vec<Watermark>> {
    sqlx::query_as(LIST)
        .bind(behind.map(secs))
        .fetch_all(db)
        .await
        .attempt("list the watermarks")
}

/// A move of a watermark forward, or none: `new` may be `old`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub tenant_id: TenantId,
    pub old: Option<DateTime<Utc>>,
    pub new: DateTime<Utc>,
    pub mapping_version: Option<i64>,
    pub coverage: Option<Coverage>,
}

impl Advance {
    fn is_move(&self) -> bool {
        self.old != Some(self.new)
    }
}

/// Locks the watermarks of the idle ones of these tenants: no incremental or full run of theirs is open or being
/// closed. `versions` are the versions of the mappings that they were planned with. A tenant that has moved to another
/// source since is left out.
pub async fn lock_idle(
    tx: &mut PgTransaction<'_>,
    tenants: &[TenantId],
    versions: &[i64],
) -> DbResult<Vec<TenantId>> {
    let locked: Vec<Stored<TenantId>> = sqlx::query_scalar(LOCK_IDLE)
        .bind(stored(tenants))
        .fetch_all(&mut **tx)
        .await
        .attempt("lock the watermarks of idle tenants")?;
    sqlx::query_scalar(LIST_NOT_MOVED)
        .bind(stored(tenants))
        .bind(versions)
        .bind(locked)
        .fetch_all(&mut **tx)
        .await
        .map(values)
        .attempt("list tenants that have not moved to another source")
}

/// Locks these watermarks until the transaction ends. A transaction that writes several takes them in this order.
pub async fn lock(tx: &mut PgTransaction<'_>, tenants: &[TenantId]) -> DbResult<()> {
    sqlx::query(LOCK_MANY)
        .bind(stored(tenants))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("lock the watermarks")
}

/// Moves watermarks forward, at most one a tenant, each with its audit row, and records what is covered. Returns the tenants
/// whose watermark was at `old`; the others stay as they are.
pub async fn advance(
    tx: &mut PgTransaction<'_>,
    moves: &[Advance],
    mover: Mover<'_>,
) -> DbResult<Vec<TenantId>> {
    fn column<T>(moves: &[Advance], of: impl Fn(&Advance) -> T) -> Vec<T> {
        moves.iter().map(of).collect()
    }
    let (runs, actor, reason) = match mover {
        Mover::Runs(runs) => (runs, None, None),
        Mover::Actor { actor, reason } => ([].as_slice(), Some(actor), Some(reason)),
    };
    if moves.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<TenantId> = sqlx::query_scalar(ADVANCE)
        .bind(column(moves, |step| Stored(step.tenant_id)))
        .bind(column(moves, |step| step.old))
        .bind(column(moves, |step| step.new))
        .bind(stored(runs))
        .bind(column(moves, |step| step.mapping_version))
        .bind(column(moves, |step| Some(step.coverage?.epoch)))
        .bind(column(moves, |step| Some(step.coverage?.xmin)))
        .bind(column(moves, |step| Some(step.coverage?.clock)))
        .bind(column(moves, |step| step.coverage?.since))
        .fetch_all(&mut **tx)
        .await
        .map(values)
        .attempt("advance the watermarks")?;
    let moved = moves
        .iter()
        .filter(|step| step.is_move())
        .map(|step| step.tenant_id);
    let mut unaudited: HashSet<TenantId> = moved.filter(|tenant| found.contains(tenant)).collect();
    let of = |tenants: &HashSet<TenantId>| columns(moves.iter().filter(|m| tenants.contains(&m.tenant_id)));
    if actor.is_some() && !unaudited.is_empty() {
        let (tenants, old, new) = of(&unaudited);
        let extended: Vec<TenantId> = sqlx::query_scalar(EXTEND_IDLE_AUDIT)
            .bind(stored(tenants))
            .bind(old)
            .bind(new)
            .bind(actor)
            .bind(reason)
            .fetch_all(&mut **tx)
            .await
            .map(values)
            .attempt("extend the watermarks' audit")?;
        for tenant in extended {
            unaudited.remove(&tenant);
        }
    }
    if !unaudited.is_empty() {
        let (tenants, old, new) = of(&unaudited);
        let runs_of_moves: Vec<RunId> = runs
            .iter()
            .zip(moves)
            .filter(|(_, step)| unaudited.contains(&step.tenant_id))
            .map(|(run, _)| *run)
            .collect();
        sqlx::query(AUDIT)
            .bind(stored(tenants))
            .bind(old)
            .bind(new)
            .bind(stored(runs_of_moves))
            .bind(actor)
            .bind(reason)
            .execute(&mut **tx)
            .await
            .attempt("audit the watermarks")?;
    }
    Ok(found)
}

type Columns = (Vec<TenantId>, Vec<Option<DateTime<Utc>>>, Vec<DateTime<Utc>>);

fn columns<'a>(moves: impl Iterator<Item = &'a Advance>) -> Columns {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for step in moves {
        columns.0.push(step.tenant_id);
        columns.1.push(step.old);
        columns.2.push(step.new);
    }
    columns
}

/// Sets the watermark for an operator, also backwards, with its audit row. The caller makes sure that `to` is not later
/// than the source's clock. A plan that started before does not advance it: it started from another watermark.
///
/// # Errors
/// When there is no such tenant.
pub async fn set(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    to: DateTime<Utc>,
    actor: &Actor,
    reason: &str,
) -> DbResult<Set> {
    let old: Option<DateTime<Utc>> = sqlx::query_scalar(LOCK)
        .bind(Stored(tenant))
        .fetch_one(&mut **tx)
        .await
        .attempt("lock the watermark")?;
    let entry = Entry::new(Action::WatermarkSet)
        .tenant(tenant)
        .reason(Some(reason))
        .before(json!({"watermark": old}));
    if let Some(open) = run::find_open(&mut **tx, tenant).await? {
        let refused = entry.result(ActionResult::Refused);
        audit::record(&mut **tx, actor, &refused).await?;
        return Ok(Set::Open(open));
    }
    sqlx::query(SET)
        .bind(Stored(tenant))
        .bind(to)
        .execute(&mut **tx)
        .await
        .attempt("set the watermark")?;
    sqlx::query(AUDIT)
        .bind(stored([tenant].as_slice()))
        .bind([old].as_slice())
        .bind([to].as_slice())
        .bind(stored::<RunId>([]))
        .bind(actor.as_str())
        .bind(reason)
        .execute(&mut **tx)
        .await
        .attempt("audit the watermark")?;
    let done = entry.after(json!({"watermark": to}));
    audit::record(&mut **tx, actor, &done).await?;
    Ok(Set::From { old })
}

/// Clears the watermark, with its audit row: no part of the source is known to be in the target.
///
/// # Errors
/// When there is no such tenant.
pub async fn clear(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    actor: &Actor,
    reason: &str,
) -> DbResult<()> {
    let old: Option<DateTime<Utc>> = sqlx::query_scalar(LOCK)
        .bind(Stored(tenant))
        .fetch_one(&mut **tx)
        .await
        .attempt("lock the watermark")?;
    sqlx::query(CLEAR)
        .bind(Stored(tenant))
        .execute(&mut **tx)
        .await
        .attempt("clear the watermark")?;
    if old.is_none() {
        return Ok(());
    }
    sqlx::query(AUDIT)
        .bind(stored([tenant].as_slice()))
        .bind([old].as_slice())
        .bind([None::<DateTime<Utc>>].as_slice())
        .bind(stored::<RunId>([]))
        .bind(actor.as_str())
        .bind(reason)
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("audit the watermark")
}

/// The newest moves of a tenant's watermark before the move `before`.
pub async fn list_moves(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    before: Option<i64>,
    limit: i64,
) -> DbResult<Vec<Move>> {
    sqlx::query_as(LIST_MOVES)
        .bind(Stored(tenant))
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the watermark's moves")
}

/// Records a successful check of these tenants: each is due again one interval after its claim, or after now if the run was
/// not scheduled or took longer.
pub async fn record_success(db: impl PgExecutor<'_>, tenants: &[TenantId]) -> DbResult<()> {
    sqlx::query(RECORD_SUCCESS)
        .bind(stored(tenants))
        .execute(db)
        .await
        .map(drop)
        .attempt("record the tenants' success")
}

/// Records that no digest of these tenants differed, each under this version of its mapping.
pub async fn record_digests_compared(
    db: impl PgExecutor<'_>,
    tenants: &[TenantId],
    versions: &[i64],
) -> DbResult<()> {
    sqlx::query(RECORD_DIGESTS_COMPARED)
        .bind(stored(tenants))
        .bind(versions)
        .execute(db)
        .await
        .map(drop)
        .attempt("record that digests were compared")
}

/// Records which tables and columns the tenant's source lacks.
pub async fn record_absent_columns(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    absent: &[String],
) -> DbResult<()> {
    sqlx::query(RECORD_ABSENT)
        .bind(Stored(tenant))
        .bind(absent)
        .execute(db)
        .await
        .map(drop)
        .attempt("record what the source lacks")
}

/// Records that these runs have taken every row with a different digest, those whose plans compared digests.
pub async fn record_runs_compared(db: impl PgExecutor<'_>, runs: &[RunId]) -> DbResult<()> {
    sqlx::query(RECORD_RUN_COMPARED)
        .bind(stored(runs))
        .execute(db)
        .await
        .map(drop)
        .attempt("record that the runs have compared digests")
}

/// Records a failure of each: due again after an interval that grows with every failure in a row.
pub async fn record_failures(db: impl PgExecutor<'_>, tenants: &[TenantId]) -> DbResult<()> {
    sqlx::query(RECORD_FAILURE)
        .bind(stored(tenants))
        .execute(db)
        .await
        .map(drop)
        .attempt("record the tenants' failures")
}

/// Records why these tenants were not planned, until their next success. It is no failure of theirs.
pub async fn record_plan_error(db: impl PgExecutor<'_>, tenants: &[TenantId], error: &str) -> DbResult<()> {
    sqlx::query(RECORD_PLAN_ERROR)
        .bind(stored(tenants))
        .bind(error)
        .execute(db)
        .await
        .map(drop)
        .attempt("record that tenants were not planned")
}

/// Claims tenants whose next sync is due and that have no open run. Each is due again one interval later: no other
/// producer claims it until then, and a crash delays it by one interval at most. Leaves out tenants of these sources: of
/// `except` those whose last run went well, of `except_failing` the others.
pub async fn claim_due(
    db: impl PgExecutor<'_>,
    limit: i64,
    except: &[String],
    except_failing: &[String],
) -> DbResult<Vec<TenantId>> {
    sqlx::query_scalar(CLAIM_DUE)
        .bind(limit)
        .bind(except)
        .bind(except_failing)
        .fetch_all(db)
        .await
        .map(values)
        .attempt("claim due tenants")
}
