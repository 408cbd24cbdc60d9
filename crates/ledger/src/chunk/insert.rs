//! The chunks that a plan writes.

use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_shared::chunk::{ChunkSpec, PlannedChunk};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::job::{Lane, TraceContext};

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    INSERT = "INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, traceparent, tracestate) \
              SELECT $1, seq, $2, $3, spec, key_count, $4, $5 \
              FROM unnest($6::jsonb[], $7::bigint[]) WITH ORDINALITY AS new (spec, key_count, seq)";
}

/// Inserts a run's chunks, numbered from 1 in their order.
pub async fn insert_all(
    tx: &mut PgTransaction<'_>,
    run: RunId,
    tenant: TenantId,
    lane: Lane,
    chunks: &[PlannedChunk],
    context: &TraceContext,
) -> DbResult<()> {
    let specs: Vec<Json<&ChunkSpec>> = chunks.iter().map(|chunk| Json(&chunk.spec)).collect();
    let key_counts: Vec<i64> = chunks.iter().map(|chunk| chunk.key_count).collect();
    sqlx::query(INSERT)
        .bind(Stored(run))
        .bind(Stored(tenant))
        .bind(Stored(lane))
        .bind(&context.traceparent)
        .bind(&context.tracestate)
        .bind(specs)
        .bind(key_counts)
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("insert the chunks")
}
