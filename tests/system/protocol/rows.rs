//! Rows of the ledger for the statements: every kind of chunk, run and tenant.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::FromRow;
use sqlx::postgres::PgTransaction;
use tidemark_ledger::stored::Stored;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::run::RunStatus;

use super::transition::{Chunk, TenantState};

/// The attempt of every row.
pub const ATTEMPT: u8 = 2;

pub const RUN_STATUSES: [RunStatus; 7] = [
    RunStatus::Requested,
    RunStatus::Planning,
    RunStatus::Running,
    RunStatus::Success,
    RunStatus::Partial,
    RunStatus::Failed,
    RunStatus::Cancelled,
];

pub const CHUNK_STATUSES: [ChunkStatus; 6] = [
    ChunkStatus::Pending,
    ChunkStatus::Queued,
    ChunkStatus::Running,
    ChunkStatus::Done,
    ChunkStatus::Dead,
    ChunkStatus::Cancelled,
];

const TENANT_STATES: [TenantState; 3] = [TenantState::Active, TenantState::Paused, TenantState::Deleted];

/// True when the time has passed for which the row waits. A queued row waits 15 s for its publication. After that it
/// waits for `requeue_after`, doubled with every further publication.
const ELAPSED: &str = "CASE c.status WHEN 'pending' THEN c.next_attempt_at <= now() WHEN 'running' THEN c.lease_until < now() \
     WHEN 'queued' THEN c.queued_at < now() - make_interval(secs => \
         CASE WHEN c.published_at IS NULL THEN 15 ELSE 60 * 2 ^ (c.publish_count - 1) END) \
     ELSE false END";

/// A chunk of the ledger, with the other rows that a statement reads.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub tenant_id: TenantId,
    pub chunk: Chunk,
    pub run: RunStatus,
    pub tenant: TenantState,
}

#[derive(FromRow)]
struct Columns {
    #[sqlx(try_from = "Stored<RunId>")]
    run_id: RunId,
    seq: i32,
    #[sqlx(try_from = "Stored<TenantId>")]
    tenant_id: TenantId,
    #[sqlx(try_from = "Stored<ChunkStatus>")]
    status: ChunkStatus,
    attempt: i32,
    failure_count: i32,
    lost_count: i32,
    elapsed: bool,
    #[sqlx(try_from = "Stored<RunStatus>")]
    run_status: RunStatus,
    paused: bool,
    deleted: bool,
}

pub type Rows = BTreeMap<ChunkId, Row>;

pub async fn read(tx: &mut PgTransaction<'_>) -> Result<Rows> {
    let text = format!(
        "SELECT c.run_id, c.seq, c.tenant_id, c.status::text, c.attempt, c.failure_count, c.lost_count, {ELAPSED} AS elapsed, \
                r.status::text AS run_status, t.paused_at IS NOT NULL AS paused, t.deleted_at IS NOT NULL AS deleted \
         FROM etl_chunk c JOIN etl_control r ON r.id = c.run_id JOIN tenants t ON t.id = c.tenant_id"
    );
    let columns: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(text))
        .fetch_all(&mut **tx)
        .await?;
    columns
        .into_iter()
        .map(|columns| {
            let chunk = Chunk {
                status: columns.status,
                attempt: columns.attempt.try_into()?,
                failures: columns.failure_count.try_into()?,
                lost: columns.lost_count.try_into()?,
                elapsed: columns.elapsed,
            };
            let tenant = match (columns.paused, columns.deleted) {
                (_, true) => TenantState::Deleted,
                (true, false) => TenantState::Paused,
                (false, false) => TenantState::Active,
            };
            let row = Row {
                tenant_id: columns.tenant_id,
                chunk,
                run: columns.run_status,
                tenant,
            };
            Ok((
                ChunkId {
                    run_id: columns.run_id,
                    seq: columns.seq,
                },
                row,
            ))
        })
        .collect()
}

/// A tenant with a run.
pub async fn insert_run(
    tx: &mut PgTransaction<'_>,
    id: i32,
    tenant: TenantState,
    status: RunStatus,
) -> Result<RunId> {
    sqlx::query(
        "INSERT INTO tenants (id, name, slug, max_in_flight, paused_at, deleted_at) \
         VALUES ($1, 'x', 'x' || $1, 1000, CASE WHEN $2 THEN now() END, CASE WHEN $3 THEN now() END)",
    )
    .bind(id)
    .bind(tenant == TenantState::Paused)
    .bind(tenant == TenantState::Deleted)
    .execute(&mut **tx)
    .await?;
    let Stored(run) = sqlx::query_scalar(
        "INSERT INTO etl_control (tenant_id, type, status, triggered_by, finished_at) \
         VALUES ($1, 'incremental', $2::text::etl_run_status, 'test', CASE WHEN $3 THEN now() END) RETURNING id",
    )
    .bind(id)
    .bind(Stored(status))
    .bind(status.is_terminal())
    .fetch_one(&mut **tx)
    .await?;
    Ok(run)
}

/// Inserts a chunk of this kind into every run. `age` is the number of seconds since the row's time began or ended;
/// `published` is the number of its publications.
pub async fn insert_chunk(
    tx: &mut PgTransaction<'_>,
    seq: i32,
    status: ChunkStatus,
    age: i32,
    published: i32,
    lost: i32,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, status, attempt, lost_count, next_attempt_at, \
                                queued_at, published_at, publish_count, lease_until, finished_at) \
         SELECT id, $1, tenant_id, 'live', '{\"kind\": \"keys\", \"ids\": [1]}', 1, $2::text::etl_chunk_status, $3, $4, moment, \
                moment, CASE WHEN $5 > 0 THEN moment END, $5, CASE $2 WHEN 'running' THEN moment END, \
                CASE WHEN $2 IN ('done', 'dead', 'cancelled') THEN now() END \
         FROM etl_control, (SELECT now() - make_interval(secs => $6)) AS clock (moment)",
    )
    .bind(seq)
    .bind(Stored(status))
    .bind(i32::from(ATTEMPT))
    .bind(lost)
    .bind(published)
    .bind(f64::from(age))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Inserts chunks of every kind, in runs of every status, of tenants in every state.
pub async fn insert_everything(tx: &mut PgTransaction<'_>) -> Result<()> {
    let mut tenant = 0;
    for state in TENANT_STATES {
        for status in RUN_STATUSES {
            tenant += 1;
            insert_run(tx, tenant, state, status).await?;
        }
    }
    let mut kinds = Vec::new();
    for status in CHUNK_STATUSES {
        match status {
            ChunkStatus::Pending => kinds.extend([(status, -1, 0, 0), (status, 0, 0, 0), (status, 1, 0, 0)]),
            ChunkStatus::Queued => {
                for (patience, published) in [(15, 0), (60, 1), (120, 2), (240, 3)] {
                    kinds.extend([
                        (status, patience - 1, published, 0),
                        (status, patience + 1, published, 0),
                    ]);
                }
            }
            ChunkStatus::Running => {
                for lost in [0, 3, 4] {
                    kinds.extend([(status, -1, 1, lost), (status, 1, 1, lost)]);
                }
            }
            ChunkStatus::Done | ChunkStatus::Dead | ChunkStatus::Cancelled => kinds.push((status, 1, 1, 0)),
        }
    }
    for (seq, (status, age, published, lost)) in (1..).zip(kinds) {
        insert_chunk(tx, seq, status, age, published, lost).await?;
    }
    Ok(())
}
