//! The status of tenants, sources and processes: how far behind each tenant is, and what blocks it.

mod blockers;
mod filter;

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
use tidemark_shared::inbox::{UnsyncedInbox, WaitingInbox, decision_about};
use tidemark_shared::run::RunReport;

pub use self::blockers::Blocker;
use self::blockers::{Situation, find_blocker};
pub use self::filter::{TenantFilter, TenantState};

/// The whole installation; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct Overview {
    pub tenants: Vec<TenantOverview>,
    pub sources: Vec<SourceOverview>,
    /// Inboxes of tenants' accounts that no tenant has.
    pub unsynced_inboxes: Vec<UnsyncedInbox>,
    /// Only live ones.
    pub processes: Vec<Process>,
    /// By the ledger's clock.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
pub struct TenantOverview {
    pub tenant_id: TenantId,
    pub name: String,
    pub watermark: Option<DateTime<Utc>>,
    /// Age of the watermark by the ledger's clock: the target may be this old. `None` before the first sync.
    pub behind_ms: Option<i64>,
    /// Further behind than a normal run and a short outage explain.
    pub late: bool,
    /// End of the last plan or run, successful or not.
    pub checked_at: Option<DateTime<Utc>>,
    pub consecutive_failures: i32,
    pub next_due_at: DateTime<Utc>,
    pub inboxes: i64,
    pub chunks_pending: i64,
    pub chunks_queued: i64,
    pub chunks_running: i64,
    pub last_run: Option<RunReport>,
    /// The last comparison with the source.
    pub last_verification: Option<LastVerification>,
    /// What blocks the tenant; `None`: nothing.
    pub held_by: Option<String>,
    /// The same with its kind.
    #[serde(skip)]
    pub blocker: Option<Blocker>,
    /// Inboxes that the source no longer has.
    pub gone_inboxes: Vec<WaitingInbox>,
    /// What an operator has to decide about them, with the command; `None`: nothing.
    pub undecided: Option<String>,
}

/// The last sample that a producer took of a source.
#[derive(Debug, Serialize)]
pub struct SourceOverview {
    #[serde(flatten)]
    pub watch: SourceWatch,
    /// How far the fence was behind the source's clock; `None` when unknown.
    pub fence_lag_ms: Option<i64>,
}

impl Overview {
    /// Reads the ledger with seven statements, for any number of tenants, on two connections.
    pub async fn load(db: &DbPool, settings: &Settings) -> DbResult<Self> {
        let tenants = async {
            let snapshots = ledger::tenant_status::list(db).await?;
            let newest: Vec<_> = snapshots
                .iter()
                .filter_map(|snapshot| snapshot.last_run_id)
                .collect();
            let runs = ledger::run::reports(db, &newest).await?;
            Ok((snapshots, runs))
        };
        let others = async {
            Ok((
                ledger::source_watch::list(db).await?,
                ledger::process::list_live(db).await?,
                ledger::verification::list(db).await?,
                ledger::unsynced::list(db, None).await?,
                ledger::inbox::list_gone(db).await?,
            ))
        };
        let ((snapshots, runs), (sources, processes, verifications, unsynced_inboxes, gone)) =
            tokio::try_join!(tenants, others)?;
        let mut overview = Self::from_parts(snapshots, runs, sources, processes, settings);
        overview.unsynced_inboxes = unsynced_inboxes;
        for verified in verifications {
            if let Some(tenant) = overview.tenant_mut(verified.tenant_id) {
                tenant.last_verification = Some(verified);
            }
        }
        for (tenant, gone) in gone {
            if let Some(tenant) = overview.tenant_mut(tenant) {
                tenant.set_gone(gone);
            }
        }
        Ok(overview)
    }

    #[must_use]
    pub fn tenant(&self, id: TenantId) -> Option<&TenantOverview> {
        self.position(id).map(|index| &self.tenants[index])
    }

    fn tenant_mut(&mut self, id: TenantId) -> Option<&mut TenantOverview> {
        self.position(id).map(|index| &mut self.tenants[index])
    }

    /// The ledger lists tenants in the order of their ids.
    fn position(&self, id: TenantId) -> Option<usize> {
        self.tenants
            .binary_search_by_key(&id, |tenant| tenant.tenant_id)
            .ok()
    }

