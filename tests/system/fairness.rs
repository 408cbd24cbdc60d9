//! A backfill neither delays the changes of another tenant nor stands still.

use anyhow::{Result, ensure};
use sqlx::{Executor, PgPool};
use tidemark_ledger::chunk::{DispatchLimits, DispatchedChunk, dispatch};
use tidemark_shared::job::Lane;

use crate::stage::on_stage;

/// A running run with empty chunks, as planning would write it.
async fn run_of(db: &PgPool, id: i64, tenant: i32, kind: &str, lane: &str, chunks: i32) -> Result<()> {
    sqlx::query(
        "WITH run AS (INSERT INTO etl_control (id, tenant_id, type, status, triggered_by, chunks_total) \
                      OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3::etl_run_type, 'running', 'test', $5)) \
         INSERT INTO etl_chunk (run_id, seq, tenant_id, lane, spec, key_count) \
         SELECT $1, seq, $2, $4::etl_lane, '{\"kind\":\"keys\",\"ids\":[]}', 0 FROM generate_series(1, $5) seq",
    )
    .bind(id)
    .bind(tenant)
    .bind(kind)
    .bind(lane)
    .bind(chunks)
    .execute(db)
    .await?;
    Ok(())
}

async fn round(db: &PgPool, limits: &DispatchLimits) -> Result<Vec<DispatchedChunk>> {
    let mut tx = db.begin().await?;
    let chunks = dispatch(&mut tx, limits, None)
        .await?
        .expect("no other process dispatches");
    tx.commit().await?;
    Ok(chunks)
}

fn of(chunks: &[DispatchedChunk], tenant: i32, lane: Lane) -> usize {
    chunks
        .iter()
        .filter(|chunk| chunk.tenant_id.0 == tenant && chunk.lane == lane)
        .count()
}

#[tokio::test]
async fn bulk_chunks_leave_room_for_live_ones_in_every_limit_but_their_tenants() {
    on_stage(|stage| async move {
        for tenant in [1, 2, 3] {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        let db = &stage.target;
        db.execute("UPDATE tenants SET max_in_flight = 1000").await?;
        db.execute("UPDATE tenants SET source = 'second' WHERE id = 3")
            .await?;
        run_of(db, 1, 1, "full", "bulk", 500).await?;
        let limits = DispatchLimits {
            fleet: 40,
            sources: vec![("main".to_owned(), 32), ("second".to_owned(), 32)],
        };
        // 32 less an eighth, and 40 less an eighth over both sources
        ensure!(of(&round(db, &limits).await?, 1, Lane::Bulk) == 28);
        run_of(db, 2, 3, "full", "bulk", 500).await?;
        ensure!(of(&round(db, &limits).await?, 3, Lane::Bulk) == 7);
        ensure!(
            round(db, &limits).await?.is_empty(),
            "bulk went into what is kept for live"
        );

        // the bulk chunk that is due first takes no turn from the live chunks behind it
        run_of(db, 3, 2, "incremental", "live", 10).await?;
        let live = round(db, &limits).await?;
        ensure!(live.len() == 4 && of(&live, 2, Lane::Live) == 4, "{live:?}");
        // chunks that end make room, and the tenants take it in turns
        db.execute(
            "UPDATE etl_chunk SET status = 'done', finished_at = now() \
             WHERE run_id = 1 AND seq <= 8 AND status = 'queued'",
        )
        .await?;
        let next = round(db, &limits).await?;
        ensure!(
            of(&next, 1, Lane::Bulk) == 3 && of(&next, 2, Lane::Live) == 3 && of(&next, 3, Lane::Bulk) == 3,
            "{next:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_long_queue_is_shared_like_a_short_one() {
    on_stage(|stage| async move {
        for tenant in [1, 2, 3] {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        let db = &stage.target;
        run_of(db, 1, 1, "full", "bulk", 2_100).await?;
        run_of(db, 2, 2, "incremental", "live", 3).await?;
        run_of(db, 3, 3, "full", "bulk", 5).await?;
        let limits = DispatchLimits {
            fleet: 10,
            sources: vec![("main".to_owned(), 10)],
        };
        for length in ["long", "short"] {
            let taken = round(db, &limits).await?;
            let shares = (
                of(&taken, 1, Lane::Bulk),
                of(&taken, 2, Lane::Live),
                of(&taken, 3, Lane::Bulk),
            );
            ensure!(shares == (4, 3, 3), "{length}: {shares:?}");
            db.execute(
                "DELETE FROM etl_chunk WHERE run_id = 1 AND seq > 10; \
                 UPDATE etl_chunk SET status = 'pending' WHERE status = 'queued'",
            )
            .await?;
        }
        Ok(())
    })
    .await;
}

/// Trap 19.
#[tokio::test]
async fn changes_of_one_tenant_start_at_once_under_the_backfill_of_another() {
    on_stage(|stage| async move {
        stage.sample(1000, 2, 83).await?;
        stage.sync_local(&["--tenant", "2"]).await?;
        stage
            .target
            .execute("UPDATE tenants SET max_in_flight = 1000 WHERE id = 1")
            .await?;
        let settings = [
            ("TIDEMARK_PRODUCER_MAX_IN_FLIGHT", "16"),
            ("TIDEMARK_SOURCE_MAX_IN_FLIGHT", "16"),
        ];
        let fleet = stage.fleet_with(&["producer", "finalizer", "worker --concurrency 2"], &settings)?;
        let asked = stage
            .tidemark(&["sync", "--tenant", "1", "--chunk-size", "2", "--json"])
            .await?;
        let backfill = asked.json()["run_id"].to_string();
        stage
            .until("SELECT count(*) >= 5 FROM etl_chunk WHERE tenant_id = 1 AND status = 'done'")
            .await?;
        let changed = "UPDATE conversations SET priority = 1, updated_at = now() AT TIME ZONE 'UTC' \
                       WHERE id IN (SELECT id FROM conversations WHERE account_id = 2 ORDER BY id LIMIT 50)";
        let changed = stage.source.execute(changed).await?.rows_affected();
        let live = stage
            .tidemark(&["sync", "--tenant", "2", "--wait", "--json"])
            .await?;
        ensure!(live.code == 0, "{live:?}");
        ensure!(
            live.json()["records"]["updated"] == changed,
            "{changed} were changed: {live:?}"
        );
        let (waited_for, left): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM etl_chunk b WHERE b.tenant_id = 1 \
                       AND b.started_at > l.created_at AND b.finished_at < l.started_at), \
                    (SELECT count(*) FROM etl_chunk b WHERE b.tenant_id = 1 AND b.status <> 'done') \
             FROM etl_chunk l WHERE l.tenant_id = 2 AND l.lane = 'live'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(left > 0, "the backfill had ended: nothing was shown");
        // These are the backfill's chunks that began and ended while the live chunk waited. A chunk takes
        // milliseconds here and planning wakes the dispatcher, so this measures the time in the queue.
        ensure!(
            waited_for <= 10,
            "the live chunk waited for {waited_for} chunks of the backfill"
        );
        // the backfill goes on meanwhile
        stage
            .until("SELECT count(*) >= 50 FROM etl_chunk WHERE tenant_id = 1 AND status = 'done'")
            .await?;
        let cancelled = stage.tidemark(&["run", "cancel", &backfill]).await?;
        ensure!(cancelled.code == 0, "{cancelled:?}");
        fleet.stop().await?;
        stage.assert_equal(&[2]).await
    })
    .await;
}
