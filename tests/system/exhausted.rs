//! Trap 29: servers without disk, memory or connections for longer than all attempts.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::http::{address_of, until};
use crate::servers::Server;
use crate::stage::{Servers, Stage, on_servers, on_stage, poll};

/// Files grow to this size while a disk is full: above a WAL segment of 1 MB, and within a page, so that the kernel writes
/// the first half of that page.
const FULL: u64 = (1 << 20) + 4096;

/// Waits until a run ends, which must be with success and without a failed attempt.
async fn ends_well(stage: &Stage, run: &str) -> Result<()> {
    stage.end_back_offs().await?;
    let ended = stage.tidemark(&["run", "watch", run, "--json"]).await?;
    ensure!(ended.code == 0, "{ended:?}");
    let (failures, lost): (i64, i64) =
        sqlx::query_as("SELECT sum(failure_count)::bigint, sum(lost_count)::bigint FROM etl_chunk")
            .fetch_one(&stage.target)
            .await?;
    ensure!(
        failures == 0 && lost == 0,
        "{failures} attempts failed, {lost} leases were lost"
    );
    let failed: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM etl_control WHERE status = 'failed') \
              + (SELECT count(*) FROM etl_watermark WHERE consecutive_failures > 0)",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(failed == 0, "a run or a tenant failed");
    stage.assert_equal(&[1]).await
}