    fn from_parts(
        snapshots: Vec<TenantSnapshot>,
        runs: Vec<RunReport>,
        sources: Vec<SourceWatch>,
        processes: Vec<Process>,
        settings: &Settings,
    ) -> Self {
        let mut runs: BTreeMap<TenantId, RunReport> =
            runs.into_iter().map(|run| (run.tenant_id, run)).collect();
        let fleet_in_flight = snapshots.iter().map(|snapshot| snapshot.open.in_flight()).sum();
        let mut in_flight: BTreeMap<String, i64> = BTreeMap::new();
        for snapshot in &snapshots {
            *in_flight.entry(snapshot.tenant.source.clone()).or_default() += snapshot.open.in_flight();
        }
        let at = snapshots
            .first()
            .map_or(DateTime::UNIX_EPOCH, |snapshot| snapshot.at);
        let tenants = snapshots
            .into_iter()
            .map(|snapshot| {
                let last_run = runs.remove(&snapshot.tenant_id());
                let name = &snapshot.tenant.source;
                let blocker = find_blocker(&Situation {
                    snapshot: &snapshot,
                    last_run: last_run.as_ref(),
                    source: sources.iter().find(|source| source.source == *name),
                    processes: &processes,
                    source_in_flight: in_flight[name],
                    fleet_in_flight,
                    source_limit: settings.sources.get(name).map(|source| source.max_in_flight),
                    fleet_limit: settings.producer.max_in_flight,
                });
                TenantOverview::new(snapshot, last_run, blocker)
            })
            .collect();
        Self {
            tenants,
            sources: sources.into_iter().map(SourceOverview::new).collect(),
            unsynced_inboxes: Vec::new(),
            processes,
            at,
        }
    }

    /// What an operator should know of the inboxes of these tenants, or of all, a line each with the command: inboxes that
    /// nobody syncs, and inboxes that are gone.
    #[must_use]
    pub fn inbox_lines(&self, only: Option<&[TenantId]>) -> Vec<String> {
        let concerns = |tenant: TenantId| only.is_none_or(|only| only.contains(&tenant));
        let mut lines: Vec<String> = self
            .unsynced_inboxes
            .iter()
            // where a tenant has to be chosen, it concerns every tenant of the source
            .filter(|inbox| inbox.tenant_id.is_none_or(concerns))
            .map(|inbox| format!("{inbox}; to sync it: {}", inbox.command()))
            .collect();
        for tenant in self.tenants.iter().filter(|tenant| concerns(tenant.tenant_id)) {
            if let Some(undecided) = &tenant.undecided {
                lines.push(format!("tenant {}: {undecided}", tenant.tenant_id));
            }
            let settled = tenant.gone_inboxes.iter().filter(|inbox| inbox.rows == 0);
            let settled: Vec<String> = settled.map(|inbox| inbox.inbox_id.to_string()).collect();
            if !settled.is_empty() {
                let ids = settled.join(",");
                lines.push(format!(
                    "tenant {0}: the source no longer has inbox {ids}, and no row of it is left to decide about; to take it off the \
                     list: tidemark inbox unmap --tenant {0} --inbox {ids}",
                    tenant.tenant_id
                ));
            }
        }
        lines
    }

    /// What blocks the tenant; `None`: nothing, or there is no such tenant.
    #[must_use]
    pub fn blocker_of(&self, tenant: TenantId) -> Option<&str> {
        let found = self.tenants.iter().find(|other| other.tenant_id == tenant);
        found.and_then(|tenant| tenant.held_by.as_deref())
    }
}

impl TenantOverview {
    fn new(snapshot: TenantSnapshot, last_run: Option<RunReport>, blocker: Option<Blocker>) -> Self {
        Self {
            tenant_id: snapshot.tenant.id,
            name: snapshot.tenant.name,
            watermark: snapshot.watermark,
            // the clock of the source may be ahead of the ledger's
            behind_ms: snapshot
                .watermark
                .map(|watermark| (snapshot.at - watermark).num_milliseconds().max(0)),
            late: snapshot.late,
            checked_at: snapshot.checked_at,
            consecutive_failures: snapshot.consecutive_failures,
            next_due_at: snapshot.next_due_at,
            inboxes: snapshot.inboxes,
            chunks_pending: snapshot.open.pending,
            chunks_queued: snapshot.open.queued,
            chunks_running: snapshot.open.running,
            last_run,
            last_verification: None,
            held_by: blocker.as_ref().map(|blocker| blocker.text.clone()),
            blocker,
            gone_inboxes: Vec::new(),
            undecided: None,
        }
    }

    fn set_gone(&mut self, gone: Vec<WaitingInbox>) {
        self.gone_inboxes = gone;
        let (waiting, all) = self.waiting();
        self.undecided = decision_about(self.tenant_id, &waiting, all);
    }

    /// Inboxes that are gone with conversations, and whether the tenant has no other inbox.
    #[must_use]
    pub fn waiting(&self) -> (Vec<WaitingInbox>, bool) {
        let gone = self.gone_inboxes.iter();
        let waiting: Vec<WaitingInbox> = gone.filter(|inbox| inbox.rows > 0).cloned().collect();
        let all = i64::try_from(waiting.len()).is_ok_and(|waiting| waiting == self.inboxes);
        (waiting, all)
    }
}

impl SourceOverview {
    fn new(watch: SourceWatch) -> Self {
        Self {
            fence_lag_ms: watch.fence_lag().map(|lag| lag.num_milliseconds()),
            watch,
        }
    }
}
