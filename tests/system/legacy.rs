//! Importing the Python script's tenants, inboxes, watermarks and rows.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use crate::stage::{Stage, on_stage};

const FIXTURE: &str = include_str!("../fixtures/legacy.sql");
const TABLES: [&str; 4] = [
    "tenants",
    "inbox_tenant_mapping",
    "etl_control",
    "conversations_analytics",
];

/// Creates the script's tables in schema `legacy` of the target's database.
async fn make_legacy(target: &PgPool) -> Result<()> {
    let mut connection = target.acquire().await?;
    connection.execute("CREATE SCHEMA legacy").await?;
    connection.execute("SET search_path = legacy").await?;
    connection.execute(FIXTURE).await?;
    connection.execute("RESET search_path").await?;
    Ok(())
}

/// A digest of each table's rows.
async fn checksum(target: &PgPool, schema: &str, tables: &[&str]) -> Result<Vec<Option<String>>> {
    let mut sums = Vec::new();
    for table in tables {
        let statement =
            format!("SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {schema}.{table} t");
        sums.push(
            sqlx::query_scalar(AssertSqlSafe(statement))
                .fetch_one(target)
                .await?,
        );
    }
    Ok(sums)
}

/// A sample that only the script has synced. Its rows are old, and some are wrong. Returns the end of its last successful
/// run of tenant 1.
async fn with_script(stage: &Stage, conversations: u64) -> Result<DateTime<Utc>> {
    stage.sample(conversations, 2, 77).await?;
    stage.target.execute("TRUNCATE tenants CASCADE").await?;
    make_legacy(&stage.target).await?;
    let inboxes: Vec<(i32, i32, String)> =
        sqlx::query_as("SELECT id, account_id, name FROM inboxes ORDER BY id")
            .fetch_all(&stage.source)
            .await?;
    for (id, tenant, name) in inboxes {
        sqlx::query(
            "INSERT INTO legacy.inbox_tenant_mapping (inbox_id, tenant_id, inbox_name) VALUES ($1, $2, $3)",
        )
        .bind(id)
        .bind(tenant)
        .bind(name)
        .execute(&stage.target)
        .await?;
    }
    let rows: Vec<(i32, i32, i32, i32, NaiveDateTime)> = sqlx::query_as(
        "SELECT id, account_id, inbox_id, status, created_at FROM conversations ORDER BY id OFFSET 1",
    )
    .fetch_all(&stage.source)
    .await?;
    for (id, tenant, inbox, status, created_at) in rows {
        sqlx::query(
            "INSERT INTO legacy.conversations_analytics (tenant_id, conversation_id, inbox_id, status, contact_name, \
                 conversation_created_at, message_compiled, t_messages, user_message_ratio, conversation_uuid, etl_updated_at) \
             VALUES ($1, $2, $3, $4, repeat('x', 300), $5, '[{\"text\": \"old\"}]', NULL, 'NaN', 'no uuid', '2026-01-01')",
        )
        .bind(tenant)
        .bind(id)
        .bind(inbox)
        .bind(f64::from(status))
        .bind(created_at)
        .execute(&stage.target)
        .await?;
    }
    // two rows of one conversation, a conversation that the source has deleted, and an inbox without a tenant
    stage
        .target
        .execute(
            "INSERT INTO legacy.conversations_analytics (tenant_id, conversation_id, inbox_id, account_name, etl_updated_at) \
             SELECT tenant_id, conversation_id, inbox_id, 'the newer row', '2026-01-02' \
             FROM legacy.conversations_analytics WHERE tenant_id = 1 ORDER BY id LIMIT 1; \
             INSERT INTO legacy.conversations_analytics (tenant_id, conversation_id, inbox_id) \
             SELECT 1, 999999, min(inbox_id) FROM legacy.inbox_tenant_mapping WHERE tenant_id = 1; \
             INSERT INTO legacy.conversations_analytics (tenant_id, conversation_id, inbox_id) VALUES (1, 999998, 99999);",
        )
        .await?;
    // São Paulo is three hours behind UTC. Neither a later failed run counts, nor an older run with a later watermark.
    let end: DateTime<Utc> = sqlx::query_scalar("SELECT date_trunc('second', now()) - interval '2 hours'")
        .fetch_one(&stage.target)
        .await?;
    let local = end.naive_utc() - TimeDelta::hours(3);
    sqlx::query(
        "INSERT INTO legacy.etl_control (tenant_id, started_at, finished_at, status, watermark_end) VALUES \
         (1, $1 - interval '1 day', $1, 'success', $1 + interval '20 minutes'), (1, $1, $1, 'success', $1), \
         (1, $1, $1, 'success', NULL), (1, $1, $1, 'failed', $1 + interval '1 hour'), (2, $1, $1, 'failed', $1)",
    )
    .bind(local)
    .execute(&stage.target)
    .await?;
    Ok(end)
}

