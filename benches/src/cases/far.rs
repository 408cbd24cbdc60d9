//! More workers on a distant source.

use std::time::Duration;

use anyhow::Result;
use tidemark_benches::figures::{Case, Goal};

use super::full::fleet;
use crate::proxy::Delay;
use crate::site::Bench;

/// So many that starting and planning take a small part of the time even with eight workers.
const SIZE: u64 = 40_000;
/// Of both directions together.
const ROUND_TRIP: Duration = Duration::from_millis(20);

pub async fn workers(bench: &mut Bench) -> Result<Case> {
    let mut case = Case::new(
        "far",
        &format!("A source 20 ms away, {SIZE} conversations"),
        "Full sync of the largest tenant in chunks of 50 through RabbitMQ, worker processes with one chunk at a time, every \
         byte to and from the source 10 ms late. Rows a second.",
        "rows/s",
    )
    .against("1 worker");
    let source = bench.source(SIZE).await?;
    let delay = Delay::before(&source, ROUND_TRIP / 2).await?;
    for _ in 0..bench.rounds.min(3) {
        for workers in [1, 2, 4, 8] {
            let site = bench.fresh(&source).await?;
            let mut target = site.on_target().await?;
            sqlx::raw_sql("UPDATE tenants SET chunk_size = 50, max_in_flight = 32")
                .execute(&mut target)
                .await?;
            let synced = fleet(&site.with("TIDEMARK_SOURCE_URL", &delay.url(&source)?), workers).await?;
            let rows = synced.records["extracted"].as_f64().unwrap_or_default();
            case.add(
                &format!("{workers} worker{}", if workers == 1 { "" } else { "s" }),
                rows / synced.run,
            );
        }
    }
    case.goal("8 workers", Goal::RatioAtLeast(6.0));
    Ok(case)
}