/// Waits until `status` names the cause.
async fn until_status_says(stage: &Stage, part: &str) -> Result<()> {
    poll(format!("status says {part}"), async || {
        let status = stage.tidemark(&["status", "--json"]).await?.json();
        let held_by = status["tenants"][0]["held_by"].as_str().unwrap_or_default();
        Ok(held_by.contains(part).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_target_whose_disk_is_full_for_longer_than_all_attempts_costs_only_delay() {
    let server = Server::postgres_with_small_segments()
        .await
        .expect("a server can be started");
    let servers = Servers {
        target: server.url().expect("it has a URL"),
        ..Servers::shared()
    };
    let server = &server;
    on_servers(servers, |stage| async move {
        stage.sample(300, 1, 97).await?;
        // a page for each row: the table is as large as the disk after half of them
        stage
            .target
            .execute("ALTER TABLE conversations_analytics SET (fillfactor = 10)")
            .await?;
        server.limit("fsize", Some(FULL)).await?;
        let up = stage.start(&["up"])?;
        let run = stage.ask_full("10").await?;
        stage.until_attempted_often().await?;
        until_status_says(&stage, "could not extend file").await?;
        server.limit("fsize", None).await?;
        ends_well(&stage, &run).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_for_longer_than_a_lease_blames_no_chunk_and_says_so() {
    on_stage(|stage| async move {
        stage.sample(300, 1, 101).await?;
        // one lost lease is enough to kill a chunk
        let strict = [
            ("TIDEMARK_PRODUCER_MAX_LOST", "1"),
            ("TIDEMARK_PRODUCER_REQUEUE_AFTER", "2s"),
            ("TIDEMARK_HTTP_LISTEN", "127.0.0.1:0"),
        ];
        let up = stage.start_with(&["up"], &strict)?;
        let holder = stage.block_readers("messages").await?;
        let run = stage.ask_full("20").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'running') >= 2 FROM etl_chunk")
            .await?;
        let mut owner = PgConnection::connect(&stage.owner_url("target")).await?;
        refuse_writes(&mut owner).await?;
        // what the workers have read cannot be completed now
        holder.close().await?;
        let address = address_of(&stage, "up").await?;
        until(&address, "/readyz", |ready| ready.body.contains("SQLSTATE")).await?;
        // It must last longer than the lease of 3 s. There is no state to wait for: nothing can be written.
        tokio::time::sleep(Duration::from_secs(4)).await;
        owner.execute("DROP FUNCTION ledger_is_full() CASCADE").await?;
        ends_well(&stage, &run).await?;
        up.stop().await
    })
    .await;
}

/// Makes the server refuse each write of the ledger as it does when a table cannot grow. A limit of the file system does not
/// do here: updates find room for as long as old versions of rows are removed.
async fn refuse_writes(owner: &mut PgConnection) -> Result<()> {
    owner
        .execute(
            "CREATE FUNCTION ledger_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; \
             END $$",
        )
        .await?;
    for table in [
        "etl_chunk",
        "etl_control",
        "etl_fence",
        "etl_process",
        "etl_watermark",
    ] {
        let trigger = format!(
            "CREATE TRIGGER ledger_is_full BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION ledger_is_full()"
        );
        owner.execute(AssertSqlSafe(trigger)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_source_out_of_memory_for_longer_than_all_attempts_costs_only_delay() {
    const MEGABYTE: u64 = 1 << 20;
    let server = Server::postgres().await.expect("a server can be started");
    let servers = Servers {
        source: server.url().expect("it has a URL"),
        ..Servers::shared()
    };
    let server = &server;
    on_servers(servers, |stage| async move {
        stage.sample(400, 1, 103).await?;
        // reading messages takes 64 MB, and little time: characters are not counted, and copied by the thousand
        stage
            .source
            .execute(
                "CREATE FUNCTION large() RETURNS boolean LANGUAGE plpgsql VOLATILE AS \
                     $$ BEGIN RETURN octet_length(repeat(repeat('x', 1024), 32 * 1024 + (random() * 9)::integer)) > 0; END $$; \
                 ALTER TABLE messages RENAME TO messages_at_rest; \
                 CREATE VIEW messages AS SELECT * FROM messages_at_rest WHERE (SELECT large())",
            )
            .await?;
        let up = stage.start(&["up"])?;
        let run = stage.ask_full("4").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'done') >= 2 FROM etl_chunk")
            .await?;
        server
            .limit("as", Some(server.address_space()? + 24 * MEGABYTE))
            .await?;
        stage.until_attempted_often().await?;
        until_status_says(&stage, "out of memory").await?;
        server.limit("as", None).await?;
        ends_well(&stage, &run).await?;

        // plans wait as well, those of the schedule and those that somebody asked for
        server
            .limit("as", Some(server.address_space()? + 24 * MEGABYTE))
            .await?;
        let due = "UPDATE etl_watermark SET next_due_at = now(), checked_at = NULL";
        stage.target.execute(due).await?;
        stage
            .until("SELECT bool_and(plan_error LIKE '%out of memory%') FROM etl_watermark")
            .await?;
        until_status_says(&stage, "not planned yet").await?;
        server.limit("as", None).await?;
        stage.target.execute(due).await?;
        stage
            .until("SELECT bool_and(checked_at IS NOT NULL AND plan_error IS NULL) FROM etl_watermark")
            .await?;
        let asked = stage.tidemark(&["sync", "--tenant", "1", "--json"]).await?;
        ensure!(asked.code == 0, "{asked:?}");
        ends_well(&stage, &asked.json()["run_id"].to_string()).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn servers_without_a_free_connection_are_waited_for_and_the_cause_is_shown() {
    const CAUSE: &str = "too many connections for role";
    on_stage(|stage| async move {
        stage.sample(120, 1, 107).await?;
        // source and target have one login here
        let reader = stage.reader_url().await?;
        let up = stage.start_with(&["up"], &[("TIDEMARK_SOURCE_URL", &reader)])?;
        let run = stage.ask_full("10").await?;
        stage
            .until("SELECT count(*) FILTER (WHERE status = 'done') >= 2 FROM etl_chunk")
            .await?;
        let limit = |limit: i32| format!("ALTER ROLE {} CONNECTION LIMIT {limit}", stage.login());
        stage.target.execute(AssertSqlSafe(limit(0))).await?;
        let end = async |side: &str| {
            sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2")
                .bind(stage.database(side))
                .bind(stage.login())
                .execute(&stage.target)
                .await
        };
        end("source").await?;
        stage
            .until("SELECT bool_or(status = 'pending' AND error LIKE '%too many connections for role%') FROM etl_chunk")
            .await?;
        end("target").await?;
        let status = stage.tidemark(&["status"]).await?;
        ensure!(status.code == 69 && status.stderr.contains(CAUSE), "{status:?}");
        stage.target.execute(AssertSqlSafe(limit(-1))).await?;
        stage.end_back_offs().await?;
        let ended = stage.tidemark(&["run", "watch", &run, "--json"]).await?;
        ensure!(ended.code == 0 && ended.json()["chunks"]["dead"] == 0, "{ended:?}");
        stage.assert_equal(&[1]).await?;
        up.stop().await
    })
    .await;
}

#[tokio::test]
async fn a_chunk_that_needs_more_temporary_files_than_its_source_allows_is_read_in_smaller_pieces() {
    on_stage(|stage| async move {
        stage.sample(200, 1, 109).await?;
        let reader = stage.reader_url().await?;
        let narrow = "ALTER ROLE {} SET work_mem = '64kB'; ALTER ROLE {} SET temp_file_limit = '192kB'; \
                      ALTER ROLE {} SET enable_indexscan = off; ALTER ROLE {} SET enable_bitmapscan = off";
        stage
            .source
            .execute(AssertSqlSafe(narrow.replace("{}", stage.login())))
            .await?;
        let answer = stage
            .tidemark_with(
                &["sync", "--local", "--json", "--tenant", "1", "--full"],
                &[("TIDEMARK_SOURCE_URL", &reader)],
            )
            .await?;
        ensure!(answer.code == 0, "{answer:?}");
        // the server counts at the end of a session
        let source = stage.database("source");
        stage
            .until_source(&format!(
                "SELECT temp_files > 0 FROM pg_stat_database WHERE datname = '{source}'"
            ))
            .await?;
        // the comparison reads the target with the same login
        let reset = format!("ALTER ROLE {} RESET ALL", stage.login());
        stage.source.execute(AssertSqlSafe(reset)).await?;
        ends_well(&stage, &answer.json()["run_id"].to_string()).await
    })
    .await;
}

#[tokio::test]
async fn a_broker_whose_alarm_blocks_publishers_costs_only_delay() {
    let broker = Server::rabbitmq().await.expect("a server can be started");
    let servers = Servers {
        amqp: broker.url().expect("it has a URL"),
        ..Servers::shared()
    };
    let management = std::fs::read_to_string(broker.path("management-url")).expect("it has an HTTP API");
    let (broker, management) = (&broker, management.trim());
    on_servers(servers, |stage| async move {
        stage.sample(200, 1, 113).await?;
        let fleet = stage.fleet(&["producer", "worker", "finalizer"])?;
        stage.until_consumed("chunks.bulk", 1).await?;
        let first = stage.ask_full("20").await?;
        ends_well(&stage, &first).await?;
        broker
            .ctl(&["set_vm_memory_high_watermark", "absolute", "1"])
            .await?;
        let run = stage.ask_full("20").await?;
        until_status_says(&stage, "no broker").await?;
        let settings = [("TIDEMARK_AMQP_MANAGEMENT_URL", management)];
        let doctor = stage.tidemark_with(&["doctor", "--json"], &settings).await?;
        ensure!(doctor.stdout.contains("publishers are blocked"), "{doctor:?}");
        broker
            .ctl(&["set_vm_memory_high_watermark", "absolute", "2GB"])
            .await?;
        ends_well(&stage, &run).await?;
        fleet.stop().await
    })
    .await;
}
