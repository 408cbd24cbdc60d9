//! The measured cases.

mod again;
mod far;
mod fleet;
mod freshness;
mod full;
mod incremental;
mod load_path;
mod memory;
mod planning;
mod psql;

use anyhow::{Result, ensure};
use tidemark_benches::figures::Results;

use crate::site::Bench;

const NAMES: [&str; 10] = [
    "full",
    "view",
    "incremental",
    "again",
    "load",
    "fleet",
    "planning",
    "memory",
    "far",
    "freshness",
];

/// Measures these cases, or all if none is named.
pub async fn run(
    bench: &mut Bench,
    sizes: &[u64],
    only: &[String],
    seconds: u64,
    results: &mut Results,
) -> Result<()> {
    for name in only {
        ensure!(
            NAMES.contains(&name.as_str()),
            "there is no case `{name}`, but {}",
            NAMES.join(", ")
        );
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let least = sizes.iter().copied().min().unwrap_or(20_000);
    for &size in sizes {
        if wanted("full") {
            results.cases.push(full::tables(bench, size).await?);
        }
        if wanted("view") {
            results.cases.push(full::view(bench, size).await?);
        }
        if wanted("again") {
            results.cases.push(again::measure(bench, size).await?);
        }
        if wanted("load") {
            results.cases.extend(load_path::measure(bench, size).await?);
        }
    }
    if wanted("incremental") {
        results.cases.extend(incremental::measure(bench, sizes).await?);
    }
    if wanted("fleet") {
        results.cases.push(fleet::chunks(bench, least).await?);
    }
    if wanted("planning") {
        results.cases.push(planning::tenants(bench, least).await?);
        results.cases.push(planning::dispatch(bench, least).await?);
    }
    if wanted("memory") {
        results.cases.push(memory::peaks(bench, least).await?);
    }
    if wanted("far") {
        results.cases.push(far::workers(bench).await?);
    }
    if wanted("freshness") {
        let most = sizes.iter().copied().max().unwrap_or(200_000);
        results
            .cases
            .extend(freshness::measure(bench, most, seconds).await?);
    }
    Ok(())
}