/// Inserts a message written at `at`, without touching its conversation.
async fn late_message(stage: &Stage, tenant: i32, at: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at) \
         SELECT 'late', account_id, inbox_id, id, 0, $2, $2 FROM conversations WHERE account_id = $1 ORDER BY id LIMIT 1",
    )
    .bind(tenant)
    .bind(at.naive_utc())
    .execute(&stage.source)
    .await?;
    Ok(())
}

const IMPORT: [&str; 6] = [
    "import-legacy",
    "--schema",
    "legacy",
    "--timezone",
    "America/Sao_Paulo",
    "--json",
];

async fn import(stage: &Stage, more: &[&str]) -> Result<Value> {
    let owner = stage.owner_url("target");
    let imported = stage
        .tidemark_with(
            &[&IMPORT[..], more].concat(),
            &[("TIDEMARK_LEGACY_URL", owner.as_str())],
        )
        .await?;
    ensure!(imported.code == 0, "{imported:?}");
    Ok(imported.json())
}

fn states(report: &Value) -> Vec<&str> {
    report["tenants"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tenant| tenant["state"].as_str())
        .collect()
}

#[tokio::test]
async fn an_import_needs_the_owner_of_the_old_tables_and_a_dry_run_adds_nothing() {
    on_stage(|stage| async move {
        with_script(&stage, 40).await?;
        let denied = stage.tidemark(&IMPORT).await?;
        ensure!(
            denied.code != 0 && denied.stderr.contains("as the owner of its tables"),
            "{denied:?}"
        );
        let dry = import(&stage, &["--dry-run"]).await?;
        ensure!(states(&dry) == ["skipped", "new", "new", "skipped"], "{dry:#}");
        let tenants: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants")
            .fetch_one(&stage.target)
            .await?;
        ensure!(tenants == 0, "a dry run has added {tenants} tenants");
        Ok(())
    })
    .await;
}

/// Asserts how the script's 600 rows were converted: none counts as read from the source, and of two rows of one
/// conversation the newer one was imported.
async fn assert_converted(stage: &Stage) -> Result<()> {
    let (rows, unproven, newest, cut, unmapped): (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE source_epoch = 0 AND row_hash = decode(repeat('00', 16), 'hex')), \
                count(*) FILTER (WHERE account_name = 'the newer row'), \
                count(*) FILTER (WHERE length(contact_name) = 255 AND user_message_ratio = 0 AND t_messages = 0), \
                count(*) FILTER (WHERE NOT EXISTS (SELECT FROM inbox_tenant_mapping m \
                                 WHERE m.inbox_id = a.inbox_id AND m.tenant_id = a.tenant_id)) \
         FROM conversations_analytics a",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(
        (rows, unproven, newest, cut, unmapped) == (600, 600, 1, 598, 0),
        "{rows} {unproven} {newest} {cut} {unmapped}"
    );
    Ok(())
}

const IMPORTED: [&str; 5] = [
    "tenants",
    "inbox_tenant_mapping",
    "etl_watermark",
    "etl_watermark_audit",
    "conversations_analytics",
];

