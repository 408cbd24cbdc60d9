//! Random faults in every process, server and connection, while the source keeps changing. After the last fault
//! everything must be as if nothing had happened.
//!
//! `TIDEMARK_CHAOS_SECONDS` is how long there are faults (45). `TIDEMARK_CHAOS_SEED` repeats the faults of an earlier
//! run in the same order and with the same lengths. `make chaos` takes ten minutes.

mod fault;
mod fleet;
mod outcome;
mod striker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::Executor;
use tidemark_sample::TrafficOptions;
use tokio_util::sync::CancellationToken;

use self::fleet::{FINALIZERS, SupervisedFleet, WORKERS};
use self::outcome::{Outcome, assert_sound, print_open_work};
use self::striker::{ProxiedServers, Striker};
use crate::stage::{Stage, on_servers};

const TENANTS: u16 = 3;
const CONVERSATIONS: u64 = 3_000;
const CHANGES_PER_SECOND: f64 = 20.0;
/// Pause between two requested runs: short enough that the workers always have work.
const OPERATOR_PAUSE: Duration = Duration::from_secs(5);

#[expect(
    clippy::disallowed_methods,
    reason = "length and seed of this test are given by the environment"
)]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a whole number")),
    )
}

#[tokio::test]
async fn a_fleet_under_fire_loses_nothing() {
    let length = Duration::from_secs(number("TIDEMARK_CHAOS_SECONDS").unwrap_or(45));
    let seed = number("TIDEMARK_CHAOS_SEED").unwrap_or_else(rand::random);
    eprintln!("chaos for {length:?}, TIDEMARK_CHAOS_SEED={seed}");
    let servers = ProxiedServers::build().await.expect("servers can be started");
    let urls = servers.urls().expect("they have URLs");
    let servers = &servers;
    on_servers(urls, |stage| async move {
        let tenants = stage.sample(CONVERSATIONS, TENANTS, seed).await?;
        stage
            .target
            .execute("UPDATE tenants SET sync_interval = interval '1 second', lookback = interval '30 seconds', chunk_size = 25")
            .await?;
        stage.target.execute("UPDATE etl_watermark SET next_due_at = now()").await?;
        let fleet = SupervisedFleet::start(Arc::clone(&stage), settings(&stage, servers)?)?;
        let mut striker = Striker::new(Arc::clone(&stage), servers, fleet, StdRng::seed_from_u64(seed));

        let over = CancellationToken::new();
        let traffic = traffic(&stage, seed, over.clone());
        let operator = operator(&stage, &tenants, over.clone());
        let faults = async {
            let struck = striker.strike_for(length).await;
            over.cancel();
            struck?;
            striker.end_all_faults().await
        };
        let (changes, (), struck) = tokio::join!(traffic, operator, faults);
        struck?;
        let recovered = recovery(&stage).await;
        let outcome = Outcome::read(&stage).await?;
        outcome.print(seed, length, &striker, changes);
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                print_open_work(&stage).await?;
                return Err(error);
            }
        };
        eprintln!("{:>8.1}  seconds from the last fault until what was open then had ended", recovered.as_secs_f64());

        // after failures the schedule waits long before it tries a tenant again, so syncs are requested here
        for _ in 0..2 {
            let synced = stage.tidemark(&["sync", "--all", "--wait", "--json"]).await?;
            ensure!(synced.code == 0, "{synced:?}");
        }
        stage.assert_equal(&tenants).await?;
        assert_sound(&stage).await?;
        eprintln!("every tenant is equal");
        striker.fleet.stop().await
    })
    .await;
}

/// Waits until every consumer is back and every run that was open at the last fault has ended. Returns how long that
/// took.
async fn recovery(stage: &Stage) -> Result<Duration> {
    let calm = Instant::now();
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM etl_control")
        .fetch_one(&stage.target)
        .await?;
    stage.until_consumed("chunks.live", WORKERS).await?;
    stage.until_consumed("events", FINALIZERS).await?;
    let ended =
        format!("SELECT NOT EXISTS (SELECT FROM etl_control WHERE finished_at IS NULL AND id <= {last})");
    stage.until(&ended).await?;
    Ok(calm.elapsed())
}

/// Short leases and ticks, so that much happens. The fleet reaches every server through its proxy.
fn settings(stage: &Stage, servers: &ProxiedServers) -> Result<Vec<(&'static str, String)>> {
    let amqp = servers.broker.proxy.url(&servers.broker.server.url()?)?;
    let mut settings = vec![
        ("TIDEMARK_AMQP_URL", format!("{amqp}?heartbeat=2")),
        (
            "TIDEMARK_DATABASE_URL",
            servers.ledger.proxy.url(&stage.url("target"))?,
        ),
        (
            "TIDEMARK_SOURCE_URL",
            servers.source.proxy.url(&stage.url("source"))?,
        ),
    ];
    let short = [
        ("TIDEMARK_WORKER_LEASE", "2s"),
        ("TIDEMARK_WORKER_SHUTDOWN_GRACE", "1s"),
        ("TIDEMARK_PRODUCER_TICK", "200ms"),
        ("TIDEMARK_PRODUCER_FENCE_INTERVAL", "500ms"),
        ("TIDEMARK_PRODUCER_FENCE_WAIT", "500ms"),
        ("TIDEMARK_PRODUCER_REQUEUE_AFTER", "3s"),
        ("RUST_LOG", "error,lapin=off"),
    ];
    settings.extend(short.map(|(name, value)| (name, value.to_owned())));
    Ok(settings)
}

/// Changes the source until `over`, whatever happens to the source. Returns the number of changes.
async fn traffic(stage: &Stage, seed: u64, over: CancellationToken) -> u64 {
    let mut changes = 0;
    for round in 0.. {
        let options = TrafficOptions {
            rate_per_second: CHANGES_PER_SECOND,
            // a round that a restart of the source ends is not counted, although its changes are there
            count: Some(100),
            seed: seed.wrapping_add(round),
            ..TrafficOptions::default()
        };
        match tidemark_sample::traffic(&stage.url("source"), &options, over.clone()).await {
            Ok(report) => changes += report.total(),
            Err(_) => drop(
                over.run_until_cancelled(tokio::time::sleep(Duration::from_millis(200)))
                    .await,
            ),
        }
        if over.is_cancelled() {
            break;
        }
    }
    changes
}

/// Requests full runs and resyncs beside the schedule. A request that the ledger cannot take is not repeated.
async fn operator(stage: &Stage, tenants: &[i32], over: CancellationToken) {
    for (turn, tenant) in tenants.iter().cycle().enumerate() {
        let tenant = tenant.to_string();
        let request: &[&str] = if turn % 2 == 0 {
            &["sync", "--full", "--tenant", &tenant]
        } else {
            &["resync", "--all-rows", "--tenant", &tenant]
        };
        drop(stage.tidemark(request).await);
        let pause = tokio::time::sleep(OPERATOR_PAUSE);
        if over.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
