//! The chunks that a plan writes.

use sqlx::postgres::PgTransaction;
use sqlx::types::Json;
use tidemark_shared::chunk::PlannedChunk;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::job::{Lane, TraceContext};

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    INSERT = "INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count, traceparent, tracestate) \
              SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[]::etl_lane[], $5::jsonb[], $6::bigint[], \
                                   $7::text[], $8::text[])";
}

/// The chunks of a run.
#[derive(Debug, Clone, Copy)]
pub struct NewChunks<'a> {
    pub run_id: RunId,
    pub tenant_id: TenantId,
    pub lane: Lane,
    pub chunks: &'a [PlannedChunk],
    /// The trace that they continue.
    pub context: &'a TraceContext,
}

/// Inserts the chunks of runs. Those of a run are numbered from 1 in their order.
pub async fn insert_all(tx: &mut PgTransaction<'_>, runs: &[NewChunks<'_>]) -> DbResult<()> {
    fn column<'a, T>(
        runs: &'a [NewChunks<'a>],
        of: impl Fn(&'a NewChunks<'a>, i32, &'a PlannedChunk) -> T,
    ) -> Vec<T> {
        let numbered = runs
            .iter()
            .flat_map(|run| (1..).zip(run.chunks).map(move |(seq, chunk)| (run, seq, chunk)));
        numbered.map(|(run, seq, chunk)| of(run, seq, chunk)).collect()
    }
    sqlx::query(INSERT)
        .bind(column(runs, |run, _, _| Stored(run.run_id)))
        .bind(column(runs, |_, seq, _| seq))
        .bind(column(runs, |run, _, _| Stored(run.tenant_id)))
        .bind(column(runs, |run, _, _| Stored(run.lane)))
        .bind(column(runs, |_, _, chunk| Json(&chunk.spec)))
        .bind(column(runs, |_, _, chunk| chunk.key_count))
        .bind(column(runs, |run, _, _| run.context.traceparent.as_deref()))
        .bind(column(runs, |run, _, _| run.context.tracestate.as_deref()))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("insert the chunks")
}
