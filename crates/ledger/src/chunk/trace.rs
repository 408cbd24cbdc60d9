//! The traces of chunks.

use sqlx::PgExecutor;
use sqlx::postgres::PgTransaction;
use tidemark_shared::ids::{ChunkId, RunId};
use tidemark_shared::job::TraceContext;

use crate::stored::{Stored, stored};
use crate::{Attempt, DbResult, statements};

statements! {
    BEGIN_TRACES = "UPDATE etl_chunk c SET traceparent = t.traceparent, tracestate = t.tracestate \
                    FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[]) AS t (run_id, seq, traceparent, tracestate) \
                    WHERE c.run_id = t.run_id AND c.seq = t.seq AND c.status = 'queued'";
    LIST_NOTABLE_TRACES = "SELECT traceparent, tracestate FROM etl_chunk WHERE run_id = $1 \
                           ORDER BY status = 'dead' DESC, failure_count + lost_count DESC, \
                                    finished_at - started_at DESC NULLS LAST, seq LIMIT $2";
}

/// Records the traces that begin with the dispatch of these chunks, in the transaction that marks them queued.
pub async fn begin_traces(tx: &mut PgTransaction<'_>, traces: &[(ChunkId, TraceContext)]) -> DbResult<()> {
    if traces.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&TraceContext) -> &Option<String>| -> Vec<Option<String>> {
        traces.iter().map(|(_, context)| of(context).clone()).collect()
    };
    let (runs, seqs): (Vec<_>, Vec<_>) = traces.iter().map(|(id, _)| (id.run_id, id.seq)).unzip();
    sqlx::query(BEGIN_TRACES)
        .bind(stored(runs))
        .bind(seqs)
        .bind(column(|context| &context.traceparent))
        .bind(column(|context| &context.tracestate))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("record the traces of chunks")
}

/// Traces of a run's chunks: first the failed chunks, then the slowest.
pub async fn list_notable_traces(
    db: impl PgExecutor<'_>,
    run: RunId,
    limit: i64,
) -> DbResult<Vec<TraceContext>> {
    let traces: Vec<(Option<String>, Option<String>)> = sqlx::query_as(LIST_NOTABLE_TRACES)
        .bind(Stored(run))
        .bind(limit)
        .fetch_all(db)
        .await
        .attempt("list the traces of chunks")?;
    Ok(traces
        .into_iter()
        .map(|(traceparent, tracestate)| TraceContext {
            traceparent,
            tracestate,
        })
        .collect())
}
