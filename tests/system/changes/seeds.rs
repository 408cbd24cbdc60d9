//! Random transactions that write rows and record their changes as loads do, some of which are rolled back or lose their
//! connection, while a consumer follows the feed and it is pruned.
//!
//! A case is a seed. `TIDEMARK_TEST_CASES=200` tries the first 200, and a failure names its seed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use sqlx::{Connection, PgConnection, raw_sql};
use tidemark_ledger::change::{self, Change, ChangeKind};
use tidemark_runtime::config::RetentionSettings;
use tidemark_shared::ids::TenantId;

use super::follower::{Follower, Step};
use super::live;
use crate::stage::{Stage, on_stage};

const CASES: u64 = 12;
const WRITERS: u64 = 4;
const TRANSACTIONS: usize = 12;

/// Writes a row with only what the table requires, and this content.
const PUT: &str = "CREATE FUNCTION put(id bigint, content bytea) RETURNS void LANGUAGE sql AS $$ \
    INSERT INTO conversations_analytics SELECT r.* FROM jsonb_populate_record(NULL::conversations_analytics, ( \
        SELECT jsonb_object_agg(attname, CASE atttypid WHEN 'boolean'::regtype THEN to_jsonb(false) \
                   WHEN 'timestamptz'::regtype THEN to_jsonb('epoch'::text) WHEN 'bytea'::regtype THEN to_jsonb(content::text) \
                   WHEN 'text[]'::regtype THEN '[]' ELSE to_jsonb(0) END) \
               || jsonb_build_object('tenant_id', 1, 'conversation_id', id) \
        FROM pg_attribute WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND attnotnull AND NOT attisdropped)) r \
    ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET row_hash = EXCLUDED.row_hash, source_deleted_at = NULL $$";

#[expect(clippy::disallowed_methods, reason = "the number of cases is no setting")]
fn cases() -> u64 {
    std::env::var("TIDEMARK_TEST_CASES").map_or(CASES, |cases| cases.parse().expect("a number of cases"))
}

/// Lets other transactions go on meanwhile.
async fn dawdle(connection: &mut PgConnection, rng: &mut StdRng) -> Result<()> {
    for _ in 0..rng.random_range(0..6) {
        raw_sql("SELECT 1").execute(&mut *connection).await?;
    }
    Ok(())
}

async fn write(url: String, seed: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut connection = PgConnection::connect(&url).await?;
    for _ in 0..TRANSACTIONS {
        raw_sql("BEGIN").execute(&mut connection).await?;
        let count = rng.random_range(1..4);
        let mut ids = (1..=12_i64).sample(&mut rng, count);
        ids.sort_unstable();
        let mut changes = Vec::new();
        for id in ids {
            let kind = if rng.random_ratio(1, 4) {
                ChangeKind::Deleted
            } else {
                ChangeKind::Inserted
            };
            let statement = match kind {
                ChangeKind::Deleted => sqlx::query(
                    "UPDATE conversations_analytics SET source_deleted_at = now() WHERE tenant_id = 1 AND conversation_id = $1",
                )
                .bind(id),
                _ => sqlx::query("SELECT put($1, decode(md5($2::bigint::text), 'hex'))")
                    .bind(id)
                    .bind(rng.random::<i64>()),
            };
            statement.execute(&mut connection).await?;
            changes.push(Change::whole(id, kind, None));
        }
        dawdle(&mut connection, &mut rng).await?;
        change::record(&mut connection, TenantId(1), &changes).await?;
        dawdle(&mut connection, &mut rng).await?;
        match rng.random_range(0..10) {
            0 => {
                raw_sql("ROLLBACK").execute(&mut connection).await?;
            }
            // as a worker that is killed
            1 => connection = PgConnection::connect(&url).await?,
            _ => {
                raw_sql("COMMIT").execute(&mut connection).await?;
            }
        }
    }
    Ok(())
}

/// Returns how often the consumer had to start again.
async fn try_seed(stage: &Stage, seed: u64) -> Result<u32> {
    raw_sql("TRUNCATE conversation_change, conversation_feed, conversations_analytics")
        .execute(&stage.target)
        .await?;
    let (url, db) = (stage.owner_url("target"), stage.db());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| write(url.clone(), seed * WRITERS + writer))
        .collect();
    let writing = tokio_util::task::TaskTracker::new();
    let tasks: Vec<_> = writers.into_iter().map(|writer| writing.spawn(writer)).collect();
    writing.close();
    let mut rng = StdRng::seed_from_u64(!seed);
    let mut connection = PgConnection::connect(&url).await?;
    let mut follower = Follower::new(1);
    let mut restarts = 0;
    let keep = RetentionSettings {
        changes: Duration::from_secs(24 * 3600),
        ..RetentionSettings::default()
    };
    loop {
        let is_over = tasks.iter().all(tokio::task::JoinHandle::is_finished);
        let is_read = match follower.step(&mut connection, rng.random_range(1..6)).await? {
            Step::Read(changes) => changes.is_empty(),
            Step::Again => {
                restarts += 1;
                false
            }
        };
        if is_over && is_read {
            break;
        }
        if rng.random_ratio(1, 40) {
            raw_sql("UPDATE conversation_change SET changed_at = now() - interval '2 days'")
                .execute(&mut connection)
                .await?;
            tidemark_ledger::prune::prune(&db, &keep).await?;
        }
    }
    for task in tasks {
        task.await??;
    }
    let there = live(stage).await?;
    ensure!(
        follower.rows == there,
        "the consumer has {:?} and the target {there:?}",
        follower.rows
    );
    Ok(restarts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_transactions_are_followed_to_the_last_row() {
    on_stage(|stage| async move {
        raw_sql(PUT).execute(&stage.target).await?;
        raw_sql("INSERT INTO tenants (id, slug, name, source) VALUES (1, 'one', 'One', 'main')")
            .execute(&stage.target)
            .await?;
        let mut restarts = 0;
        for seed in 0..cases() {
            restarts += try_seed(&stage, seed)
                .await
                .with_context(|| format!("seed {seed}"))?;
        }
        ensure!(restarts > 0, "no consumer was overtaken by pruning");
        Ok(())
    })
    .await;
}
