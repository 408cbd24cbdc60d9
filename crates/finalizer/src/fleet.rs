//! Metrics of the whole fleet. The finalizer reads them from the ledger and the broker at an interval, so a scrape costs the
//! servers nothing. Numbers that cannot be read are not exported.

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
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_shared::job::Lane;

use crate::metrics;

const INTERVAL: Duration = Duration::from_secs(15);

/// Steps of the lag of tenants, with the labels of a dashboard.
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

/// Values and their labels.
type Series = Vec<(f64, Vec<KeyValue>)>;

/// The latest numbers; `None` where the last read failed.
#[derive(Debug, Default)]
struct Numbers {
    fleet: Option<Fleet>,
    depths: Option<Vec<QueueDepth>>,
}

/// The loop that reads the numbers.
pub struct FleetWatch {
    db: DbPool,
    queue: Arc<dyn Queue>,
    numbers: Arc<RwLock<Numbers>>,
}

impl FleetWatch {
    /// Exports the fleet in the metrics of this process. `per_tenant` adds series for each tenant.
    #[must_use]
    pub fn new(db: DbPool, queue: Arc<dyn Queue>, per_tenant: bool) -> Self {
        let watch = Self {
            db,
            queue,
            numbers: Arc::default(),
        };
        watch.register(per_tenant);
        watch
    }

    pub async fn run(self, lifecycle: Lifecycle) {
        let mut ticker = Ticker::new("fleet metrics", INTERVAL, &lifecycle);
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    /// Reads the numbers once. The error names every failure.
    async fn tick(&self) -> Result<Turn, String> {
        let (fleet, depths) = tokio::join!(ledger::fleet::load(&self.db), self.queue.depths());
        let errors: Vec<String> = [
            fleet.as_ref().err().map(|error| report(error)),
            depths.as_ref().err().map(|error| report(error)),
        ]
        .into_iter()
        .flatten()
        .collect();
        *self.numbers.write().unwrap_or_else(PoisonError::into_inner) = Numbers {
            fleet: fleet.ok(),
            depths: depths.ok(),
        };
        if errors.is_empty() {
            Ok(Turn::Done)
        } else {
            Err(errors.join("; "))
        }
    }

    fn register(&self, per_tenant: bool) {
        self.fleet_gauge(metrics::TENANTS, "Tenants, by state.", tenants);
        self.fleet_gauge(
            metrics::TENANTS_FRESH,
            "Tenants whose lag is at most this.",
            freshness,
        );
        self.fleet_gauge(
            metrics::WATERMARK_LAG_MAX,
            "The largest watermark lag of a tenant.",
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
            "The longest time since a chunk of an open run started or ended.",
            |fleet| {
                let stalled = fleet.runs.iter().map(|run| run.stalled);
                vec![(stalled.fold(0.0, f64::max), vec![])]
            },
        );
        self.fleet_gauge(metrics::REJECTS_OPEN, "Rejected rows that are open.", |fleet| {
            vec![(fleet.rejects as f64, vec![])]
        });
        self.fleet_gauge(
            metrics::TENANTS_VERIFIED,
            "Tenants, by the verdict of their last verification.",
            |fleet| count_by_label("verdict", &VERDICTS, &fleet.verifications),
        );
        self.fleet_gauge(
            metrics::VERIFICATION_FAULTS,
            "Rows that the last verifications of the tenants found at fault.",
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
        self.fleet_gauge(metrics::PROCESSES, "Live processes, by role.", |fleet| {
            count_by_label("role", &ROLES, &fleet.processes)
        });
        self.register_sources();
        self.register_depths();
        if per_tenant {
            self.register_each_tenant();
        }
    }

    fn register_sources(&self) {
        self.fleet_gauge(
            metrics::FENCE_LAG,
            "Lag of the fence behind the clock of the source.",
            |fleet| {
                let sources = fleet.sources.iter();
                sources
                    .filter_map(|source| Some((source.fence_lag?, source_label(&source.source))))
                    .collect()
            },
        );
        self.fleet_gauge(
            metrics::SOURCE_FAILING,
            "1 while the source cannot be sampled.",
            |fleet| {
                let sources = fleet.sources.iter();
                sources
                    .map(|source| (f64::from(u8::from(source.failing)), source_label(&source.source)))
                    .collect()
            },
        );
        self.fleet_gauge(
            metrics::SOURCE_SEEN,
            "Time since a producer last sampled the source.",
            |fleet| {
                let sources = fleet.sources.iter();
                sources
                    .map(|source| (source.seen_ago, source_label(&source.source)))
                    .collect()
            },
        );
    }

    fn register_depths(&self) {
        self.depth_gauge(
            metrics::QUEUE_MESSAGES,
            "Messages that wait for a consumer.",
            |depth| depth.messages,
        );
        self.depth_gauge(metrics::QUEUE_CONSUMERS, "Consumers of a queue.", |depth| {
            depth.consumers
        });
    }

    fn register_each_tenant(&self) {
        self.fleet_gauge(
            metrics::TENANT_WATERMARK_LAG,
            "Watermark lag of the tenant.",
            |fleet| {
                let tenants = fleet.tenants.iter();
                tenants
                    .map(|tenant| (tenant.watermark_lag, tenant_label(tenant.tenant_id.0)))
                    .collect()
            },
        );
        self.fleet_gauge(
            metrics::TENANT_FAILURES,
            "Failed runs and plans of the tenant in a row.",
            |fleet| {
                let tenants = fleet.tenants.iter();
                tenants
                    .map(|tenant| {
                        (
                            f64::from(tenant.consecutive_failures),
                            tenant_label(tenant.tenant_id.0),
                        )
                    })
                    .collect()
            },
        );
    }

    fn fleet_gauge(&self, name: &'static str, description: &'static str, series: fn(&Fleet) -> Series) {
        self.gauge(name, description, move |numbers| {
            numbers.fleet.as_ref().map(series).unwrap_or_default()
        });
    }

    fn depth_gauge(&self, name: &'static str, description: &'static str, value: fn(&QueueDepth) -> u32) {
        self.gauge(name, description, move |numbers| {
            let depths = numbers.depths.iter().flatten();
            depths
                .map(|depth| (f64::from(value(depth)), vec![KeyValue::new("queue", depth.queue)]))
                .collect()
        });
    }

    fn gauge(
        &self,
        name: &'static str,
        description: &'static str,
        series: impl Fn(&Numbers) -> Series + Send + Sync + 'static,
    ) {
        let numbers = Arc::clone(&self.numbers);
        meter()
            .f64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |now| {
                for (value, labels) in series(&numbers.read().unwrap_or_else(PoisonError::into_inner)) {
                    now.observe(value, &labels);
                }
            })
            .build();
    }
}

fn source_label(name: &str) -> Vec<KeyValue> {
    vec![KeyValue::new("source", name.to_owned())]
}

fn tenant_label(id: i32) -> Vec<KeyValue> {
    vec![KeyValue::new("tenant", i64::from(id))]
}

/// One value for each possible label, zero where none was found.
fn count_by_label(label: &'static str, all: &[&'static str], found: &[(String, i64)]) -> Series {
    all.iter()
        .map(|name| {
            let count = found.iter().find(|(known, _)| known == name);
            let count = count.map_or(0, |(_, count)| *count);
            (count as f64, vec![KeyValue::new(label, *name)])
        })
        .collect()
}

/// A tenant may be in several states at once.
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
    count_by_label("state", &RUN_STATES, &found)
}
