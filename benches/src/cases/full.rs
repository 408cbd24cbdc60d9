//! Full syncs of one tenant into an empty target.

use anyhow::Result;
use tidemark_benches::figures::{Case, Goal};

use super::psql::Floor;
use crate::site::{Bench, Site, Synced, stop};

const FLOOR: &str = "floor: psql, one step after the other";
const OLD_WAY: &str = "old way: LIMIT and OFFSET over the view, row by row";
/// Below this size, starting and planning take a large part of the time.
const GOALS_FROM: u64 = 200_000;
const LATERAL: &str = "psql with the LATERAL query";

/// Reads the tables: in one process, and with a fleet over RabbitMQ.
pub async fn tables(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        &format!("full-{size}"),
        &format!("Full sync from tables, {size} conversations"),
        "",
        "s",
    )
    .against(FLOOR);
    let source = bench.source(size).await?;
    // the first sync warms the servers, and provides the rows for psql
    let site = bench.fresh(&source).await?;
    let first = site.sync(&["--local", "--full"]).await?;
    let rows = first.records["extracted"].as_u64().unwrap_or_default();
    case.about = format!(
        "The largest tenant's {rows} conversations into an empty target; {} rounds, each in turn. The run's own time, from its \
         request to its end.",
        bench.rounds
    );
    let mut old_way = None;
    for round in 0..bench.rounds {
        let floor = Floor::prepare(&site).await?;
        case.add(FLOOR, floor.serial().await?);
        if round == 0 {
            old_way = Some(floor.old_way(rows, 10_000).await?);
        }
        drop(floor);
        for workers in [1, 2, 4] {
            let site = bench.fresh(&source).await?;
            case.add(
                &format!("--local, {workers} workers"),
                local(&site, workers).await?,
            );
            let site = bench.fresh(&source).await?;
            case.add(
                &format!("RabbitMQ, {workers} workers"),
                fleet(&site, workers).await?.run,
            );
        }
    }
    if let Some(old_way) = old_way {
        case.add(OLD_WAY, old_way);
    }
    if size < GOALS_FROM {
        return Ok(case);
    }
    case.goal("--local, 2 workers", Goal::RatioAtMost(1.0));
    case.goal("RabbitMQ, 2 workers", Goal::RatioAtMost(1.05));
    case.goal(
        OLD_WAY,
        Goal::Times {
            of: "--local, 2 workers".to_owned(),
            at_least: 25.0,
        },
    );
    Ok(case)
}

/// Reads the view.
pub async fn view(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        &format!("view-{size}"),
        &format!("Full sync through the view, {size} conversations"),
        "The largest tenant into an empty target, 2 workers; psql stages and upserts the view's own columns, fewer than \
         Tidemark's. The gain over the plain view is the query's, which asks for one conversation at a time.",
        "s",
    )
    .against(LATERAL);
    let source = bench.source(size).await?;
    let viewed = |site: &Site| {
        site.with("TIDEMARK_SOURCE_MODE", "view")
            .with("TIDEMARK_SOURCE_VIEW", "vw_conversations_analytics_final")
    };
    let site = viewed(&bench.fresh(&source).await?);
    site.sync(&["--local", "--full"]).await?;
    for round in 0..bench.rounds {
        let floor = Floor::prepare(&site).await?;
        case.add(LATERAL, floor.lateral().await?);
        if round == 0 {
            case.add("psql with the view as it is", floor.plain_view().await?);
        }
        drop(floor);
        let site = viewed(&bench.fresh(&source).await?);
        case.add("--local, 2 workers", local(&site, 2).await?);
    }
    case.goal("--local, 2 workers", Goal::RatioAtMost(1.0));
    Ok(case)
}

async fn local(site: &Site, workers: u16) -> Result<f64> {
    let site = site.with("TIDEMARK_WORKER_CONCURRENCY", &workers.to_string());
    Ok(site.sync(&["--local", "--full"]).await?.run)
}

/// Starts a producer, a finalizer and as many workers with one chunk at a time, and syncs.
pub async fn fleet(site: &Site, workers: u16) -> Result<Synced> {
    let mut processes = vec![site.start(&["producer"])?, site.start(&["finalizer"])?];
    for _ in 0..workers {
        processes.push(site.start(&["worker", "--concurrency", "1"])?);
    }
    let count = processes.len();
    site.until(&format!("SELECT count(*) = {count} FROM etl_process"))
        .await?;
    let synced = site.sync(&["--full", "--wait"]).await;
    for process in processes {
        stop(process).await?;
    }
    synced
}
