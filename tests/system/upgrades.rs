//! Releases side by side, and migrations beside a fleet. The next release is this one with migrations of the tests.

mod locks;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};
use tidemark_ledger::MIGRATOR;
use tidemark_ledger::migrate::{Error, Migrations};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::http::{address_of, get, until};
use crate::stage::{Fleet, Stage, on_stage, poll};

/// Versions of the next release, and of the one after it.
const NEXT: i64 = 99_990_101_000_000;
const AFTER: i64 = 99_990_201_000_000;

/// This build with one more migration, or several; those that work CONCURRENTLY say `-- no-transaction`.
fn later(more: &[(i64, String, &'static str)]) -> &'static Migrator {
    let mut all = MIGRATOR.migrations.to_vec();
    for (version, up, down) in more {
        for (way, sql) in [
            (MigrationType::ReversibleUp, up.clone()),
            (MigrationType::ReversibleDown, (*down).to_owned()),
        ] {
            let is_alone = sql.starts_with("-- no-transaction");
            let sql = AssertSqlSafe(sql).into_sql_str();
            all.push(Migration::new(
                *version,
                "of the next release".into(),
                way,
                sql,
                is_alone,
            ));
        }
    }
    Box::leak(Box::new(Migrator::with_migrations(all)))
}

fn marked(from: i64, sql: &str) -> String {
    format!("-- A migration of a test.\n-- works from: {from}\n{sql}")
}

fn newest() -> i64 {
    tidemark_ledger::migrations::newest(&MIGRATOR)
}

/// A session for `migrate`, and the one that looks at it.
async fn sessions(stage: &Stage) -> Result<(PgConnection, PgConnection), sqlx::Error> {
    let url = stage.owner_url("target");
    Ok((
        PgConnection::connect(&url).await?,
        PgConnection::connect(&url).await?,
    ))
}

/// `tidemark migrate` of a build, with what it tells the operator.
async fn migrate(stage: &Stage, build: &'static Migrator) -> Result<(usize, Vec<String>), Error> {
    let (mut connection, mut watcher) = sessions(stage).await?;
    let mut said = Vec::new();
    let migrations = Migrations {
        patience: Duration::from_secs(90),
        ..Migrations::new(build)
    };
    let count = migrations
        .up(&mut connection, &mut watcher, &mut |text| said.push(text))
        .await?;
    Ok((count, said))
}

type Migrating = JoinHandle<Result<(usize, Vec<String>), Error>>;

fn begin_to_migrate(stage: &std::sync::Arc<Stage>, build: &'static Migrator) -> Migrating {
    let stage = std::sync::Arc::clone(stage);
    TaskTracker::new().spawn(async move { migrate(&stage, build).await })
}

/// A transaction that has read a table and stays open.
async fn read_and_stay(stage: &Stage, table: &str) -> Result<PgConnection> {
    let mut reader = PgConnection::connect(&stage.owner_url("target")).await?;
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    reader
        .execute(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .await?;
    Ok(reader)
}

/// Writes until a statement waits for more than a second or so.
async fn write_on(stage: &Stage, write: &'static str) -> Result<()> {
    let mut writer = PgConnection::connect(&stage.owner_url("target")).await?;
    writer.execute("SET lock_timeout = '1200ms'").await?;
    loop {
        let written = writer.execute(write).await;
        written.context("a statement waited for more than a second")?;
        tokio::task::yield_now().await;
    }
}

/// Synchronizes while somebody migrates, and writes the table all the time.
async fn work_meanwhile(stage: &Stage, migrating: &Migrating, write: &'static str) -> Result<()> {
    let sync = async {
        for _ in 0..3 {
            let run = stage
                .tidemark(&["sync", "--tenant", "1", "--full", "--wait", "--json"])
                .await?;
            ensure!(run.code == 0, "{run:?}");
        }
        anyhow::Ok(())
    };
    tokio::select! {
        failed = write_on(stage, write) => failed,
        synced = sync => synced,
    }?;
    ensure!(
        !migrating.is_finished(),
        "the migration did not wait for the reader"
    );
    Ok(())
}

async fn fleet(stage: &Stage) -> Result<Fleet<'_>> {
    stage.sample(120, 1, 230).await?;
    let fleet = stage.fleet(&["producer", "worker", "finalizer"])?;
    fleet.until_started().await?;
    Ok(fleet)
}

#[tokio::test]
async fn a_release_works_with_the_tables_of_the_next_and_refuses_those_that_lack_what_it_uses() {
    on_stage(|stage| async move {
        let fleet = fleet(&stage).await?;
        let address = address_of(&stage, "finalizer").await?;
        until(&address, "/readyz", |response| response.status == 200).await?;
        let expand = marked(newest(), "ALTER TABLE tenants ADD COLUMN plan text");
        let build = later(&[(NEXT, expand.clone(), "ALTER TABLE tenants DROP COLUMN plan")]);
        ensure!(migrate(&stage, build).await?.0 == 1, "one migration is applied");

        // those that run go on, and others start
        let ready = get(&address, "/readyz", "*/*").await?;
        ensure!(ready.status == 200 && ready.body.contains("newer"), "{ready:?}");
        let run = stage
            .tidemark(&["sync", "--tenant", "1", "--wait", "--json"])
            .await?;
        ensure!(run.code == 0, "{run:?}");
        fleet.stop().await?;
        stage.sync_local(&["--tenant", "1", "--full"]).await?;
        stage.assert_equal(&[1]).await?;
        for (args, says) in [
            (&["migrate"][..], "migrations of a newer tidemark (1)"),
            (&["migrate", "--check"], "migrations of a newer tidemark (1)"),
        ] {
            let answer = stage.tidemark(args).await?;
            ensure!(
                answer.code == 0 && answer.stderr.contains(says),
                "{args:?}: {answer:?}"
            );
        }
        let found = stage.tidemark(&["doctor", "--json"]).await?;
        ensure!(
            found
                .stdout
                .contains("of a newer tidemark, which this build works with"),
            "{found:?}"
        );
        // what is not known cannot be reverted
        let refused = stage.tidemark(&["migrate", "--down-to", "0"]).await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains(&NEXT.to_string()),
            "{refused:?}"
        );

        let finalizer = stage.start(&["finalizer"])?;
        let address = address_of(&stage, "finalizer").await?;
        until(&address, "/readyz", |response| response.status == 200).await?;
        // the release after the next removes what only the next does not use; nothing of this release may run
        let contract = marked(NEXT, "ALTER TABLE tenants DROP COLUMN pause_reason");
        let build = later(&[(NEXT, expand, ""), (AFTER, contract, "")]);
        let refused = migrate(&stage, build).await;
        let Err(Error::OldProcesses { processes, .. }) = &refused else {
            anyhow::bail!("{refused:?}");
        };
        ensure!(
            processes.contains("finalizer") && processes.contains("tidemark 0."),
            "{processes}"
        );
        stage.target.execute("SELECT pause_reason FROM tenants").await?;
        finalizer.stop().await?;
        ensure!(migrate(&stage, build).await?.0 == 1, "nobody is in the way");
        for args in [
            &["finalizer"][..],
            &["status"],
            &["migrate"],
            &["migrate", "--check"],
        ] {
            let refused = stage.tidemark(args).await?;
            let says = refused.stderr.contains("run a newer tidemark")
                || refused.stderr.contains("use a newer tidemark");
            ensure!(
                refused.code == 78 && says && refused.stderr.contains(&AFTER.to_string()),
                "{args:?}: {refused:?}"
            );
        }
        let found = stage.tidemark(&["doctor", "--json"]).await?;
        ensure!(
            found.code != 0 && found.stdout.contains("does not work with"),
            "{found:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_fleet_goes_on_while_a_migration_waits_for_a_long_reader() {
    on_stage(|stage| async move {
        let fleet = fleet(&stage).await?;
        let build = later(&[(
            NEXT,
            marked(newest(), "ALTER TABLE tenants ADD COLUMN plan text"),
            "ALTER TABLE tenants DROP COLUMN plan",
        )]);
        let reader = read_and_stay(&stage, "tenants").await?;
        let migrating = begin_to_migrate(&stage, build);
        stage
            .until(
                "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' \
                 AND relation = 'tenants'::regclass",
            )
            .await?;
        work_meanwhile(&stage, &migrating, "UPDATE tenants SET name = name WHERE id = 0").await?;
        reader.close().await?;
        let (count, said) = migrating.await??;
        ensure!(
            count == 1 && said.len() == 1 && said[0].contains("session "),
            "{said:?}"
        );
        fleet.stop().await?;
        stage.assert_equal(&[1]).await?;

        // the way back waits in the same way, and a reader that never ends is named
        let reader = read_and_stay(&stage, "tenants").await?;
        let (mut connection, mut watcher) = sessions(&stage).await?;
        let impatient = Migrations {
            patience: Duration::ZERO,
            ..Migrations::new(build)
        };
        let refused = impatient
            .down(&mut connection, &mut watcher, newest(), &mut |_| {})
            .await;
        let says = format!("{:?}", refused.map_err(|error| error.to_string()));
        ensure!(
            says.contains("did not get its locks") && says.contains("session "),
            "{says}"
        );
        reader.close().await?;
        impatient
            .down(&mut connection, &mut watcher, newest(), &mut |_| {})
            .await?;
        let left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM etl_migration WHERE version > $1)")
            .bind(newest())
            .fetch_one(&stage.target)
            .await?;
        ensure!(!left, "the mark of a reverted migration stays");
        connection.close().await?;
        Ok(())
    })
    .await;
}

const INDEX: &str =
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS etl_chunk_of_a_test_idx ON etl_chunk (created_at);";

fn with_index() -> &'static Migrator {
    let up = format!("-- no-transaction\n-- works from: {}\n{INDEX}", newest());
    let down = "-- no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS etl_chunk_of_a_test_idx;";
    later(&[(NEXT, up, down)])
}

async fn is_valid(stage: &Stage) -> Result<Option<bool>> {
    Ok(sqlx::query_scalar(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('etl_chunk_of_a_test_idx')",
    )
    .fetch_optional(&stage.target)
    .await?)
}

/// Waits until an index is being made, and only waits for a reader. Returns the server process that makes it.
async fn builder(stage: &Stage) -> Result<i32> {
    poll("an index that waits for a reader", async || {
        Ok(sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'virtualxid' \
             AND query LIKE '%etl_chunk_of_a_test_idx%'",
        )
        .fetch_optional(&stage.target)
        .await?)
    })
    .await
}

#[tokio::test]
async fn two_migrates_make_an_index_beside_a_fleet_and_a_long_reader() {
    on_stage(|stage| async move {
        let fleet = fleet(&stage).await?;
        let reader = read_and_stay(&stage, "etl_chunk").await?;
        let first = begin_to_migrate(&stage, with_index());
        builder(&stage).await?;
        let second = begin_to_migrate(&stage, with_index());
        work_meanwhile(
            &stage,
            &first,
            "UPDATE etl_chunk SET lane = lane WHERE run_id = 0",
        )
        .await?;
        ensure!(!second.is_finished(), "the second waits for the first");
        reader.close().await?;
        ensure!(first.await??.0 == 1, "the first makes the index");
        let (count, said) = second.await??;
        ensure!(
            count == 0 && said[0].contains("another `tidemark migrate`"),
            "{said:?}"
        );
        ensure!(is_valid(&stage).await? == Some(true), "the index is complete");
        fleet.stop().await?;
        stage.assert_equal(&[1]).await
    })
    .await;
}

#[tokio::test]
async fn an_index_that_a_killed_migrate_left_is_made_again() {
    on_stage(|stage| async move {
        let build = with_index();
        let reader = read_and_stay(&stage, "tenants").await?;
        let killed = begin_to_migrate(&stage, build);
        let pid = builder(&stage).await?;
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(pid)
            .execute(&stage.target)
            .await?;
        ensure!(killed.await?.is_err(), "its session was ended");
        ensure!(
            is_valid(&stage).await? == Some(false),
            "the index is left, and not complete"
        );

        // a program that is killed leaves its session: the server makes the index, and the next migrate waits for that
        let left = begin_to_migrate(&stage, build);
        builder(&stage).await?;
        left.abort();
        let next = begin_to_migrate(&stage, build);
        stage
            .until(
                "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .await?;
        reader.close().await?;
        let (count, said) = next.await??;
        ensure!(count == 1, "{said:?}");
        ensure!(is_valid(&stage).await? == Some(true), "the index is complete");
        let is_marked: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM etl_migration WHERE version = $1)")
                .bind(NEXT)
                .fetch_one(&stage.target)
                .await?;
        ensure!(is_marked, "the mark is lost");
        Ok(())
    })
    .await;
}
