//! The fleet's own numbers. The finalizer asks ledger and broker for them every now and then, and whoever reads the
//! metrics gets what it found: a reader more costs the servers nothing. What cannot be asked is not shown.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use tidemark_broker::{Queue, QueueDepth};
use tidemark_ledger as ledger;
use tidemark_ledger::fleet::Fleet;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::metrics::meter;
use tidemark_shared::job::Lane;
use tokio::sync::Notify;

use crate::metrics;
use tidemark_runtime::wake::pause;

const EVERY: Duration = Duration::from_secs(15);

/// How far behind a tenant may be, by names that a dashboard can show.
const FRESHNESS: [(&str, f64); 6] = [
    ("1m", 60.0),
    ("5m", 300.0),
    ("15m", 900.0),
    ("1h", 3_600.0),
    ("6h", 21_600.0),
    ("1d", 86_400.0),
];
const CHUNK_STATES: [&str; 3] = ["pending", "queued", "running"];
const RUN_STATES: [&str; 3] = ["requested", "planning", "running"];
const VERDICTS: [&str; 3] = ["equal", "different", "never"];
const ROLES: [&str; 4] = ["producer", "worker", "finalizer", "up"];

/// Values with their labels.
type Series = Vec<(f64, Vec<KeyValue>)>;

/// What the last look found; nothing while it cannot be found.
#[derive(Debug, Default)]
struct Seen {
    fleet: Option<Fleet>,
    depths: Option<Vec<QueueDepth>>,
}

/// The loop that looks.
pub struct FleetWatch {
    db: DbPool,
    queue: Arc<dyn Queue>,
    seen: Arc<RwLock<Seen>>,
}

impl FleetWatch {
    /// Shows the fleet in this process's metrics. `per_tenant`: with series for each tenant, however many there are.
    #[must_use]
    pub fn new(db: DbPool, queue: Arc<dyn Queue>, per_tenant: bool) -> Self {
        let watch = Self {
            db,
            queue,
            seen: Arc::default(),
        };
        watch.show(per_tenant);
        watch
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        // only the clock wakes it
        let never = Notify::new();
        let mut failing = false;
        loop {
            let found = self.tick().await;
            if let Err(error) = &found
                && !failing
            {
                // once per outage, not once per look
                tracing::warn!(error, "metrics of the fleet are not up to date");
            }
            failing = found.is_err();
            if !pause(&never, EVERY, &lifecycle).await {
                return;
            }
        }
    }

