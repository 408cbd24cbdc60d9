//! The peak memory of a worker.

use anyhow::Result;
use sqlx::AssertSqlSafe;
use tidemark_benches::figures::{Case, Goal};

use crate::site::{Bench, Site, peak_memory, stop};

/// Messages of the largest conversation.
const MANY: i32 = 30_000;

pub async fn peaks(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        "memory",
        &format!("A worker's peak memory, {size} conversations"),
        "`tidemark worker`, one chunk at a time, over a full sync of the largest tenant: the kernel's VmHWM in MB of a million \
         bytes. The last line is a resync of one conversation with 30,000 messages of 100 characters.",
        "MB",
    );
    let source = bench.source(size).await?;
    for chunk_size in [100, 1000, 10_000] {
        let site = bench.fresh(&source).await?;
        let size = chunk_size.to_string();
        let peak = peak(
            &site,
            &["sync", "--tenant", "1", "--full", "--wait", "--chunk-size", &size],
        )
        .await?;
        let name = format!("chunks of {chunk_size}");
        case.add(&name, peak);
        case.goal(&name, Goal::AtMost(64.0));
    }
    let site = bench.fresh(&source).await?;
    let mut on_source = site.on_source().await?;
    let (id, last): (i32, i32) = sqlx::query_as(
        "SELECT (SELECT min(id) FROM conversations WHERE account_id = 1), (SELECT max(id) FROM messages)",
    )
    .fetch_one(&mut on_source)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "INSERT INTO messages (content, account_id, inbox_id, conversation_id, message_type, content_type, private, status, \
             sender_type, sender_id, created_at, updated_at) \
         SELECT repeat(md5(n::text), 3), c.account_id, c.inbox_id, c.id, 0, 0, false, 0, 'Contact', c.contact_id, \
             c.created_at + n * interval '1 s', c.created_at + n * interval '1 s' \
         FROM conversations c, generate_series(1, {MANY}) n WHERE c.id = {id}"
    )))
    .execute(&mut on_source)
    .await?;
    let peak = peak(
        &site,
        &["resync", "--tenant", "1", "--ids", &id.to_string(), "--wait"],
    )
    .await;
    // other cases measure on the same source
    sqlx::query("DELETE FROM messages WHERE id > $1")
        .bind(last)
        .execute(&mut on_source)
        .await?;
    case.add("one conversation of 30000 messages", peak?);
    case.goal("one conversation of 30000 messages", Goal::AtMost(64.0));
    Ok(case)
}

async fn peak(site: &Site, work: &[&str]) -> Result<f64> {
    let others = [site.start(&["producer"])?, site.start(&["finalizer"])?];
    let worker = site.start(&["worker", "--concurrency", "1"])?;
    site.until("SELECT count(*) = 3 FROM etl_process").await?;
    let outcome = site.run(work).await;
    let peak = peak_memory(&worker);
    stop(worker).await?;
    for process in others {
        stop(process).await?;
    }
    outcome?;
    peak
}
