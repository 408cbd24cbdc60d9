//! PgBouncer in transaction mode between the processes and the analytics database.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection, Executor, PgConnection, raw_sql};
use tidemark_ledger::connect::pool;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::DatabasePooler;
use tidemark_postgres::guarded::{Backend, Guarded, wait_for_cancels};

use crate::servers::Server;
use crate::stage::{Servers, Stage, on_servers, on_stage};

/// Fewer connections than the fleet's processes open without a pooler.
const POOL_SIZE: u16 = 8;

/// The analytics database of a stage, through a pooler.
fn through(pooler: &Server, stage: &Stage) -> Result<String> {
    let mut url = url::Url::parse(&pooler.url()?)?;
    url.set_path(&stage.database("target"));
    ensure!(url.set_username(stage.login()).is_ok(), "a URL takes a user");
    Ok(url.to_string())
}

async fn behind(url: &str, connections: u32) -> Result<DbPool> {
    Ok(pool(
        &ServerUrl::from(url),
        "worker",
        connections,
        DatabasePooler::Transaction,
    )
    .await?)
}

/// The number of the pooler's connections to the analytics database.
async fn served(stage: &Stage) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark %'",
    )
    .fetch_one(&stage.target)
    .await?)
}

/// Asserts that the pooler's connections keep no tenant, role or setting.
async fn nothing_is_left(url: &str) -> Result<()> {
    let (mut held, mut seen) = (Vec::new(), BTreeSet::new());
    for _ in 0..POOL_SIZE {
        let mut connection = PgConnection::connect_with(
            &url.parse::<sqlx::postgres::PgConnectOptions>()?
                .extra_float_digits(None)
                .statement_cache_capacity(0),
        )
        .await?;
        raw_sql("BEGIN; DEALLOCATE ALL").execute(&mut connection).await?;
        let (pid, clean): (i32, bool) = sqlx::query_as(
            "SELECT pg_backend_pid(), current_user = session_user \
                    AND coalesce(current_setting('app.current_tenant_id', true), '') = '' \
                    AND current_setting('lock_timeout') = '0' \
                    AND current_setting('idle_in_transaction_session_timeout') = '0' \
                    AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())",
        )
        .fetch_one(&mut connection)
        .await?;
        ensure!(clean, "something is left on {pid}");
        seen.insert(pid);
        held.push(connection);
    }
    ensure!(seen.len() == usize::from(POOL_SIZE), "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_behind_a_pooler_that_is_smaller_than_its_pools_keeps_the_target_equal() {
    let postgres = Server::postgres().await.expect("a server starts");
    let servers = Servers {
        target: postgres.url().expect("a server has a URL"),
        ..Servers::shared()
    };
    on_servers(servers, async |stage| {
        stage.sample(500, 2, 47).await?;
        let pooler = Server::pgbouncer(&postgres.url()?, &[stage.login()], POOL_SIZE).await?;
        let url = through(&pooler, &stage)?;
        let settings = [
            ("TIDEMARK_DATABASE_URL", url.as_str()),
            ("TIDEMARK_DATABASE_POOLER", "transaction"),
        ];
        let mut fleet = stage.fleet_with(&["producer", "worker", "finalizer"], &settings)?;
        let victim = stage.start_with(&["worker"], &settings)?;
        stage
            .until("SELECT count(*) = 4 AND bool_and(doing IS NULL) FROM etl_process")
            .await?;
        let ask = async |args: &[&str]| {
            let answer = stage.tidemark_with(args, &settings).await?;
            ensure!(answer.code == 0, "{args:?}: {answer:?}");
            Ok(answer)
        };

        // first a worker is killed, then the pooler and its server
        ask(&["sync", "--all", "--full", "--chunk-size", "10", "--json"]).await?;
        let done = async |count: u8| {
            stage
                .until(&format!("SELECT count(*) > {count} FROM etl_chunk WHERE status = 'done'"))
                .await
        };
        done(5).await?;
        victim.kill().await?;
        fleet.add("worker")?;
        done(15).await?;
        ensure!(served(&stage).await? <= i64::from(POOL_SIZE), "more connections than agreed");
        pooler.crash().await?;
        postgres.crash().await?;
        postgres.start().await?;
        pooler.start().await?;
        stage
            .until("SELECT bool_and(status = 'success' AND chunks_dead = 0) FROM etl_control")
            .await?;

        stage
            .source
            .execute("UPDATE conversations SET priority = 2, updated_at = now() AT TIME ZONE 'UTC' WHERE id % 7 = 0")
            .await?;
        stage
            .source
            .execute("DELETE FROM conversations WHERE id IN (SELECT id FROM conversations ORDER BY id DESC LIMIT 20)")
            .await?;
        ask(&["sync", "--all", "--wait"]).await?;
        ask(&["resync", "--tenant", "1", "--all-rows", "--wait"]).await?;
        ask(&["verify", "--all"]).await?;
        stage.assert_equal(&[1, 2]).await?;
        let deleted: i64 =
            sqlx::query_scalar("SELECT count(*) FROM conversations_analytics WHERE source_deleted_at IS NOT NULL")
                .fetch_one(&stage.target)
                .await?;
        ensure!(deleted == 20, "{deleted} rows are marked deleted");
        fleet.stop().await?;
        ensure!(served(&stage).await? <= i64::from(POOL_SIZE), "more connections than agreed");
        nothing_is_left(&url).await
    })
    .await;
}

#[tokio::test]
async fn behind_a_pooler_the_error_names_the_setting_that_is_missing() {
    on_stage(|stage| async move {
        let pooler = Server::pgbouncer(&Servers::shared().target, &[stage.login()], 2).await?;
        let url = through(&pooler, &stage)?;
        let at = ("TIDEMARK_DATABASE_URL", url.as_str());
        for command in ["status", "migrate"] {
            let untold = stage.tidemark_with(&[command], &[at]).await?;
            ensure!(
                untold.code == 78 && untold.stderr.contains("TIDEMARK_DATABASE_POOLER=transaction"),
                "{untold:?}"
            );
        }
        let told = [at, ("TIDEMARK_DATABASE_POOLER", "transaction")];
        for answered in [["status"].as_slice(), &["migrate", "--check"]] {
            let answer = stage.tidemark_with(answered, &told).await?;
            ensure!(answer.code == 0, "{answer:?}");
        }
        let refused = stage.tidemark_with(&["migrate"], &told).await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("TIDEMARK_DATABASE_POOLER=none"),
            "{refused:?}"
        );
        // the setting does no harm without a pooler
        let direct = stage
            .tidemark_with(&["status"], &[("TIDEMARK_DATABASE_POOLER", "transaction")])
            .await?;
        ensure!(direct.code == 0, "{direct:?}");
        Ok(())
    })
    .await;
}

