//! Incremental syncs with few changes or none: the time should follow the changes, not the size of the tables.

use anyhow::{Result, ensure};
use sqlx::{Connection, PgConnection};
use tidemark_benches::figures::{Case, Goal};

use crate::site::{Bench, Site, execute};

/// Changes a thousand of the tenant's conversations, spread over all of them.
const CHANGE: &str = "UPDATE conversations SET updated_at = clock_timestamp() AT TIME ZONE 'UTC', last_activity_at = \
     clock_timestamp() AT TIME ZONE 'UTC', priority = (coalesce(priority, 0) + 1) % 4 \
     WHERE id IN (SELECT id FROM conversations WHERE account_id = 1 ORDER BY md5(id::text || $1::text) LIMIT 1000)";
/// With these indexes a plan finds changes without reading whole tables.
pub(super) const SUGGESTED: [&str; 7] = [
    "CREATE INDEX bench_conversations_changed ON conversations (greatest(updated_at, last_activity_at, waiting_since, \
         first_reply_created_at, contact_last_seen_at, agent_last_seen_at, assignee_last_seen_at))",
    "CREATE INDEX bench_messages_updated ON messages (updated_at)",
    "CREATE INDEX bench_contacts_updated ON contacts (updated_at)",
    "CREATE INDEX bench_csat_created ON csat_survey_responses (created_at)",
    "CREATE INDEX bench_csat_updated ON csat_survey_responses (updated_at)",
    "CREATE INDEX bench_slas_updated ON applied_slas (updated_at)",
    "CREATE INDEX bench_participants_updated ON conversation_participants (updated_at)",
];
/// The first sync with this setting compares digests, the later ones go by times.
pub(super) const HOURLY: (&str, &str) = ("TIDEMARK_PRODUCER_DIGEST_INTERVAL", "1h");
pub(super) const RESTORE: [&str; 2] = [
    "DROP INDEX bench_conversations_changed, bench_messages_updated, bench_contacts_updated, bench_csat_created, bench_csat_updated, \
     bench_slas_updated, bench_participants_updated",
    "VACUUM (ANALYZE)",
];

pub async fn measure(bench: &mut Bench, sizes: &[u64]) -> Result<Vec<Case>> {
    let mut idle = Case::new(
        "incremental-none",
        "Incremental, nothing changed",
        "`tidemark sync --local` on a tenant in step: the run's own time and that of the whole command. A sync compares \
         digests of all of the tenant's conversations; the suggested indexes spare it the tables of contacts, answers and \
         messages. While a comparison holds (`producer.digest_interval`) those indexes are all that it reads.",
        "s",
    );
    let plain = "1,000 conversations of the tenant changed, spread over all of it; `tidemark sync --local`, 2 workers, the \
         tenant's lookback set to 0 so that earlier rounds are not read again. The run's own time.";
    let mut changed = Case::new(
        "incremental-1000",
        "Incremental, 1,000 rows changed, Chatwoot's own indexes",
        plain,
        "s",
    );
    let mut indexed = Case::new(
        "incremental-1000-indexed",
        "Incremental, 1,000 rows changed, suggested indexes, digests compared hourly",
        plain,
        "s",
    );
    let least = sizes.iter().copied().min().unwrap_or_default();
    changed = changed.against(&of(least));
    indexed = indexed.against(&of(least));
    for &size in sizes {
        let source_url = bench.source(size).await?;
        let site = bench
            .fresh(&source_url)
            .await?
            .with("TIDEMARK_WORKER_CONCURRENCY", "2");
        site.sync(&["--local", "--full"]).await?;
        let mut target = site.on_target().await?;
        execute(
            &mut target,
            &["UPDATE tenants SET lookback = '0'", "VACUUM (ANALYZE)"],
        )
        .await?;
        let hourly = site.with(HOURLY.0, HOURLY.1);
        let mut source = site.on_source().await?;
        idle_syncs(&mut idle, &site, &of(size), bench.rounds).await?;
        changed_syncs(&mut changed, &site, &mut source, size, bench.rounds).await?;
        execute(&mut source, &SUGGESTED).await?;
        execute(&mut source, &["VACUUM (ANALYZE)"]).await?;
        let label = format!("{}, suggested indexes", of(size));
        idle_syncs(&mut idle, &site, &label, bench.rounds).await?;
        let label = format!("{}, digests hourly", of(size));
        idle_syncs(&mut idle, &hourly, &label, bench.rounds).await?;
        changed_syncs(&mut indexed, &hourly, &mut source, size, bench.rounds).await?;
        execute(&mut source, &RESTORE).await?;
        source.close().await?;
        changed.goal(&of(size), Goal::AtMost(0.6));
        if size > least {
            indexed.goal(&of(size), Goal::RatioAtMost(1.3));
        }
    }
    Ok(vec![idle, changed, indexed])
}

async fn idle_syncs(case: &mut Case, site: &Site, label: &str, rounds: usize) -> Result<()> {
    let (run, command) = (format!("{label}: run"), format!("{label}: command"));
    for _ in 0..rounds + 2 {
        let synced = site.sync(&["--local"]).await?;
        case.add(&run, synced.run);
        case.add(&command, synced.command);
    }
    case.goal(&run, Goal::AtMost(0.15));
    Ok(())
}

async fn changed_syncs(
    case: &mut Case,
    site: &Site,
    source: &mut PgConnection,
    size: u64,
    rounds: usize,
) -> Result<()> {
    for round in 0..rounds + 2 {
        let changes = sqlx::query(CHANGE)
            .bind(format!("{} {round}", case.key))
            .execute(&mut *source)
            .await?;
        ensure!(
            changes.rows_affected() == 1000,
            "the tenant has a thousand conversations"
        );
        let synced = site.sync(&["--local"]).await?;
        ensure!(
            synced.records["updated"] == 1000,
            "other rows than the changed ones were synced: {}",
            synced.records
        );
        case.add(&of(size), synced.run);
    }
    Ok(())
}

fn of(size: u64) -> String {
    format!("{size} conversations")
}
