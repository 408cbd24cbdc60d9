//! The assertions after chaos, and its report.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::FromRow;

use super::striker::Striker;
use crate::stage::Stage;

/// Each statement counts violations.
const LAWS: [(&str, &str); 7] = [
    (
        "done chunks whose rows do not add up",
        "SELECT count(*) FROM etl_chunk WHERE status = 'done' \
         AND extracted <> inserted + updated + unchanged + stale + rejected",
    ),
    (
        "done chunks with keys that are neither read nor gone",
        "SELECT count(*) FROM etl_chunk WHERE status = 'done' AND spec ->> 'kind' = 'keys' AND key_count <> extracted + gone",
    ),
    (
        "runs whose totals are not those of their chunks",
        "SELECT count(*) FROM etl_control r \
         JOIN LATERAL (SELECT coalesce(sum(extracted), 0) AS extracted, coalesce(sum(inserted), 0) AS inserted \
                       FROM etl_chunk c WHERE c.run_id = r.id) c ON true \
         WHERE r.finished_at IS NOT NULL \
           AND (r.records_extracted, r.records_inserted) <> (c.extracted, c.inserted)",
    ),
    (
        "watermarks that moved back, or from somewhere else",
        "SELECT count(*) FROM (SELECT old, new, lag(new) OVER (PARTITION BY tenant_id ORDER BY id) AS before \
                               FROM etl_watermark_audit) a \
         WHERE new <= old OR (before IS NOT NULL AND old <> before)",
    ),
    (
        "runs that moved their watermark twice, or that may not",
        "SELECT count(*) FROM (SELECT a.run_id FROM etl_watermark_audit a JOIN etl_control r ON r.id = a.run_id \
                               GROUP BY a.run_id, r.type, r.status \
                               HAVING count(*) > 1 OR r.type NOT IN ('incremental', 'full') \
                                   OR r.status NOT IN ('success', 'partial')) a",
    ),
    (
        "rows of a tenant in another's inbox",
        "SELECT count(*) FROM conversations_analytics a \
         WHERE a.source_deleted_at IS NULL \
           AND NOT EXISTS (SELECT FROM inbox_tenant_mapping m \
                           WHERE m.inbox_id = a.inbox_id AND m.tenant_id = a.tenant_id)",
    ),
    (
        "runs open after the end",
        "SELECT count(*) FROM etl_control WHERE finished_at IS NULL AND requested_at < now() - interval '1 minute'",
    ),
];

/// Asserts, on the whole ledger, everything that must always hold.
pub async fn assert_sound(stage: &Stage) -> Result<()> {
    for (what, statement) in LAWS {
        let count: i64 = sqlx::query_scalar(statement).fetch_one(&stage.target).await?;
        ensure!(count == 0, "{count} {what}");
    }
    let clock: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&stage.source)
        .await?;
    let ahead: i64 = sqlx::query_scalar("SELECT count(*) FROM etl_watermark WHERE watermark > $1")
        .bind(clock)
        .fetch_one(&stage.target)
        .await?;
    ensure!(ahead == 0, "{ahead} watermarks are ahead of the source's clock");
    // including the sessions of killed workers
    stage
        .until_source(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'tidemark%' \
                                AND state LIKE 'idle in transaction%' AND state_change < now() - interval '10 seconds')",
        )
        .await
}

/// Prints the work that is still open, to help find the cause.
pub async fn print_open_work(stage: &Stage) -> Result<()> {
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT format('run %s of tenant %s, %s, %s since %s, chunk %s %s, attempt %s, lost %s, lease %s, due %s: %s', r.id, \
                       r.tenant_id, r.type, r.status, now() - r.requested_at, c.seq, c.status, c.attempt, c.lost_count, \
                       c.lease_until - now(), c.next_attempt_at - now(), coalesce(c.error, r.error_message)) \
         FROM etl_control r LEFT JOIN etl_chunk c ON c.run_id = r.id AND c.status IN ('pending', 'queued', 'running') \
         WHERE r.finished_at IS NULL ORDER BY r.id, c.seq LIMIT 40",
    )
    .fetch_all(&stage.target)
    .await?;
    for line in open {
        eprintln!("{line}");
    }
    Ok(())
}

#[derive(Debug, FromRow)]
pub struct Outcome {
    chunks: i64,
    dead: i64,
    takeovers: i64,
    republished: i64,
    failures: i64,
    runs: i64,
    success: i64,
    partial: i64,
    failed: i64,
    rows: i64,
}

impl Outcome {
    pub async fn read(stage: &Stage) -> Result<Self> {
        Ok(sqlx::query_as(include_str!("outcome.sql"))
            .fetch_one(&stage.target)
            .await?)
    }

    pub fn print(&self, seed: u64, length: Duration, striker: &Striker<'_>, changes: u64) {
        let total: u64 = striker.faults.values().sum();
        eprintln!("chaos for {length:?}, TIDEMARK_CHAOS_SEED={seed}: {total} faults");
        for (fault, count) in &striker.faults {
            eprintln!("{count:>8}  {fault}");
        }
        for (count, what) in [
            (self.chunks, "chunks"),
            (self.dead, "of them dead, their work taken by a later run"),
            (self.takeovers, "leases lost: chunks taken over"),
            (self.republished, "chunks published again"),
            (self.failures, "attempts failed"),
            (self.runs, "runs"),
            (self.success, "of them success"),
            (self.partial, "of them partial"),
            (self.failed, "of them failed"),
            (self.rows, "rows in the target"),
        ] {
            eprintln!("{count:>8}  {what}");
        }
        eprintln!("{changes:>8}  changes at the source, at least");
        eprintln!(
            "{:>8}  processes ended by themselves",
            striker.fleet.ended_by_themselves
        );
    }
}
