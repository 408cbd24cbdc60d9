//! The cost of the ledger's statements with a long history: finding open work must not read finished work.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tidemark_ledger::all_statements;

use crate::stage::on_stage;

/// Rows of history: with so many, PostgreSQL scans a whole table only if it has no better plan.
const HISTORY: &str = include_str!("plans/history.sql");
/// Rows of `etl_chunk` or `etl_control` that one statement may touch. A tenth of them are open.
const MOST_ROWS: f64 = 2_000.0;

/// The program's statement of this name that contains `part`.
fn statement(name: &str, part: &str) -> Result<&'static str> {
    let found: Vec<&str> = all_statements()
        .filter(|(its_name, text)| *its_name == name && text.contains(part))
        .map(|(_, text)| text)
        .collect();
    ensure!(
        found.len() == 1,
        "{} statements are called {name} and contain {part:?}",
        found.len()
    );
    Ok(found[0])
}

#[tokio::test]
async fn finding_open_work_costs_what_is_open_and_not_what_is_done() {
    on_stage(|stage| async move {
        for tenant in 1..=20 {
            stage.tenant(tenant, "UTC", &[tenant]).await?;
        }
        stage.target.execute(HISTORY).await?;
        let mut db = stage.target.acquire().await?;
        db.execute("ANALYZE etl_chunk, etl_control, tenants, etl_watermark")
            .await?;
        let all_types = "ARRAY['incremental','full','resync','backfill','repair','verify']::etl_run_type[]";
        let queries = [
            (
                "finalizer's query",
                statement("LOCK_COMPLETE", "etl_control")?,
                "(20, NULL, '{}')".to_owned(),
            ),
            (
                "status",
                statement("LIST", "FROM tenants t JOIN etl_watermark")?,
                String::new(),
            ),
            ("fleet's chunks", statement("CHUNKS", "etl_chunk")?, String::new()),
            (
                "rescue of lost chunks",
                statement("RESCUE_LOST", "etl_chunk")?,
                "(5)".to_owned(),
            ),
            (
                "rescue of queued chunks",
                statement("RESCUE_QUEUED", "etl_chunk")?,
                "(60)".to_owned(),
            ),
            (
                "open runs",
                statement("CLAIM_REQUESTED", "etl_control")?,
                "('test', 15, NULL)".to_owned(),
            ),
            (
                "run list --status failed",
                statement("LIST_ENDED_BADLY", "etl_control")?,
                format!("(NULL, {all_types}, '{{failed}}', NULL, NULL, 20, 9223372036854775807)"),
            ),
            (
                "run list --status running",
                statement("LIST_UNFINISHED", "etl_control")?,
                format!("(NULL, {all_types}, '{{running}}', NULL, NULL, 20, 9223372036854775807)"),
            ),
            (
                "run list --tenant 7",
                statement("LIST_OF_TENANT", "SELECT id FROM etl_control")?,
                format!("(7, {all_types}, '{{success,failed}}', NULL, NULL, 20, 9223372036854775807)"),
            ),
            (
                "run list --type full",
                statement("LIST_OF_RARE_TYPES", "etl_control")?,
                "(NULL, '{full}', '{running,success,failed}', NULL, NULL, 100, 9223372036854775807)"
                    .to_owned(),
            ),
            (
                "run list",
                statement("LIST_ALL", "FROM etl_control")?,
                format!("(NULL, {all_types}, '{{success,failed}}', NULL, NULL, 20, 9223372036854775807)"),
            ),
            (
                "chunk list --status dead",
                statement("LIST_DEAD", "etl_chunk")?,
                "(NULL, '{dead}', NULL, NULL, 100, 9223372036854775807, 0)".to_owned(),
            ),
            (
                "chunk list --status running",
                statement("LIST_UNFINISHED", "etl_chunk")?,
                "(NULL, '{running}', NULL, NULL, 100, 9223372036854775807, 0)".to_owned(),
            ),
            (
                "chunk list --troubled",
                statement("LIST_TROUBLED", "etl_chunk")?,
                "(NULL, '{done,pending,dead}', NULL, NULL, 100, 9223372036854775807, 0)".to_owned(),
            ),
            (
                "chunk list --run 5",
                statement("LIST_OF_RUN", "etl_chunk")?,
                "(5, '{done}', NULL, NULL, 100, 9223372036854775807, 0)".to_owned(),
            ),
            (
                "chunk list --tenant 7",
                statement("LIST_OF_TENANT", "FROM etl_control r JOIN etl_chunk c")?,
                "(NULL, '{done}', 7, NULL, 100, 9223372036854775807, 0)".to_owned(),
            ),
            (
                "chunk list --status dead --after 6/1",
                statement("LIST_DEAD", "etl_chunk")?,
                "(NULL, '{dead}', NULL, NULL, 100, 6, 1)".to_owned(),
            ),
            (
                "run list --before 300",
                statement("LIST_ALL", "FROM etl_control")?,
                format!("(NULL, {all_types}, '{{success,failed}}', NULL, NULL, 20, 300)"),
            ),
            (
                "run list --status failed --before 40",
                statement("LIST_ENDED_BADLY", "etl_control")?,
                format!("(NULL, {all_types}, '{{failed}}', NULL, NULL, 20, 40)"),
            ),
            (
                "chunk list",
                statement("LIST_ALL", "etl_chunk")?,
                "(NULL, '{done,dead}', NULL, NULL, 100, 9223372036854775807, 0)".to_owned(),
            ),
        ];
        let mut faults = Vec::new();
        for (number, (query, text, arguments)) in queries.into_iter().enumerate() {
            let name = format!("look_{number}");
            db.execute(AssertSqlSafe(format!("PREPARE {name} AS {text}")))
                .await
                .context(query)?;
            for mode in ["force_custom_plan", "force_generic_plan"] {
                let plan = explain(&mut db, mode, &format!("{name} {arguments}"))
                    .await
                    .context(query)?;
                let (scans, rows) = cost(&plan);
                let most_rows = match query {
                    // it sorts the chunks of the newest run, as many as the run has
                    "chunk list" => f64::INFINITY,
                    // at most the tenant's own history
                    "chunk list --tenant 7" => MOST_ROWS * 4.0,
                    _ => MOST_ROWS,
                };
                if !scans.is_empty() || rows > most_rows {
                    faults.push(format!(
                        "{query} ({mode}): {rows} rows, sequential scans of {scans:?}"
                    ));
                }
            }
        }
        ensure!(faults.is_empty(), "{faults:#?}");
        Ok(())
    })
    .await;
}