#[tokio::test]
async fn the_scripts_data_is_imported_unchanged_and_then_read_again() {
    on_stage(|stage| async move {
        let end = with_script(&stage, 600).await?;
        let before = checksum(&stage.target, "legacy", &TABLES).await?;
        let report = import(&stage, &[]).await?;
        ensure!(report["tenants"][1]["rows_left"] == 1, "{report:#}");
        let ignored = report["ignored"].as_array().context("ignored")?;
        ensure!(
            ignored.iter().any(|column| column["column"] == "is_lead"),
            "{report:#}"
        );
        let watermarks: Vec<Option<DateTime<Utc>>> =
            sqlx::query_scalar("SELECT watermark FROM etl_watermark ORDER BY tenant_id")
                .fetch_all(&stage.target)
                .await?;
        ensure!(
            watermarks == [Some(end - TimeDelta::hours(1)), None],
            "{watermarks:?}"
        );
        assert_converted(&stage).await?;

        let once = checksum(&stage.target, "public", &IMPORTED).await?;
        let again = import(&stage, &[]).await?;
        ensure!(states(&again)[1] == "exists", "{again:#}");
        ensure!(
            checksum(&stage.target, "public", &IMPORTED).await? == once,
            "the second import has changed something"
        );
        assert_read_anew(&stage, end).await?;
        ensure!(
            checksum(&stage.target, "legacy", &TABLES).await? == before,
            "the old tables have changed"
        );
        Ok(())
    })
    .await;
}

/// The tenant with a watermark goes on an hour before the script's `end`, the other one is synced in full, and every row is read.
async fn assert_read_anew(stage: &Stage, end: DateTime<Utc>) -> Result<()> {
    // written within the hour, and long before it
    late_message(stage, 1, end - TimeDelta::minutes(30)).await?;
    late_message(stage, 1, end - TimeDelta::days(3)).await?;
    let run = stage.sync_local(&["--tenant", "1"]).await?;
    ensure!(
        run["type"] == "incremental" && run["signals"]["messages"].as_i64() >= Some(1),
        "{run:#}"
    );
    let start: Option<DateTime<Utc>> = run["watermark_start"].as_str().map(str::parse).transpose()?;
    ensure!(start == Some(end - TimeDelta::hours(1)), "{run:#}");
    let run = stage.sync_local(&["--tenant", "2"]).await?;
    ensure!(run["type"] == "full", "{run:#}");
    stage.assert_equal(&[1, 2]).await?;
    stage.assert_proven(&[1], &[]).await?;
    let unread: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM conversations_analytics WHERE source_epoch = 0 AND source_deleted_at IS NULL",
    )
    .fetch_one(&stage.target)
    .await?;
    ensure!(unread == 0, "{unread} rows were never read from the source");
    Ok(())
}

#[tokio::test]
async fn an_import_has_one_backfill_and_names_that_its_rows_lack_are_no_renames() {
    on_stage(|stage| async move {
        with_script(&stage, 600).await?;
        let owner = stage.owner_url("target");
        let from = [("TIDEMARK_LEGACY_URL", owner.as_str())];
        let imported = stage.tidemark_with(&IMPORT, &from).await?;
        ensure!(imported.code == 0, "{imported:?}");
        // every login updates a user; the script stored few names and cut some of them
        for table in ["users", "teams", "inboxes", "accounts"] {
            let touch = format!("UPDATE {table} SET updated_at = now() AT TIME ZONE 'UTC'");
            stage.source.execute(AssertSqlSafe(touch)).await?;
        }
        let first = stage.sync_local(&["--tenant", "1"]).await?;
        ensure!(first["type"] == "incremental", "{first:#}");
        stage.sync_local(&["--tenant", "1"]).await?;
        let backfills = "SELECT request #>> '{selection,kind}' FROM etl_control WHERE type = 'backfill' ORDER BY id";
        let asked: Vec<String> = sqlx::query_scalar(backfills).fetch_all(&stage.target).await?;
        ensure!(asked == ["inboxes"], "{asked:?} for the history of the import");
        stage.assert_equal(&[1]).await?;

        // a name that changes from now on is a rename
        stage
            .source
            .execute("UPDATE teams SET name = name || ' II', updated_at = now() AT TIME ZONE 'UTC' WHERE account_id = 1")
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let asked: Vec<String> = sqlx::query_scalar(backfills).fetch_all(&stage.target).await?;
        ensure!(asked == ["inboxes", "renamed"], "{asked:?} for a rename");
        Ok(())
    })
    .await;
}

