//! Freshness: how long a change in Chatwoot takes to show in the target, and what that costs the source and the ledger.

mod arrivals;
mod chatwoot;
mod cost;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::Connection;
use tidemark_benches::figures::{Case, Goal, percentile};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::arrivals::Arrivals;
use self::chatwoot::Chatwoot;
use self::cost::{LedgerSize, SourceMeter};
use super::incremental::{HOURLY, RESTORE, SUGGESTED};
use crate::site::{Bench, Site, execute, stop};

const TENANTS: u16 = 20;
const INTERVALS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(60),
];
/// The lookback of a tenant. As many changes as Chatwoot makes in it are made before the measurement.
const LOOKBACK: Duration = Duration::from_secs(120);
const DAY: f64 = 86_400.0;

/// The tables of this case.
struct Tables {
    delay: Case,
    core: Case,
    pages: Case,
    rows: Case,
    bytes: Case,
}

pub async fn measure(bench: &mut Bench, size: u64, seconds: u64) -> Result<Vec<Case>> {
    let mut tables = Tables::new(size);
    let source = bench.source_of(size, TENANTS).await?;
    let site = bench.empty(&source).await?;
    for tenant in 1..=TENANTS {
        let id = tenant.to_string();
        let name = format!("Tenant {id}");
        site.run(&["tenant", "add", "--id", &id, "--name", &name, "--account-id", &id])
            .await?;
        site.run(&["inbox", "discover", "--tenant", &id]).await?;
    }
    site.run(&["sync", "--local", "--all", "--full"]).await?;
    let mut target = site.on_target().await?;
    execute(&mut target, &["VACUUM (ANALYZE)"]).await?;
    let mut on_source = site.on_source().await?;
    let chatwoot = Chatwoot::of(&site, TENANTS).await?;
    measure_all(&mut tables, &site, &chatwoot, "Chatwoot's own indexes", seconds).await?;
    execute(&mut on_source, &SUGGESTED).await?;
    execute(&mut on_source, &["VACUUM (ANALYZE)"]).await?;
    let live = site.with(HOURLY.0, HOURLY.1);
    measure_all(
        &mut tables,
        &live,
        &chatwoot,
        "suggested indexes, digests hourly",
        seconds,
    )
    .await?;
    execute(&mut on_source, &RESTORE).await?;
    on_source.close().await?;
    Ok(tables.into_cases())
}

async fn measure_all(
    tables: &mut Tables,
    site: &Site,
    chatwoot: &Chatwoot,
    indexes: &str,
    seconds: u64,
) -> Result<()> {
    let alone = pages_of_chatwoot(site, chatwoot, Duration::from_secs(seconds.min(10))).await?;
    for interval in INTERVALS {
        let label = format!("{} s, {indexes}", interval.as_secs());
        let period = Duration::from_secs(seconds).max(interval * 2);
        eprintln!("freshness: {label}");
        one_setting(tables, site, chatwoot, (&label, interval, period), alone).await?;
    }
    Ok(())
}

/// Pages a second that the writers touch by themselves.
async fn pages_of_chatwoot(site: &Site, chatwoot: &Chatwoot, period: Duration) -> Result<f64> {
    let mut meter = SourceMeter::begin(site).await?;
    chatwoot.change_for(period, None).await?;
    meter.read().await?;
    Ok(meter.end().pages_a_second)
}

