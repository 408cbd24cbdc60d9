//! The target partitioned by tenant, with the SQL of docs/scaling.md. For that, every key and every statement must
//! have the tenant.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};

use crate::stage::{Stage, on_stage};

const SCALING: &str = include_str!("../../docs/scaling.md");

/// Indexes, policies, rights and checks of the target, described independently of its storage.
const SHAPE: &str = include_str!("partitioned/shape.sql");

/// The SQL block after this heading.
fn documented(heading: &str) -> Result<&'static str> {
    let (_, after) = SCALING.split_once(heading).context("the heading is there")?;
    let (_, block) = after.split_once("```sql\n").context("a block begins")?;
    Ok(block.split_once("```").context("the block ends")?.0)
}

async fn shape(stage: &Stage) -> Result<String> {
    Ok(sqlx::query_scalar(SHAPE).fetch_one(&stage.target).await?)
}

/// Partitions that were read or written. The partition of the tenant that processes use for their probe at the start
/// is left out.
async fn touched(stage: &Stage) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT relname::text FROM pg_stat_user_tables WHERE relname ~ '^conversations_analytics_[0-9]+$' \
           AND seq_scan + coalesce(idx_scan, 0) + n_tup_ins > 0 \
           AND NOT satisfies_hash_partition('conversations_analytics'::regclass, 16, \
                                            substring(relname FROM '[0-9]+$')::integer, 2147483647) ORDER BY 1",
    )
    .fetch_all(&stage.target)
    .await?)
}

#[tokio::test]
async fn the_documented_partitions_take_syncs_resyncs_tombstones_and_verify() {
    on_stage(|stage| async move {
        stage.sample(150, 2, 53).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let before = shape(&stage).await?;
        let (change, vacuum) = documented("## Partitions by tenant")?
            .split_once("VACUUM")
            .context("it ends with a vacuum")?;
        let mut operator = PgConnection::connect(&stage.owner_url("target")).await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut operator).await?;
        raw_sql(change).execute(&mut operator).await?;
        raw_sql(AssertSqlSafe(format!("VACUUM{vacuum}"))).execute(&mut operator).await?;
        operator.close().await?;
        // a session reports its statistics when it ends
        stage
            .until(&format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})"))
            .await?;
        let after = shape(&stage).await?;
        ensure!(before == after, "the text is not that of the migrations any more:\n{before}\n{after}");
        // the migrations that make and drop indexes of the table, back and again
        for args in [&["migrate", "--down-to", "20261129232600"][..], &["migrate"]] {
            let migrated = stage.tidemark(args).await?;
            ensure!(migrated.code == 0, "{args:?}: {migrated:?}");
        }
        let again = shape(&stage).await?;
        ensure!(before == again, "the migrations make something else of partitions:\n{before}\n{again}");
        // the digests of contacts went with their column
        stage.sync_local(&["--tenant", "1", "--full"]).await?;
        sqlx::query("SELECT pg_stat_reset()").execute(&stage.target).await?;

        stage.sync_local(&["--tenant", "2"]).await?;
        let first = stage.sync_local(&["--tenant", "1", "--full"]).await?;
        ensure!(first["records"]["inserted"] == 0 && first["records"]["updated"] == 0, "{first:#}");
        stage
            .source
            .execute("UPDATE conversations SET priority = 3, updated_at = now() AT TIME ZONE 'UTC' WHERE id % 3 = 0")
            .await?;
        stage.source.execute("DELETE FROM conversations WHERE id % 10 = 1").await?;
        for tenant in ["1", "2"] {
            let run = stage.sync_local(&["--tenant", tenant]).await?;
            let records = &run["records"];
            ensure!(
                records["inserted"] == 0 && records["updated"].as_i64() > Some(0) && records["deleted"].as_i64() > Some(0),
                "{run:#}"
            );
        }
        let up = stage.start(&["up"])?;
        let again = stage
            .tidemark(&["resync", "--tenant", "1", "--all-rows", "--wait", "--json"])
            .await?;
        ensure!(again.code == 0 && again.json()["records"]["updated"] == 0, "{again:?}");
        up.stop().await?;
        stage.assert_equal(&[1, 2]).await?;

        // before the next query, which reads every partition
        let touched = touched(&stage).await?;
        let theirs: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT tableoid::regclass::text FROM conversations_analytics ORDER BY 1")
                .fetch_all(&stage.target)
                .await?;
        let others: Vec<_> = touched.into_iter().filter(|name| !theirs.contains(name)).collect();
        ensure!(others.is_empty(), "partitions of no tenant are touched: {others:?} beside {theirs:?}");

        // the service role reaches rows only through the table and its policies
        let mut tx = stage.target.begin().await?;
        tx.execute("SET LOCAL ROLE etl_service").await?;
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations_analytics").fetch_one(&mut *tx).await?;
        ensure!(seen == 0, "{seen} rows are visible without a tenant");
        let around = format!("SELECT count(*) FROM {}", theirs[0]);
        ensure!(tx.execute(AssertSqlSafe(around)).await.is_err(), "a partition can be read directly");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn every_key_of_the_target_has_the_tenant_and_nothing_refers_to_it() {
    on_stage(|stage| async move {
        let without: Vec<String> = sqlx::query_scalar(
            "SELECT indexrelid::regclass::text FROM pg_index i \
             WHERE indrelid = 'conversations_analytics'::regclass AND NOT EXISTS ( \
                 SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'tenant_id' AND attnum = i.indkey[0]) \
             UNION ALL SELECT conname::text FROM pg_constraint \
             WHERE contype = 'f' AND 'conversations_analytics'::regclass IN (conrelid, confrelid)",
        )
        .fetch_all(&stage.target)
        .await?;
        ensure!(without.is_empty(), "{without:?}");
        Ok(())
    })
    .await;
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "rs" || end == "sql") {
            found.push(path);
        }
    }
    Ok(())
}

/// The statements of a file that read or change rows of the target, each from the table's name to the end. Inserts
/// are left out: the column is NOT NULL, so they have a tenant in every row.
fn on_target(text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("--"))
        .collect();
    let code = code.join(" ");
    let mut statements = Vec::new();
    for verb in ["FROM", "JOIN", "UPDATE"] {
        for (at, _) in code.match_indices(&format!("{verb} conversations_analytics")) {
            let rest = &code[at + verb.len() + " conversations_analytics".len()..];
            if !rest.starts_with('_') {
                statements.push(rest.split(';').next().unwrap_or(rest).to_owned());
            }
        }
    }
    statements
}

#[test]
fn every_statement_on_the_target_names_its_tenant() {
    let named = [
        "tenant_id = $",
        "(tenant_id, conversation_id)",
        "tenant_id = s.tenant_id",
    ];
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"),
        &mut files,
    )
    .expect("the crates can be read");
    let mut count = 0;
    // these check whether rows of other tenants can be reached
    files.retain(|file| !file.ends_with("ledger/src/isolation.rs"));
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file can be read");
        for statement in on_target(&text) {
            count += 1;
            assert!(
                named.iter().any(|tenant| statement.contains(tenant)),
                "{}: …{statement}",
                file.display()
            );
        }
    }
    assert!(count > 10, "only {count} statements are found");
    assert_eq!(
        on_target("const A: &str = \"SELECT 1 FROM conversations_analytics WHERE inbox_id = 1\";").len(),
        1
    );
}