/// Trap 21: to a transaction that began earlier, a rewritten table looks empty.
#[tokio::test]
async fn an_import_beside_a_rewrite_of_the_old_rows_brings_all_of_them_or_says_why_not() {
    on_stage(|stage| async move {
        with_script(&stage, 600).await?;
        let owner = stage.owner_url("target");
        let from = [("TIDEMARK_LEGACY_URL", owner.as_str())];
        let mut rewrite = PgConnection::connect(&owner).await?;
        rewrite
            .execute(
                "BEGIN; ALTER TABLE legacy.conversations_analytics ALTER COLUMN conversation_id TYPE numeric",
            )
            .await?;
        let import = stage.tidemark_with(&IMPORT, &from);
        tokio::pin!(import);
        let somebody_waits = stage.until(
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE NOT l.granted AND a.datname = current_database())",
        );
        let early = tokio::select! {
            answer = &mut import => Some(answer?),
            waits = somebody_waits => { waits?; None }
        };
        rewrite.execute("COMMIT").await?;
        rewrite.close().await?;
        let answer = match early {
            Some(answer) => answer,
            None => import.await?,
        };
        let rows = "SELECT count(*) FROM conversations_analytics";
        let there: i64 = sqlx::query_scalar(rows).fetch_one(&stage.target).await?;
        let is_refused = answer.code != 0 && answer.stderr.contains("another session changes a table");
        ensure!(
            there == 600 || (there == 0 && is_refused),
            "{there} rows: {answer:?}"
        );
        let again = stage.tidemark_with(&IMPORT, &from).await?;
        let there: i64 = sqlx::query_scalar(rows).fetch_one(&stage.target).await?;
        ensure!(again.code == 0 && there == 600, "{there} rows: {again:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn tables_in_the_way_are_named_and_left_alone_until_they_have_moved() {
    on_stage(|stage| async move {
        // in this database new tables go to the schema of the script's tables
        let mut connection = stage.target.acquire().await?;
        connection.execute("CREATE SCHEMA taken; SET search_path = taken").await?;
        connection.execute(FIXTURE).await?;
        connection.execute("RESET search_path").await?;
        let taken = |url: String| format!("{url}?options=-csearch_path%3Dtaken");
        let (owner, login) = (taken(stage.owner_url("target")), taken(stage.url("target")));
        let as_owner = [("TIDEMARK_DATABASE_URL", owner.as_str())];
        let settings = [
            ("TIDEMARK_DATABASE_URL", login.as_str()),
            ("TIDEMARK_LEGACY_URL", owner.as_str()),
        ];
        let refused = stage.tidemark_with(&["migrate"], &as_owner).await?;
        ensure!(
            refused.code == 78 && refused.stderr.contains("ALTER TABLE tenants SET SCHEMA legacy;"),
            "{refused:?}"
        );
        let there: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'taken'::regnamespace AND relkind = 'r' ORDER BY 1",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(there.len() == TABLES.len(), "{there:?}");

        connection.execute("CREATE SCHEMA legacy").await?;
        for table in TABLES {
            let moved = format!("ALTER TABLE taken.{table} SET SCHEMA legacy");
            connection.execute(AssertSqlSafe(moved)).await?;
        }
        let migrated = stage.tidemark_with(&["migrate"], &as_owner).await?;
        ensure!(migrated.code == 0, "{migrated:?}");
        connection.execute("GRANT USAGE ON SCHEMA taken TO etl_service").await?;
        let imported = stage.tidemark_with(&IMPORT, &settings).await?;
        ensure!(imported.code == 0, "{imported:?}");
        let slugs: Vec<String> =
            sqlx::query_scalar("SELECT slug FROM taken.tenants ORDER BY id").fetch_all(&stage.target).await?;
        ensure!(slugs == ["first", "second"], "{slugs:?}");

        for (schema, told) in [("nowhere", "table tenants"), ("taken", "Tidemark's own")] {
            let refused = stage
                .tidemark_with(&["import-legacy", "--schema", schema], &settings)
                .await?;
            ensure!(refused.code == 78 && refused.stderr.contains(told), "{refused:?}");
        }
        // another tenant has this id
        connection.execute("UPDATE taken.tenants SET slug = 'renamed' WHERE id = 2").await?;
        let clash = stage.tidemark_with(&IMPORT, &settings).await?;
        ensure!(clash.code == 1 && clash.json()["tenants"][2]["state"] == "clash", "{clash:?}");
        Ok(())
    })
    .await;
}