/// Runs a prepared statement, rolls it back, and returns how it was executed.
async fn explain(db: &mut PgConnection, mode: &str, call: &str) -> Result<Value> {
    db.execute("BEGIN").await?;
    db.execute(AssertSqlSafe(format!("SET LOCAL plan_cache_mode = {mode}")))
        .await?;
    let plan = sqlx::query_scalar(AssertSqlSafe(format!(
        "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {call}"
    )))
    .persistent(false)
    .fetch_one(&mut *db)
    .await;
    db.execute("ROLLBACK").await?;
    Ok(plan?)
}

/// Which of `etl_control` and `etl_chunk` are scanned from end to end, and how many rows of them are touched.
fn cost(plan: &Value) -> (Vec<String>, f64) {
    let (mut scans, mut rows) = (Vec::new(), 0.0);
    let mut nodes = vec![&plan[0]["Plan"]];
    while let Some(node) = nodes.pop() {
        let relation = node["Relation Name"].as_str().unwrap_or_default();
        if ["etl_chunk", "etl_control"].contains(&relation) {
            if node["Node Type"] == "Seq Scan" {
                scans.push(relation.to_owned());
            }
            let number = |key: &str| node[key].as_f64().unwrap_or_default();
            rows += (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
        }
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
    }
    (scans, rows)
}
