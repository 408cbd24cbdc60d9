//! Pages of a large installation: none reads a big table from end to end, and none is large.

use anyhow::{Result, ensure};
use sqlx::{Executor, Row};

use super::client::{Client, serve};
use crate::stage::{Stage, on_stage, poll};

/// Bytes of a page.
const MOST: usize = 200_000;

/// 20,000 runs of 20 tenants with two chunks each, and one of 5,000 chunks under way.
const HISTORY: &str = include_str!("size/history.sql");

/// 3,000 tenants beside those of the history, with watermarks and an inbox each.
const TENANTS: &str = "
    INSERT INTO tenants (id, name, slug, source) SELECT n, 'Customer ' || n, 'customer-' || n, 'main' FROM generate_series(101, 3100) n;
    INSERT INTO etl_watermark (tenant_id, watermark)
    SELECT n, CASE WHEN n % 7 > 0 THEN now() - make_interval(secs => n) END FROM generate_series(101, 3100) n
    ON CONFLICT (tenant_id) DO UPDATE SET watermark = excluded.watermark;
    INSERT INTO inbox_tenant_mapping (source, inbox_id, tenant_id) SELECT 'main', n, n FROM generate_series(101, 3100) n;
    INSERT INTO etl_watermark_audit (tenant_id, old, new, moved_at, run_id)
    SELECT 101 + n % 3000, now() - make_interval(mins => n), now() - make_interval(mins => n - 1), now() - make_interval(mins => n - 1), 1
    FROM generate_series(1, 30000) n;
    INSERT INTO etl_rejected_row (tenant_id, conversation_id, side, sqlstate, error, run_id, chunk_seq)
    SELECT 101 + n % 3000, n, 'target', '23514', 'a constraint', 1, 1 FROM generate_series(1, 5000) n;
    ANALYZE";

const PAGES: [&str; 27] = [
    "/",
    "/tenants",
    "/tenants?sort=behind",
    "/tenants?from=2000",
    "/tenants?q=customer",
    "/tenants/7",
    "/tenants/7?tab=inboxes",
    "/tenants/7?tab=rejects",
    "/tenants/7?tab=watermark",
    "/tenants/7?tab=history",
    "/tenants/7?tab=settings",
    "/runs",
    "/runs?status=failed",
    "/runs?status=success&before=400",
    "/runs?tenant=7",
    "/runs?type=full",
    "/runs/5",
    "/runs/20001",
    "/rejects",
    "/rejects?tenant=107",
    "/sources",
    "/fleet",
    "/verify",
    "/audit",
    "/audit?tenant=7",
    "/api/v1/tenants",
    "/api/v1/runs",
];

/// Sequential scans so far of the two tables that grow without end.
async fn scans(stage: &Stage) -> Result<i64> {
    let row = sqlx::query(
        "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname IN ('etl_chunk', 'etl_control')",
    )
    .fetch_one(&stage.target)
    .await?;
    Ok(row.try_get(0)?)
}

/// Waits until the server has counted what the ended sessions of the console did.
async fn until_counted(stage: &Stage) -> Result<()> {
    stage
        .until(&format!(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = '{}'",
            stage.login()
        ))
        .await
}

#[tokio::test]
async fn pages_of_a_large_installation_are_small_and_read_no_table_from_end_to_end() {
    on_stage(|stage| async move {
        for tenant in 1..=20 {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        stage.target.execute(HISTORY).await?;
        stage.target.execute(TENANTS).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        // the console's own sessions have begun, and the history has been counted
        ensure!(client.get("/login").await?.status < 400, "it serves");
        let before = poll("what the history has cost", async || {
            let first = scans(&stage).await?;
            tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
            Ok((scans(&stage).await? == first).then_some(first))
        })
        .await?;
        let mut faults = Vec::new();
        for page in PAGES {
            let answer = client.get(page).await?;
            if answer.status != 200 || answer.body.len() > MOST {
                faults.push(format!(
                    "{page}: {} with {} bytes",
                    answer.status,
                    answer.body.len()
                ));
            }
        }
        served.process.stop().await?;
        until_counted(&stage).await?;
        let more = scans(&stage).await? - before;
        ensure!(
            faults.is_empty() && more == 0,
            "{more} scans from end to end; {faults:#?}"
        );
        Ok(())
    })
    .await;
}
