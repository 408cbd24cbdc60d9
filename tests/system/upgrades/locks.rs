//! A migration stops nobody for longer than a moment, whatever it changes.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor, PgConnection};
use tidemark_ledger::migrate::Error;

use super::{
    NEXT, begin_to_migrate, builder, later, marked, migrate, newest, read_and_stay, sessions, write_on,
};
use crate::stage::{Stage, on_stage};

/// Tables without traffic of their own, in the order in which the migration wants them.
const MANY: [&str; 8] = [
    "etl_agreement",
    "etl_fence",
    "etl_name",
    "etl_sender",
    "etl_source_watch",
    "etl_unsynced_inbox",
    "etl_verification",
    "etl_webhook",
];

/// Lets each of the tables go when somebody has waited for it for a while.
async fn let_go_in_turn(stage: &Stage, holders: Vec<PgConnection>) -> Result<()> {
    for (table, holder) in MANY.iter().zip(holders) {
        stage
            .until(&format!(
                "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
            ))
            .await?;
        // shorter than the wait for one lock; all of them together are longer than the wait for all
        tokio::time::sleep(Duration::from_millis(350)).await;
        holder.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_migration_of_many_tables_holds_none_while_it_waits_for_the_others() {
    on_stage(|stage| async move {
        let mut change = "ALTER TABLE tenants ADD COLUMN plan text;".to_owned();
        for table in MANY {
            change += &format!("ALTER TABLE {table} ADD COLUMN plan text;");
        }
        let build = later(&[(NEXT, marked(newest(), &change), "SELECT")]);
        let mut holders = Vec::new();
        for table in MANY {
            holders.push(read_and_stay(&stage, table).await?);
        }
        let migrating = begin_to_migrate(&stage, build);
        tokio::select! {
            failed = write_on(&stage, "UPDATE tenants SET name = name WHERE id = 0") => failed,
            let_go = let_go_in_turn(&stage, holders) => let_go,
        }?;
        ensure!(migrating.await??.0 == 1, "in the end it is applied");
        Ok(())
    })
    .await;
}

/// What the withdrawn migration made of the tables.
const WITHDRAWN: &str = "DROP INDEX conversations_analytics_date_idx; \
    CREATE INDEX conversations_analytics_date_idx ON conversations_analytics (tenant_id, conversation_date, conversation_id) \
        INCLUDE (conversation_hour, source_deleted_at); \
    CREATE INDEX conversations_analytics_awaiting_idx ON conversations_analytics (tenant_id, conversation_id) \
        WHERE is_awaiting_reply AND source_deleted_at IS NULL; \
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (20261129224700, 'widen conversation dates', true, '\\x00', 1)";

async fn indexes(stage: &Stage) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'conversations_analytics' ORDER BY indexname",
    )
    .fetch_all(&stage.target)
    .await?)
}

#[tokio::test]
async fn a_database_with_a_withdrawn_migration_goes_on_forwards_and_back() {
    on_stage(|stage| async move {
        let expected = indexes(&stage).await?;
        let before = stage
            .tidemark(&["migrate", "--down-to", "20261129232600"])
            .await?;
        ensure!(before.code == 0, "{before:?}");
        stage.target.execute(sqlx::raw_sql(WITHDRAWN)).await?;
        for (args, code) in [
            (&["migrate", "--check"][..], 1),
            (&["migrate"], 0),
            (&["migrate", "--check"], 0),
            (&["status"], 0),
        ] {
            let answer = stage.tidemark(args).await?;
            ensure!(answer.code == code, "{args:?}: {answer:?}");
            ensure!(!answer.stderr.contains("newer tidemark"), "{answer:?}");
        }
        ensure!(indexes(&stage).await? == expected, "{:?}", indexes(&stage).await?);
        for args in [&["migrate", "--down-to", "0"][..], &["migrate"]] {
            let answer = stage.tidemark(args).await?;
            ensure!(answer.code == 0, "{args:?}: {answer:?}");
        }
        ensure!(indexes(&stage).await? == expected, "{:?}", indexes(&stage).await?);
        Ok(())
    })
    .await;
}

/// A table of several levels, of which one partition is in another schema.
const PARTITIONS: &str = "CREATE SCHEMA elsewhere; \
    CREATE TABLE \"Whole\" (tenant_id integer, n integer) PARTITION BY LIST (tenant_id); \
    CREATE TABLE whole_1 PARTITION OF \"Whole\" FOR VALUES IN (1) PARTITION BY HASH (n); \
    CREATE TABLE whole_1_0 PARTITION OF whole_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
    CREATE TABLE elsewhere.\"whole 1 1\" PARTITION OF whole_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
    CREATE TABLE whole_2 PARTITION OF \"Whole\" FOR VALUES IN (2); \
    INSERT INTO \"Whole\" SELECT 1 + n % 2, n FROM generate_series(1, 1000) n";
const PARTS: &str = "SELECT array_agg(i.indisvalid) FROM pg_index i \
    WHERE i.indexrelid IN (SELECT relid FROM pg_partition_tree('etl_chunk_of_a_test_idx'))";

#[tokio::test]
async fn an_index_of_a_partitioned_table_is_made_beside_writers_and_after_a_kill() {
    on_stage(|stage| async move {
        stage.target.execute(sqlx::raw_sql(PARTITIONS)).await?;
        let up = format!(
            "-- no-transaction\n-- works from: {}\n\
             CREATE INDEX CONCURRENTLY IF NOT EXISTS etl_chunk_of_a_test_idx ON \"Whole\" (n) WHERE n > 1;",
            newest()
        );
        let down = "-- no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS etl_chunk_of_a_test_idx;";
        let build = later(&[(NEXT, up, down)]);

        let reader = read_and_stay(&stage, "tenants").await?;
        let killed = begin_to_migrate(&stage, build);
        let pid = builder(&stage).await?;
        stage
            .target
            .execute("INSERT INTO \"Whole\" VALUES (1, 0), (2, 0)")
            .await?;
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(pid)
            .execute(&stage.target)
            .await?;
        ensure!(killed.await?.is_err(), "its session was ended");
        let migrating = begin_to_migrate(&stage, build);
        builder(&stage).await?;
        stage
            .target
            .execute("INSERT INTO \"Whole\" VALUES (1, 0), (2, 0)")
            .await?;
        reader.close().await?;
        ensure!(migrating.await??.0 == 1, "one migration is applied");
        let parts: Vec<bool> = sqlx::query_scalar(PARTS).fetch_one(&stage.target).await?;
        ensure!(parts == [true; 5], "{parts:?}");

        // the way back needs the table for a moment
        let holder = read_and_stay(&stage, "whole_2").await?;
        let (mut connection, mut watcher) = sessions(&stage).await?;
        let migrations = tidemark_ledger::migrate::Migrations {
            patience: Duration::ZERO,
            ..tidemark_ledger::migrate::Migrations::new(build)
        };
        let refused = migrations
            .down(&mut connection, &mut watcher, newest(), &mut |_| {})
            .await;
        ensure!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        holder.close().await?;
        migrations
            .down(&mut connection, &mut watcher, newest(), &mut |_| {})
            .await?;
        // the lock of a refused migrate ends with its session
        connection.close().await?;
        let parts: Option<Vec<bool>> = sqlx::query_scalar(
            "SELECT array_agg(indisvalid) FROM pg_index WHERE indexrelid::regclass::text ~ 'of_a_test'",
        )
        .fetch_one(&stage.target)
        .await?;
        ensure!(parts.is_none(), "{parts:?}");
        ensure!(migrate(&stage, build).await?.0 == 1, "and again");
        Ok(())
    })
    .await;
}