async fn one_setting(
    tables: &mut Tables,
    site: &Site,
    chatwoot: &Chatwoot,
    (label, interval, period): (&str, Duration, Duration),
    pages_alone: f64,
) -> Result<()> {
    let mut target = site.on_target().await?;
    sqlx::query("UPDATE tenants SET sync_interval = make_interval(secs => $1)")
        .bind(interval.as_secs_f64())
        .execute(&mut target)
        .await?;
    chatwoot.change_past(LOOKBACK).await?;
    site.run(&["sync", "--local", "--all"]).await?;
    // tenants are due at instants of their own, as in a fleet that runs for long
    sqlx::query("UPDATE etl_watermark SET next_due_at = now() + random() * make_interval(secs => $1)")
        .bind(interval.as_secs_f64())
        .execute(&mut target)
        .await?;
    execute(&mut target, &["VACUUM (ANALYZE)", "CHECKPOINT"]).await?;
    let processes = [
        site.start(&["producer"])?,
        site.start(&["finalizer"])?,
        site.start(&["worker", "--concurrency", "2"])?,
    ];
    site.until("SELECT count(*) = 3 FROM etl_process").await?;
    // what a start costs is not measured
    chatwoot.change_for(Duration::from_secs(3), None).await?;

    let arrivals = Arc::new(Mutex::new(Arrivals::begin(site).await?));
    let meter = Mutex::new(SourceMeter::begin(site).await?);
    let before = LedgerSize::read(&mut target).await?;
    let changing = async {
        chatwoot.change_for(period, Some(Arc::clone(&arrivals))).await?;
        let mut ended = meter.lock().await;
        ended.read().await?;
        let cost = ended.end();
        // keeps the meter's reader waiting: only these changes are metered
        let after = LedgerSize::read(&mut target).await?;
        let deadline = Instant::now() + interval * 3 + Duration::from_secs(60);
        loop {
            let missing = arrivals.lock().await.missing();
            if missing.is_empty() {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "changes did not arrive: {label}: {missing:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok((cost, after))
    };
    let (cost, after) = tokio::select! {
        done = changing => done?,
        failed = watch(&arrivals, interval / 50) => return failed,
        failed = meter_source(&meter) => return failed,
    };
    for process in processes {
        stop(process).await?;
    }
    let delays = arrivals.lock().await.take_delays();
    eprintln!(
        "  {} changes, p50 {:.2} s, p99 {:.2} s, {:.1} % of a core, {:.0} pages/s",
        delays.len(),
        percentile(&delays, 0.5),
        percentile(&delays, 0.99),
        cost.core_percent.unwrap_or(f64::NAN),
        cost.pages_a_second - pages_alone,
    );
    tables.add(
        label,
        &delays,
        cost.core_percent,
        cost.pages_a_second - pages_alone,
    );
    tables.add_ledger(label, &before, &after, period);
    Ok(())
}

async fn watch(arrivals: &Mutex<Arrivals>, pause: Duration) -> Result<()> {
    loop {
        arrivals.lock().await.look().await?;
        tokio::time::sleep(pause.min(Duration::from_millis(500))).await;
    }
}

async fn meter_source(meter: &Mutex<SourceMeter>) -> Result<()> {
    loop {
        meter.lock().await.read().await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Tables {
    fn new(size: u64) -> Self {
        let title = |what: &str| format!("Freshness of {size} conversations: {what}");
        let setting = "20 tenants of one source, 50 changes a second at random instants (a message, its conversation and its \
             contact in one transaction), a producer, a worker with two chunks at a time and a finalizer; before that as \
             many changes as fall into the lookback.";
        Self {
            delay: Case::new(
                "freshness",
                &title("from the commit in Chatwoot to the row"),
                &format!(
                    "{setting} The time from a change's commit until the target's row shows it, by sync interval."
                ),
                "s",
            ),
            core: Case::new(
                "freshness-core",
                &title("share of the source's core"),
                "CPU of the sessions that Tidemark has on the source, of the time that passed.",
                "%",
            ),
            pages: Case::new(
                "freshness-pages",
                &title("pages of the source"),
                "Pages that the source's sessions touched, in memory or on disk, less those that the changes alone touch.",
                "pages/s",
            ),
            rows: Case::new(
                "freshness-rows",
                &title("rows of the ledger"),
                "Rows that runs, chunks, moves of watermarks and samples would add in a day, before pruning.",
                "rows/day",
            ),
            bytes: Case::new(
                "freshness-bytes",
                &title("bytes of the ledger"),
                "The size of these rows, without their indexes.",
                "MB/day",
            ),
        }
    }

    fn add(&mut self, label: &str, delays: &[f64], core_percent: Option<f64>, pages: f64) {
        for (name, part) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            self.delay
                .add(&format!("{label}: {name}"), percentile(delays, part));
        }
        if let Some(percent) = core_percent {
            self.core.add(label, percent);
        }
        self.pages.add(label, pages.max(0.0));
        if label.starts_with("1 s") {
            self.delay.goal(&format!("{label}: p99"), Goal::AtMost(2.0));
            self.core.goal(label, Goal::AtMost(3.0));
        }
    }

    fn add_ledger(&mut self, label: &str, before: &LedgerSize, after: &LedgerSize, period: Duration) {
        let a_day = DAY / period.as_secs_f64();
        self.rows.add(label, (after.rows - before.rows).max(0.0) * a_day);
        self.bytes
            .add(label, (after.bytes - before.bytes).max(0.0) * a_day / 1e6);
    }

    fn into_cases(self) -> Vec<Case> {
        vec![self.delay, self.core, self.pages, self.rows, self.bytes]
    }
}
