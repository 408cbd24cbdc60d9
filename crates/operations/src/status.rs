//! Tenants, sources and processes at a glance: how far behind each tenant is, and what is in its way.

mod blockers;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_postgres::DbPool;

use tidemark_ledger as ledger;
use tidemark_ledger::DbResult;
use tidemark_ledger::process::Process;
use tidemark_ledger::source_watch::SourceWatch;
use tidemark_ledger::tenant_status::TenantSnapshot;
use tidemark_ledger::verification::LastVerification;
use tidemark_runtime::config::Settings;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::RunReport;

use self::blockers::{Known, held_by};

/// The whole installation; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct Overview {
    pub tenants: Vec<TenantOverview>,
    pub sources: Vec<SourceOverview>,
    /// Those that live.
    pub processes: Vec<Process>,
    /// The ledger's clock.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
pub struct TenantOverview {
    pub tenant_id: TenantId,
    pub name: String,
    pub watermark: Option<DateTime<Utc>>,
    /// How old what the target shows may be: since the watermark, by the ledger's clock; `None` before the first sync.
    pub behind_ms: Option<i64>,
    /// Further behind than an ordinary run and a short outage explain.
    pub late: bool,
    /// When a plan or a run last ended, well or not.
    pub checked_at: Option<DateTime<Utc>>,
    pub consecutive_failures: i32,
    pub next_due_at: DateTime<Utc>,
    pub inboxes: i64,
    pub chunks_pending: i64,
    pub chunks_queued: i64,
    pub chunks_running: i64,
    pub last_run: Option<RunReport>,
    /// Its last comparison with the source.
    pub last_verification: Option<LastVerification>,
    /// What is in the way of its rows; `None`: nothing.
    pub held_by: Option<String>,
}

/// A source as a producer last sampled it.
#[derive(Debug, Serialize)]
pub struct SourceOverview {
    #[serde(flatten)]
    pub watch: SourceWatch,
    /// How far watermarks were held behind the source's clock; `None` when that is not known.
    pub fence_lag_ms: Option<i64>,
}

impl Overview {
    /// Looks at the ledger: five statements, however many tenants there are.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn load(db: &DbPool, settings: &Settings) -> DbResult<Self> {
        let standings = ledger::tenant_status::list(db).await?;
        let newest: Vec<_> = standings
            .iter()
            .filter_map(|standing| standing.last_run_id)
            .collect();
        let runs = ledger::run::reports(db, &newest).await?;
        let sources = ledger::source_watch::list(db).await?;
        let processes = ledger::process::list_live(db).await?;
        let mut overview = Self::of(standings, runs, sources, processes, settings);
        for verified in ledger::verification::list(db).await? {
            let tenant = overview
                .tenants
                .iter_mut()
                .find(|tenant| tenant.tenant_id == verified.tenant_id);
            if let Some(tenant) = tenant {
                tenant.last_verification = Some(verified);
            }
        }
        Ok(overview)
    }

    fn of(
        standings: Vec<TenantSnapshot>,
        runs: Vec<RunReport>,
        sources: Vec<SourceWatch>,
        processes: Vec<Process>,
        settings: &Settings,
    ) -> Self {
        let mut runs: BTreeMap<TenantId, RunReport> =
            runs.into_iter().map(|run| (run.tenant_id, run)).collect();
        let fleet_in_flight = standings.iter().map(|standing| standing.open.in_flight()).sum();
        let mut in_flight: BTreeMap<String, i64> = BTreeMap::new();
        for standing in &standings {
            *in_flight.entry(standing.tenant.source.clone()).or_default() += standing.open.in_flight();
        }
        let at = standings
            .first()
            .map_or(DateTime::UNIX_EPOCH, |standing| standing.at);
        let tenants = standings
            .into_iter()
            .map(|standing| {
                let last_run = runs.remove(&standing.tenant_id());
                let name = &standing.tenant.source;
                let held_by = held_by(&Known {
                    standing: &standing,
                    last_run: last_run.as_ref(),
                    source: sources.iter().find(|source| source.source == *name),
                    processes: &processes,
                    source_in_flight: in_flight[name],
                    fleet_in_flight,
                    source_limit: settings.sources.get(name).map(|source| source.max_in_flight),
                    fleet_limit: settings.producer.max_in_flight,
                });
                TenantOverview::of(standing, last_run, held_by)
            })
            .collect();
        Self {
            tenants,
            sources: sources.into_iter().map(SourceOverview::of).collect(),
            processes,
            at,
        }
    }

    /// What is in the way of a tenant's rows; `None`: nothing, or there is no such tenant.
    #[must_use]
    pub fn held_by(&self, tenant: TenantId) -> Option<&str> {
        let found = self.tenants.iter().find(|other| other.tenant_id == tenant);
        found.and_then(|tenant| tenant.held_by.as_deref())
    }
}

impl TenantOverview {
    fn of(standing: TenantSnapshot, last_run: Option<RunReport>, held_by: Option<String>) -> Self {
        Self {
            tenant_id: standing.tenant.id,
            name: standing.tenant.name,
            watermark: standing.watermark,
            // a source whose clock is ahead has no rows from the future
            behind_ms: standing
                .watermark
                .map(|watermark| (standing.at - watermark).num_milliseconds().max(0)),
            late: standing.late,
            checked_at: standing.checked_at,
            consecutive_failures: standing.consecutive_failures,
            next_due_at: standing.next_due_at,
            inboxes: standing.inboxes,
            chunks_pending: standing.open.pending,
            chunks_queued: standing.open.queued,
            chunks_running: standing.open.running,
            last_run,
            last_verification: None,
            held_by,
        }
    }
}

impl SourceOverview {
    fn of(watch: SourceWatch) -> Self {
        Self {
            fence_lag_ms: watch.fence_lag().map(|lag| lag.num_milliseconds()),
            watch,
        }
    }
}
