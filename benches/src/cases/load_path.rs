//! Parts of a sync alone: ways to stage rows, and the transform.

use std::time::Instant;

use anyhow::Result;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tidemark_benches::figures::Case;
use tidemark_benches::rows::{samples, tenant};
use tidemark_worker::row::encode::CopyEncoder;

use super::psql::Floor;
use crate::site::{Bench, Site, psql};

pub async fn measure(bench: &mut Bench, size: u64) -> Result<Vec<Case>> {
    let source = bench.source(size).await?;
    let site = bench.fresh(&source).await?;
    site.sync(&["--local", "--full"]).await?;
    let floor = Floor::prepare(&site).await?;
    let mut staging = Case::new(
        &format!("load-{size}"),
        &format!("Staging and upserting finished rows, {size} conversations"),
        "The largest tenant's rows, by psql in one go, into an unlogged table and from there into an empty one with the \
         target's indexes.",
        "s",
    )
    .against("stage by binary COPY, lz4");
    let text = floor.text_file(1_000_000_000).await?;
    for _ in 0..bench.rounds {
        floor.empty("load").await?;
        staging.add(
            "stage by binary COPY, lz4",
            floor.stage("load", "SET default_toast_compression = lz4").await?,
        );
        staging.add("upsert into an empty table", floor.upsert("load").await?);
        staging.add("upsert over the same rows", floor.upsert("load").await?);
        floor.empty("load").await?;
        // the column's own compression would take precedence over the session's
        let pglz = "ALTER TABLE bench_load_staging ALTER message_compiled SET COMPRESSION pglz";
        staging.add("stage by binary COPY, pglz", floor.stage("load", pglz).await?);
        floor.empty("load").await?;
        let copy = format!("\\copy bench_load_staging FROM '{}'", text.display());
        staging.add("stage by text COPY, lz4", psql(&site.target, &[copy]).await?);
    }
    std::fs::remove_file(text)?;

    let mut ways = Case::new(
        &format!("batches-{size}"),
        &format!("Ways to upsert 10,000 finished rows, {size} conversations"),
        "Into an empty table with the target's indexes, from one session, in batches of so many rows, each committed.",
        "s",
    )
    .against("COPY, batches of 1000");
    for _ in 0..bench.rounds {
        for batch in [500, 1000, 2000, 5000] {
            floor.empty("load").await?;
            ways.add(&format!("COPY, batches of {batch}"), by_copy(&site, batch).await?);
        }
        for batch in [500, 1000, 2000] {
            floor.empty("load").await?;
            ways.add(
                &format!("UNNEST, batches of {batch}"),
                by_unnest(&site, batch).await?,
            );
        }
    }
    Ok(vec![staging, ways, transform()])
}

const ROWS: i64 = 10_000;

/// Loads by binary COPY into a temporary table, and one statement.
async fn by_copy(site: &Site, batch: i64) -> Result<f64> {
    let mut target = site.on_target().await?;
    let mut parts = Vec::new();
    for offset in (0..ROWS).step_by(usize::try_from(batch)?) {
        let statement = format!(
            "COPY (SELECT * FROM conversations_analytics WHERE tenant_id = 1 ORDER BY conversation_id \
             LIMIT {batch} OFFSET {offset}) TO STDOUT (FORMAT binary)"
        );
        parts.push(collect(&mut target, &statement).await?);
    }
    sqlx::raw_sql(
        "CREATE TEMPORARY TABLE staged (LIKE conversations_analytics INCLUDING COMPRESSION) ON COMMIT DELETE ROWS",
    )
    .execute(&mut target)
    .await?;
    let begun = Instant::now();
    for part in parts {
        let mut tx = target.begin().await?;
        let mut copy = tx.copy_in_raw("COPY staged FROM STDIN (FORMAT binary)").await?;
        copy.send(part).await?;
        copy.finish().await?;
        sqlx::query(
            "INSERT INTO bench_load SELECT * FROM staged ON CONFLICT (tenant_id, conversation_id) DO UPDATE \
             SET row_hash = EXCLUDED.row_hash",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn collect(target: &mut PgConnection, statement: &str) -> Result<Vec<u8>> {
    let mut part = Vec::new();
    let mut stream = target.copy_out_raw(statement).await?;
    while let Some(bytes) = stream.try_next().await? {
        part.extend_from_slice(&bytes);
    }
    Ok(part)
}

/// Loads by one array for each column, which the server unnests. Columns that are arrays themselves stay empty.
async fn by_unnest(site: &Site, batch: i64) -> Result<f64> {
    let mut target = site.on_target().await?;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT quote_ident(attname), format_type(atttypid, NULL) FROM pg_attribute JOIN pg_type t ON t.oid = atttypid \
         WHERE attrelid = 'conversations_analytics'::regclass AND attnum > 0 AND NOT attisdropped \
               AND t.typcategory <> 'A' ORDER BY attnum",
    )
    .fetch_all(&mut target)
    .await?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let arrays: Vec<String> = names
        .iter()
        .map(|name| format!("array_agg({name})::text"))
        .collect();
    let arrays = arrays.join(", ");
    let mut parts = Vec::new();
    for offset in (0..ROWS).step_by(usize::try_from(batch)?) {
        let statement = format!(
            "SELECT {arrays} FROM (SELECT * FROM conversations_analytics WHERE tenant_id = 1 ORDER BY conversation_id \
             LIMIT {batch} OFFSET {offset}) r"
        );
        let row = sqlx::query(AssertSqlSafe(statement))
            .fetch_one(&mut target)
            .await?;
        let values: Result<Vec<Option<String>>, _> =
            (0..names.len()).map(|column| row.try_get(column)).collect();
        parts.push(values?);
    }
    let parameters: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, (_, of))| format!("${}::text::{of}[]", index + 1))
        .collect();
    let insert = format!(
        "INSERT INTO bench_load ({names}) SELECT * FROM unnest({}) ON CONFLICT (tenant_id, conversation_id) DO UPDATE \
         SET row_hash = EXCLUDED.row_hash",
        parameters.join(", "),
        names = names.join(", "),
    );
    let begun = Instant::now();
    for part in parts {
        let mut query = sqlx::query(AssertSqlSafe(insert.as_str()));
        for value in part {
            query = query.bind(value);
        }
        query.execute(&mut target).await?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Rows a second on one core.
fn transform() -> Case {
    let mut case = Case::new(
        "transform",
        "Transform and encode alone",
        "10,000 conversations of 1 to 15 messages on one core, without a server; `cargo bench -p tidemark-benches` has \
         allocations too.",
        "rows/s",
    );
    let (samples, tenant) = (samples(10_000), tenant());
    let mut encoder = CopyEncoder::new();
    for _ in 0..5 {
        encoder.clear();
        let begun = Instant::now();
        for sample in &samples {
            sample.encode(&tenant, &mut encoder);
        }
        case.add(
            "transformed and encoded",
            10_000.0 / begun.elapsed().as_secs_f64(),
        );
    }
    case
}
