//! A full sync over a target that has every row already.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_benches::figures::{Case, Goal};

use crate::proxy::Delay;
use crate::site::{Bench, Site};

/// Of both directions together.
const ROUND_TRIP: Duration = Duration::from_millis(20);

pub async fn measure(bench: &mut Bench, size: u64) -> Result<Case> {
    let mut case = Case::new(
        &format!("again-{size}"),
        &format!("A full sync over a target in step, {size} conversations"),
        "The largest tenant, `tidemark sync --local --full`, 2 workers: first into an empty target, then once more. From a source 20 ms \
         away every byte is 10 ms late. The run's own time.",
        "s",
    );
    let source = bench.source(size).await?;
    let delay = Delay::before(&source, ROUND_TRIP / 2).await?;
    let ways: [(&str, &[(&'static str, String)]); 3] = [
        ("tables", &[]),
        (
            "view",
            &[
                ("TIDEMARK_SOURCE_MODE", "view".to_owned()),
                (
                    "TIDEMARK_SOURCE_VIEW",
                    "vw_conversations_analytics_final".to_owned(),
                ),
            ],
        ),
        ("20 ms away", &[("TIDEMARK_SOURCE_URL", delay.url(&source)?)]),
    ];
    for _ in 0..bench.rounds {
        for (way, settings) in &ways {
            let mut site = bench.fresh(&source).await?;
            for (name, value) in *settings {
                site = site.with(name, value);
            }
            case.add(&first(way), full(&site).await?.0);
            let (time, written) = full(&site).await?;
            ensure!(written == 0, "{way}: the second sync wrote {written} rows");
            case.add(&again(way), time);
        }
    }
    for (way, _) in &ways {
        case.goal(
            &first(way),
            Goal::Times {
                of: again(way),
                at_least: 2.0,
            },
        );
    }
    Ok(case)
}

fn first(way: &str) -> String {
    format!("{way}, first")
}

fn again(way: &str) -> String {
    format!("{way}, again")
}

/// The time of the run, and the rows that it wrote.
async fn full(site: &Site) -> Result<(f64, u64)> {
    let site = site.with("TIDEMARK_WORKER_CONCURRENCY", "2");
    let synced = site.sync(&["--local", "--full"]).await?;
    let count = |name: &str| synced.records[name].as_u64().unwrap_or_default();
    Ok((synced.run, count("inserted") + count("updated")))
}