/// Begins a transaction, and returns the server process that runs it.
async fn begin(db: &DbPool) -> Result<(Guarded, Backend)> {
    let mut guarded = Guarded::acquire(db).await?;
    db.begin_on(guarded.connection()).await?;
    let (pid, since) = sqlx::query_as("SELECT pg_backend_pid(), now()")
        .fetch_one(guarded.connection())
        .await?;
    Ok((guarded, Backend { pid, since }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_cancelled_behind_a_pooler_and_nobody_elses_is() {
    on_stage(async |stage| {
        let pooler = Server::pgbouncer(&Servers::shared().target, &[stage.login()], 2).await?;
        let db = behind(&through(&pooler, &stage)?, 4).await?;
        let acting: (String, String) =
            sqlx::query_as("SELECT current_user::text, current_setting('lock_timeout')")
                .fetch_one(&db)
                .await?;
        ensure!(acting == ("etl_service".into(), "30s".into()), "{acting:?}");

        let asleep = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                                     AND query LIKE 'SELECT pg_sleep(600)%' AND state = 'active')";
        let (mut guarded, ours) = begin(&db).await?;
        guarded.set_backend(ours);
        {
            let work = async move { guarded.connection().execute("SELECT pg_sleep(600)").await };
            tokio::select! {
                done = work => bail!("it did not sleep: {done:?}"),
                sleeps = stage.until(asleep) => sleeps?,
            }
        }
        stage.until(&format!("SELECT NOT ({asleep})")).await?;

        // its transaction has ended, and its server process sleeps for another client
        let (mut late, ended) = begin(&db).await?;
        late.set_backend(ended);
        raw_sql("COMMIT").execute(late.connection()).await?;
        let mut next = loop {
            let (mut next, served) = begin(&db).await?;
            if served.pid == ended.pid {
                break next;
            }
            raw_sql("COMMIT").execute(next.connection()).await?;
            next.release();
        };
        let work = next.connection().execute("SELECT pg_sleep(1)");
        let drop_late = async {
            stage
                .until(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                                       AND query LIKE 'SELECT pg_sleep(1)%' AND state = 'active')",
                )
                .await?;
            drop(late);
            wait_for_cancels(Duration::from_secs(30)).await;
            Ok::<(), anyhow::Error>(())
        };
        let (slept, dropped) = tokio::join!(work, drop_late);
        dropped?;
        slept.context("another client's statement was cancelled")?;
        Ok(())
    })
    .await;
}

/// Where a statement finds its tables, and the isolation level.
async fn session(db: &DbPool) -> Result<(bool, bool, String)> {
    Ok(sqlx::query_as(
        "SELECT to_regclass('conversations_analytics') = 'public.conversations_analytics'::regclass, \
                to_regclass('tenants') = 'public.tenants'::regclass, current_setting('transaction_isolation')",
    )
    .fetch_one(db)
    .await?)
}

#[tokio::test]
async fn a_temporary_table_of_a_lent_session_does_not_stand_in_for_one_of_ours() {
    on_stage(|stage| async move {
        stage.sample(50, 1, 144).await?;
        // one session, lent to every client, and never reset in between
        let db = behind(&stage.url("target"), 1).await?;
        let mut other = db.connections().acquire().await?;
        raw_sql(
            "CREATE TEMPORARY TABLE conversations_analytics (tenant_id integer); \
             CREATE TEMPORARY TABLE tenants (id integer); \
             SET search_path = pg_temp, public",
        )
        .execute(&mut *other)
        .await?;
        drop(other);
        let (target, tenants, _) = session(&db).await?;
        ensure!(target && tenants, "target {target}, tenants {tenants}");
        ensure!(tidemark_ledger::tenant::list(&db).await?.len() == 1);
        let mut tx = db.begin().await?;
        let in_transaction: bool =
            sqlx::query_scalar("SELECT to_regclass('tenants') = 'public.tenants'::regclass")
                .fetch_one(&mut *tx)
                .await?;
        tx.rollback().await?;
        ensure!(in_transaction);
        // the other client has its own setting again
        let mut other = db.connections().acquire().await?;
        let after: String = raw_path(&mut other).await?;
        ensure!(after == "pg_temp, public", "{after}");
        Ok(())
    })
    .await;
}

async fn raw_path(connection: &mut PgConnection) -> Result<String> {
    use sqlx::Row;
    let row = connection.fetch_one(raw_sql("SHOW search_path")).await?;
    Ok(row.try_get(0)?)
}

#[tokio::test]
async fn the_ledger_is_read_committed_whatever_the_login_has_as_its_default() {
    on_stage(|stage| async move {
        let login = stage.login();
        let database = stage.database("target");
        for default in [
            format!("ALTER ROLE {login} SET default_transaction_isolation = 'serializable'"),
            format!("ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"),
        ] {
            stage.target.execute(sqlx::AssertSqlSafe(default)).await?;
        }
        for pooler in [DatabasePooler::None, DatabasePooler::Transaction] {
            let db = pool(&ServerUrl::from(stage.url("target")), "worker", 2, pooler).await?;
            let (_, _, isolation) = session(&db).await?;
            ensure!(isolation == "read committed", "{pooler:?}: {isolation}");
            let mut tx = db.begin().await?;
            let isolation: String = sqlx::query_scalar("SHOW transaction_isolation")
                .fetch_one(&mut *tx)
                .await?;
            tx.rollback().await?;
            ensure!(isolation == "read committed", "{pooler:?}: {isolation}");
        }
        Ok(())
    })
    .await;
}