    /// Looks once; the error has the words of all that failed.
    async fn tick(&self) -> Result<(), String> {
        let (fleet, depths) = tokio::join!(ledger::fleet::load(&self.db), self.queue.depths());
        let errors: Vec<String> = [
            fleet.as_ref().err().map(|error| report(error)),
            depths.as_ref().err().map(|error| report(error)),
        ]
        .into_iter()
        .flatten()
        .collect();
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Seen {
            fleet: fleet.ok(),
            depths: depths.ok(),
        };
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors.join("; "))
        }
    }

    fn show(&self, per_tenant: bool) {
        self.fleet_gauge(metrics::TENANTS, "Tenants, by how they are.", tenants);
        self.fleet_gauge(
            metrics::TENANTS_FRESH,
            "Tenants that are at most so far behind.",
            freshness,
        );
        self.fleet_gauge(
            metrics::WATERMARK_LAG_MAX,
            "How far the tenant that is furthest behind is behind.",
            |fleet| {
                let lags = fleet.tenants.iter().map(|tenant| tenant.watermark_lag);
                vec![(lags.fold(0.0, f64::max), vec![])]
            },
        );
        self.fleet_gauge(
            metrics::CHUNKS_OPEN,
            "Open chunks, by state and lane.",
            open_chunks,
        );
        self.fleet_gauge(metrics::RUNS_OPEN, "Open runs, by state.", open_runs);
        self.fleet_gauge(
            metrics::RUN_STALLED_MAX,
            "The longest that an open run has been without a chunk beginning or ending.",
            |fleet| {
                let stalled = fleet.runs.iter().map(|run| run.stalled);
                vec![(stalled.fold(0.0, f64::max), vec![])]
            },
        );
        self.fleet_gauge(
            metrics::REJECTS_OPEN,
            "Rows that are set aside at the moment.",
            |fleet| vec![(fleet.rejects as f64, vec![])],
        );
        self.fleet_gauge(
            metrics::TENANTS_VERIFIED,
            "Tenants by what their last comparison with the source found.",
            |fleet| counted("verdict", &VERDICTS, &fleet.verifications),
        );
        self.fleet_gauge(
            metrics::VERIFICATION_FAULTS,
            "Rows that the tenants' last comparisons found at fault.",
            |fleet| {
                let (missing, extra, stale, different, impossible) = fleet.faults;
                let kinds = [
                    ("missing", missing),
                    ("extra", extra),
                    ("stale", stale),
                    ("different", different),
                    ("impossible", impossible),
                ];
                kinds
                    .map(|(kind, rows)| (rows as f64, vec![KeyValue::new("kind", kind)]))
                    .into()
            },
        );
        self.fleet_gauge(metrics::PROCESSES, "Processes that live, by role.", |fleet| {
            counted("role", &ROLES, &fleet.processes)
        });
        self.show_sources();
        self.show_depths();
        if per_tenant {
            self.show_each_tenant();
        }
    }

    fn show_sources(&self) {
        self.fleet_gauge(
            metrics::FENCE_LAG,
            "How far the fence is behind the source's clock.",
            |fleet| {
                let sources = fleet.sources.iter();
                sources
                    .filter_map(|source| Some((source.fence_lag?, of_source(&source.source))))
                    .collect()
            },
        );
        self.fleet_gauge(
            metrics::SOURCE_FAILING,
            "1 while the source cannot be sampled.",
            |fleet| {
                let sources = fleet.sources.iter();
                sources
                    .map(|source| (f64::from(u8::from(source.failing)), of_source(&source.source)))
                    .collect()
            },
        );
        self.fleet_gauge(
            metrics::SOURCE_SEEN,
            "Since a producer last looked at the source.",
            |fleet| {
                let sources = fleet.sources.iter();
                sources
                    .map(|source| (source.seen_ago, of_source(&source.source)))
                    .collect()
            },
        );
    }

    fn show_depths(&self) {
        self.depth_gauge(
            metrics::QUEUE_MESSAGES,
            "Messages that no consumer has been handed yet.",
            |depth| depth.messages,
        );
        self.depth_gauge(metrics::QUEUE_CONSUMERS, "Consumers of a queue.", |depth| {
            depth.consumers
        });
    }

    fn show_each_tenant(&self) {
        self.fleet_gauge(
            metrics::TENANT_WATERMARK_LAG,
            "How far the tenant is behind.",
            |fleet| {
                let tenants = fleet.tenants.iter();
                tenants
                    .map(|tenant| (tenant.watermark_lag, of_tenant(tenant.tenant_id.0)))
                    .collect()
            },
        );
        self.fleet_gauge(
            metrics::TENANT_FAILURES,
            "Runs and plans of the tenant that failed in a row.",
            |fleet| {
                let tenants = fleet.tenants.iter();
                tenants
                    .map(|tenant| {
                        (
                            f64::from(tenant.consecutive_failures),
                            of_tenant(tenant.tenant_id.0),
                        )
                    })
                    .collect()
            },
        );
    }

    fn fleet_gauge(&self, name: &'static str, description: &'static str, series: fn(&Fleet) -> Series) {
        self.gauge(name, description, move |seen| {
            seen.fleet.as_ref().map(series).unwrap_or_default()
        });
    }

    fn depth_gauge(&self, name: &'static str, description: &'static str, value: fn(&QueueDepth) -> u32) {
        self.gauge(name, description, move |seen| {
            let depths = seen.depths.iter().flatten();
            depths
                .map(|depth| (f64::from(value(depth)), vec![KeyValue::new("queue", depth.queue)]))
                .collect()
        });
    }

    fn gauge(
        &self,
        name: &'static str,
        description: &'static str,
        series: impl Fn(&Seen) -> Series + Send + Sync + 'static,
    ) {
        let seen = Arc::clone(&self.seen);
        meter()
            .f64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |now| {
                for (value, labels) in series(&seen.read().unwrap_or_else(PoisonError::into_inner)) {
                    now.observe(value, &labels);
                }
            })
            .build();
    }
}

fn of_source(name: &str) -> Vec<KeyValue> {
    vec![KeyValue::new("source", name.to_owned())]
}

fn of_tenant(id: i32) -> Vec<KeyValue> {
    vec![KeyValue::new("tenant", i64::from(id))]
}

/// A value for each that can be, so that none is missing when there is none of it.
fn counted(label: &'static str, all: &[&'static str], found: &[(String, i64)]) -> Series {
    all.iter()
        .map(|name| {
            let count = found.iter().find(|(known, _)| known == name);
            let count = count.map_or(0, |(_, count)| *count);
            (count as f64, vec![KeyValue::new(label, *name)])
        })
        .collect()
}

/// A tenant may be in several of these at once.
fn tenants(fleet: &Fleet) -> Series {
    let late = fleet.tenants.iter().filter(|tenant| tenant.late);
    let failing = fleet
        .tenants
        .iter()
        .filter(|tenant| tenant.consecutive_failures > 0);
    let state = |name: &'static str| vec![KeyValue::new("state", name)];
    vec![
        (fleet.tenants.len() as f64, state("planned")),
        (fleet.tenants_paused as f64, state("paused")),
        (late.count() as f64, state("late")),
        (failing.count() as f64, state("failing")),
    ]
}

fn freshness(fleet: &Fleet) -> Series {
    FRESHNESS
        .into_iter()
        .map(|(within, seconds)| {
            let tenants = fleet.tenants.iter();
            let fresh = tenants.filter(|tenant| tenant.watermark_lag <= seconds).count();
            (fresh as f64, vec![KeyValue::new("within", within)])
        })
        .collect()
}

fn open_chunks(fleet: &Fleet) -> Series {
    let mut series = Vec::new();
    for lane in Lane::ALL {
        for state in CHUNK_STATES {
            let chunks = fleet
                .chunks
                .iter()
                .find(|chunks| chunks.lane == lane && chunks.state == state);
            let labels = vec![
                KeyValue::new("state", state),
                KeyValue::new("lane", lane.as_str()),
            ];
            series.push((chunks.map_or(0, |chunks| chunks.chunks) as f64, labels));
        }
    }
    series
}

fn open_runs(fleet: &Fleet) -> Series {
    let found: Vec<_> = fleet
        .runs
        .iter()
        .map(|run| (run.state.clone(), run.runs))
        .collect();
    counted("state", &RUN_STATES, &found)
}
