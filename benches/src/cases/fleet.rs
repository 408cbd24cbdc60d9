//! The cost of a chunk without data: dispatch, publish, claim, event, acknowledgement, finalize.

use std::time::Instant;

use anyhow::Result;
use sqlx::AssertSqlSafe;
use tidemark_benches::figures::{Case, Goal};

use crate::site::{Bench, Site, stop};

const TENANTS: u32 = 8;
const CHUNKS: u32 = 2000;

/// Sends chunks through RabbitMQ whose key ranges are far beyond the highest id.
pub async fn chunks(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        "fleet",
        "Empty chunks through RabbitMQ",
        "2,000 key ranges without a conversation, of eight tenants: dispatched, published with confirms, claimed, read at the source, completed \
         in the target, told and acknowledged, until the finalizer has closed their run. Chunks a second.",
        "chunks/s",
    );
    let source = bench.source(size).await?;
    for _ in 0..bench.rounds {
        for (workers, concurrency) in [(1, 1), (1, 2), (1, 4), (1, 8), (2, 4)] {
            let site = bench.fresh(&source).await?;
            let took = empty_chunks(&site, workers, concurrency).await?;
            let name = format!("{workers} worker(s), {concurrency} chunks at a time");
            case.add(&name, f64::from(CHUNKS) / took);
        }
    }
    case.goal("1 worker(s), 8 chunks at a time", Goal::AtLeast(300.0));
    Ok(case)
}

async fn empty_chunks(site: &Site, workers: u16, concurrency: u16) -> Result<f64> {
    let mut target = site.on_target().await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "INSERT INTO tenants (id, name, slug, sync_interval) \
             SELECT n, 'Tenant ' || n, 'tenant-' || n, '24 h' FROM generate_series(2, {TENANTS}) n; \
         UPDATE tenants SET max_in_flight = 1000"
    )))
    .execute(&mut target)
    .await?;
    let site = site
        .with("TIDEMARK_SOURCE_MAX_IN_FLIGHT", "1000")
        .with("TIDEMARK_PRODUCER_MAX_IN_FLIGHT", "1000");
    let mut processes = vec![site.start(&["producer"])?, site.start(&["finalizer"])?];
    let concurrency = concurrency.to_string();
    for _ in 0..workers {
        processes.push(site.start(&["worker", "--concurrency", &concurrency])?);
    }
    let count = processes.len();
    site.until(&format!("SELECT count(*) = {count} FROM etl_process"))
        .await?;
    let begun = Instant::now();
    sqlx::raw_sql(AssertSqlSafe(format!(
        "WITH run AS (INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, chunks_total) \
         SELECT id, 'resync', 'running', 'bench', now(), {CHUNKS} / {TENANTS} FROM tenants RETURNING id, tenant_id) \
         INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count) \
         SELECT run.id, n, run.tenant_id, 'bulk', jsonb_build_object('kind', 'key_range', 'lo', 1000000000 + n * 10, \
             'hi', 1000000009 + n * 10), 0 \
         FROM run, generate_series(1, {CHUNKS} / {TENANTS}) n"
    )))
    .execute(&mut target)
    .await?;
    site.until("SELECT bool_and(status = 'success') FROM etl_control")
        .await?;
    let took = begun.elapsed().as_secs_f64();
    for process in processes {
        stop(process).await?;
    }
    Ok(took)
}
