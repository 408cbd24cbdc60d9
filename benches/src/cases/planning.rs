//! Many tenants: planning idle ones, and dispatching a long backlog.

use std::time::Instant;

use anyhow::Result;
use sqlx::{AssertSqlSafe, Connection};
use tidemark_benches::figures::{Case, Goal};
use tidemark_ledger::chunk::{DispatchLimits, dispatch as mark_queued};

use crate::site::{Bench, Site, execute, stop};

/// The time until all tenants of one source have been checked. They are in step and become due at once.
pub async fn tenants(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        "planning",
        &format!("Planning idle tenants of one source, {size} conversations"),
        "Each tenant has an inbox of its own; tenants beyond the source's inboxes have an inbox without conversations. All are \
         in step and due at once. The first look compares every target, the others find agreements.",
        "s",
    );
    let source = bench.source(size).await?;
    for tenants in [10, 1000, 10_000] {
        let site = bench.empty(&source).await?;
        create_tenants_in_step(&site, tenants).await?;
        let producer = site.with("TIDEMARK_PRODUCER_TICK", "10ms").start(&["producer"])?;
        site.until("SELECT count(*) = 1 FROM etl_process").await?;
        case.add(
            &format!("{tenants} tenants, first look"),
            time_of_one_check(&site).await?,
        );
        for _ in 0..bench.rounds {
            case.add(
                &format!("{tenants} tenants, idle"),
                time_of_one_check(&site).await?,
            );
        }
        stop(producer).await?;
    }
    case.goal("1000 tenants, idle", Goal::AtMost(2.0));
    Ok(case)
}

/// Creates tenants in step: the rows of tenant 1 are distributed by their inbox.
async fn create_tenants_in_step(site: &Site, tenants: i32) -> Result<()> {
    let mut source = site.on_source().await?;
    let inboxes: Vec<i32> = sqlx::query_scalar("SELECT id FROM inboxes ORDER BY id")
        .fetch_all(&mut source)
        .await?;
    let mut target = site.on_target().await?;
    sqlx::query("INSERT INTO tenants (id, name, slug, sync_interval) SELECT n, 'Tenant ' || n, 'tenant-' || n, '24 h' \
                 FROM generate_series(1, $1) n")
        .bind(tenants)
        .execute(&mut target)
        .await?;
    sqlx::query("INSERT INTO inbox_tenant_mapping (inbox_id, tenant_id) SELECT unnest($1::integer[]), 1")
        .bind(&inboxes)
        .execute(&mut target)
        .await?;
    site.run(&["sync", "--local", "--tenant", "1", "--json"]).await?;
    sqlx::query(
        "INSERT INTO inbox_tenant_mapping (inbox_id, tenant_id, backfilled_at) SELECT 1000000 + n, n, now() \
         FROM generate_series(1, $1) n WHERE n > $2",
    )
    .bind(tenants)
    .bind(i32::try_from(inboxes.len())?)
    .execute(&mut target)
    .await?;
    sqlx::raw_sql(
        "CREATE TEMPORARY TABLE given AS SELECT inbox_id, (row_number() OVER (ORDER BY inbox_id) - 1) % \
             (SELECT count(*) FROM tenants) + 1 AS tenant_id FROM inbox_tenant_mapping WHERE tenant_id = 1; \
         UPDATE conversations_analytics a SET tenant_id = g.tenant_id FROM given g \
             WHERE g.inbox_id = a.inbox_id AND g.tenant_id <> 1; \
         UPDATE inbox_tenant_mapping m SET tenant_id = g.tenant_id FROM given g \
             WHERE g.inbox_id = m.inbox_id AND g.tenant_id <> 1; \
         UPDATE etl_watermark w SET watermark = o.watermark, advanced_at = now() FROM etl_watermark o WHERE o.tenant_id = 1",
    )
    .execute(&mut target)
    .await?;
    execute(&mut target, &["VACUUM (ANALYZE)"]).await?;
    Ok(())
}

async fn time_of_one_check(site: &Site) -> Result<f64> {
    let mut target = site.on_target().await?;
    sqlx::raw_sql("UPDATE etl_watermark SET checked_at = NULL, next_due_at = now()")
        .execute(&mut target)
        .await?;
    let begun = Instant::now();
    site.until("SELECT bool_and(checked_at IS NOT NULL) FROM etl_watermark")
        .await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// The dispatcher's statement on a backlog of 1,000 tenants, rolled back each time.
pub async fn dispatch(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        "dispatch",
        "Dispatch with 100,000 chunks pending",
        "1,000 tenants with 100 chunks each; one look of the dispatcher, with room for so many.",
        "ms",
    );
    let source = bench.source(size).await?;
    let site = bench.empty(&source).await?;
    let mut target = site.on_target().await?;
    sqlx::raw_sql(AssertSqlSafe(
        "INSERT INTO tenants (id, name, slug) SELECT n, 'Tenant ' || n, 'tenant-' || n FROM generate_series(1, 1000) n; \
         INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, chunks_total) \
             SELECT id, 'full', 'running', 'bench', now(), 100 FROM tenants; \
         INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count) \
             SELECT r.id, n, r.tenant_id, 'bulk', '{\"kind\": \"key_range\", \"lo\": 1, \"hi\": 2}', 2 \
             FROM etl_control r, generate_series(1, 100) n; \
         ANALYZE",
    ))
    .execute(&mut target)
    .await?;
    for room in [16, 256] {
        let limits = DispatchLimits {
            fleet: room,
            sources: vec![("main".to_owned(), room)],
        };
        for _ in 0..bench.rounds * 3 {
            let mut tx = target.begin().await?;
            let begun = Instant::now();
            let marked = mark_queued(&mut tx, &limits, None).await?.unwrap_or_default();
            case.add(
                &format!("{} of them marked", marked.len()),
                begun.elapsed().as_secs_f64() * 1000.0,
            );
            tx.rollback().await?;
        }
    }
    Ok(case)
}
