//! Finds what blocks a tenant, from the ledger alone.

use chrono::TimeDelta;

use tidemark_ledger::chunk::bulk_share;
use tidemark_ledger::process::{NO_BROKER, Process};
use tidemark_ledger::source_watch::SourceWatch;
use tidemark_ledger::tenant_status::TenantSnapshot;
use tidemark_shared::held_by::{BlockerKind, HeldBy, LimitOf};
use tidemark_shared::run::{RunReport, RunStatus};

/// A fence that moves is one sampling interval behind; one that is this far behind is held by a transaction.
const FENCE_HELD_AFTER: TimeDelta = TimeDelta::minutes(1);

/// A tenant, and everything that can block it.
pub(super) struct Situation<'a> {
    pub snapshot: &'a TenantSnapshot,
    pub last_run: Option<&'a RunReport>,
    pub source: Option<&'a SourceWatch>,
    pub processes: &'a [Process],
    /// Chunks that are queued or running, of the source and of the whole fleet.
    pub source_in_flight: i64,
    pub fleet_in_flight: i64,
    /// The limits of both.
    pub source_limit: Option<i32>,
    pub fleet_limit: i32,
}

/// What blocks a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    pub kind: BlockerKind,
    pub held_by: HeldBy,
    /// What `status` shows; scripts read it.
    pub text: String,
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns an option")]
fn blocked(held_by: HeldBy) -> Option<Blocker> {
    Some(Blocker {
        kind: held_by.kind(),
        text: held_by.to_string(),
        held_by,
    })
}

/// Shortens an error to fit a table; `run show` prints it whole.
fn one_line(error: &str) -> String {
    const LONGEST: usize = 200;
    let mut line = error.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The first obstacle on the way from the plan to the watermark; `None`: there is none.
pub(super) fn find_blocker(situation: &Situation<'_>) -> Option<Blocker> {
    let TenantSnapshot { tenant, open, .. } = situation.snapshot;
    if tenant.paused_at.is_some() {
        return blocked(HeldBy::Paused {
            reason: tenant.pause_reason.clone(),
        });
    }
    if !tenant.may_run() {
        return blocked(HeldBy::NotActive);
    }
    if situation.snapshot.inboxes == 0 {
        return blocked(HeldBy::NoInboxes);
    }
    if !situation.has_live("producer") {
        return blocked(HeldBy::NoProducer);
    }
    let waiting = open.pending + open.queued;
    if waiting > 0 && !situation.has_live("worker") {
        return blocked(HeldBy::NoWorker);
    }
    if waiting > 0
        && open.running == 0
        && let Some(trouble) = situation.broker_trouble()
    {
        return blocked(HeldBy::Broker {
            trouble: trouble.to_owned(),
        });
    }
    let all_done = situation
        .last_run
        .is_some_and(|run| run.status == RunStatus::Running && waiting + open.running == 0);
    if all_done && !situation.has_live("finalizer") {
        return blocked(HeldBy::NoFinalizer);
    }
    if open.backing_off > 0 {
        return blocked(HeldBy::Retrying {
            chunks: open.backing_off,
            error: open.last_error.clone(),
        });
    }
    let failures = situation.snapshot.consecutive_failures;
    if failures > 0 {
        let last = situation.last_run.filter(|run| run.status == RunStatus::Failed);
        return blocked(HeldBy::Failing {
            in_a_row: failures,
            error: last.and_then(|run| run.error.as_deref()).map(one_line),
        });
    }
    if let Some(error) = situation.plan_error() {
        return blocked(HeldBy::NotPlanned {
            error: one_line(error),
        });
    }
    situation
        .source
        .and_then(source_blocker)
        .or_else(|| (open.pending > 0).then(|| reached_limit(situation)).flatten())
}

fn source_blocker(source: &SourceWatch) -> Option<Blocker> {
    if source.error.is_some() {
        return blocked(HeldBy::Source {
            source: source.source.clone(),
        });
    }
    let holder = source.holder.as_ref()?;
    if source.fence_lag().is_some_and(|lag| lag < FENCE_HELD_AFTER) {
        return None;
    }
    blocked(HeldBy::Fence {
        pid: holder.pid,
        prepared: holder.prepared.clone(),
    })
}

/// Bulk chunks get only a share of a shared limit; the rest is reserved for live chunks.
fn reached_limit(situation: &Situation<'_>) -> Option<Blocker> {
    let own = situation.snapshot.open.in_flight();
    let own_limit = situation.snapshot.tenant.max_in_flight;
    let limits = [
        (LimitOf::Tenant, own, Some((own_limit, own_limit))),
        (
            LimitOf::Source,
            situation.source_in_flight,
            situation.source_limit.map(|limit| (limit, bulk_share(limit))),
        ),
        (
            LimitOf::Fleet,
            situation.fleet_in_flight,
            Some((situation.fleet_limit, bulk_share(situation.fleet_limit))),
        ),
    ];
    let (whose, in_flight, limit) = limits.into_iter().find_map(|(whose, in_flight, limit)| {
        let (limit, reached) = limit?;
        (in_flight >= i64::from(reached)).then_some((whose, in_flight, limit))
    })?;
    // a ledger that cannot write keeps chunks in flight that nobody executes
    let error = situation.snapshot.open.last_error.as_deref().map(one_line);
    blocked(HeldBy::Limit {
        whose,
        in_flight,
        limit,
        error,
    })
}

impl Situation<'_> {
    /// Why the open request, or the tenant when it was due last, was not planned. A source that cannot be sampled has its
    /// own text.
    fn plan_error(&self) -> Option<&str> {
        if self.source.is_some_and(|source| source.error.is_some()) {
            return None;
        }
        match self.last_run {
            Some(run) if matches!(run.status, RunStatus::Requested | RunStatus::Planning) => {
                run.error.as_deref()
            }
            Some(run) if run.status == RunStatus::Running => None,
            _ => self.snapshot.plan_error.as_deref(),
        }
    }

    fn processes_of(&self, role: &str) -> impl Iterator<Item = &Process> {
        let role = role.to_owned();
        self.processes
            .iter()
            .filter(move |process| process.role == role || process.role == "up")
    }

    fn has_live(&self, role: &str) -> bool {
        self.processes_of(role).next().is_some()
    }

    /// Why no producer can publish, or no worker is subscribed.
    fn broker_trouble(&self) -> Option<&str> {
        ["producer", "worker"].into_iter().find_map(|role| {
            let mut processes = self.processes_of(role);
            let first = processes
                .next()
                .map_or(Some(NO_BROKER), Process::broker_trouble)?;
            processes
                .all(|process| process.broker_trouble().is_some())
                .then_some(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use sqlx::types::Json;

    use super::*;
    use tidemark_ledger::tenant_status::OpenChunks;
    use tidemark_shared::fence::Holder;
    use tidemark_shared::ids::TenantId;
    use tidemark_shared::tenant::{Tenant, TenantStatus};

    fn tenant() -> Tenant {
        Tenant {
            id: TenantId(1),
            name: "One".into(),
            slug: "one".into(),
            status: TenantStatus::Active,
            source: "main".into(),
            account_id: None,
            discover: true,
            timezone: "UTC".into(),
            sync_interval: Duration::from_secs(300),
            lookback: Duration::from_secs(120),
            chunk_size: 1000,
            max_in_flight: 8,
            verify_interval: None,
            mapping_version: 1,
            privacy: tidemark_shared::privacy::PrivacyPolicy::default(),
            paused_at: None,
            pause_reason: None,
        }
    }

    fn process(role: &str, doing: Option<&str>) -> Process {
        Process {
            instance: format!("host/{role}/1"),
            role: role.into(),
            host: "host".into(),
            version: "0".into(),
            started_at: DateTime::UNIX_EPOCH,
            last_seen_at: DateTime::UNIX_EPOCH,
            http_address: None,
            doing: doing.map(Into::into),
        }
    }

    fn source(lag: Option<i64>, error: Option<&str>) -> SourceWatch {
        let looked_at = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        SourceWatch {
            source: "main".into(),
            looked_at: Some(looked_at),
            fence_at: lag.map(|lag| looked_at - TimeDelta::seconds(lag)),
            holder: Some(Json(Holder {
                pid: Some(47),
                user: None,
                application: None,
                state: None,
                since: None,
                prepared: None,
            })),
            error: error.map(Into::into),
            failing_since: error.map(|_| looked_at),
            written_at: looked_at,
        }
    }

    fn chunks(pending: i64, queued: i64, running: i64) -> OpenChunks {
        OpenChunks {
            pending,
            queued,
            running,
            ..OpenChunks::default()
        }
    }

    fn snapshot(tenant: &Tenant, open: OpenChunks) -> TenantSnapshot {
        TenantSnapshot {
            tenant: tenant.clone(),
            at: DateTime::UNIX_EPOCH,
            watermark: None,
            checked_at: None,
            consecutive_failures: 0,
            next_due_at: DateTime::UNIX_EPOCH,
            plan_error: None,
            late: false,
            inboxes: 1,
            open,
            last_run_id: None,
        }
    }

    fn blocker(
        tenant: &Tenant,
        processes: &[Process],
        open: OpenChunks,
        source: Option<&SourceWatch>,
    ) -> String {
        let situation = Situation {
            snapshot: &snapshot(tenant, open),
            last_run: None,
            source,
            processes,
            source_in_flight: 20,
            fleet_in_flight: 20,
            source_limit: Some(32),
            fleet_limit: 256,
        };
        find_blocker(&situation)
            .map(|blocker| blocker.text)
            .unwrap_or_default()
    }

    fn fleet() -> Vec<Process> {
        ["producer", "worker", "finalizer"]
            .map(|role| process(role, None))
            .into()
    }

    #[test]
    fn a_tenant_without_work_and_one_with_running_chunks_are_not_blocked() {
        assert_eq!(
            blocker(&tenant(), &fleet(), chunks(0, 0, 0), Some(&source(Some(5), None))),
            ""
        );
        assert_eq!(blocker(&tenant(), &fleet(), chunks(3, 1, 2), None), "");
        assert_eq!(
            blocker(&tenant(), &[process("up", None)], chunks(3, 1, 2), None),
            ""
        );
    }

    #[test]
    fn a_pause_is_named_with_its_reason() {
        let paused = Tenant {
            paused_at: Some(DateTime::UNIX_EPOCH),
            pause_reason: Some("moving".into()),
            ..tenant()
        };
        assert_eq!(
            blocker(&paused, &fleet(), chunks(1, 0, 0), None),
            "paused: moving"
        );
        let suspended = Tenant {
            status: TenantStatus::Suspended,
            ..tenant()
        };
        assert_eq!(blocker(&suspended, &fleet(), chunks(0, 0, 0), None), "not active");
    }

    #[test]
    fn a_missing_role_is_named_when_it_is_needed() {
        let [producer, worker, finalizer] =
            ["producer", "worker", "finalizer"].map(|role| process(role, None));
        let without_worker = [producer, finalizer.clone()];
        assert_eq!(
            blocker(&tenant(), &[worker, finalizer], chunks(0, 0, 0), None),
            "no producer"
        );
        assert_eq!(
            blocker(&tenant(), &without_worker, chunks(0, 4, 0), None),
            "no worker"
        );
        assert_eq!(blocker(&tenant(), &without_worker, chunks(0, 0, 0), None), "");
    }

    #[test]
    fn a_missing_broker_is_named_while_chunks_wait() {
        let processes = [
            process("producer", Some(NO_BROKER)),
            process("worker", None),
            process("finalizer", None),
        ];
        assert_eq!(blocker(&tenant(), &processes, chunks(4, 0, 0), None), "no broker");
        assert_eq!(blocker(&tenant(), &processes, chunks(0, 0, 0), None), "");
    }

    #[test]
    fn a_fence_counts_as_held_after_a_minute_or_when_no_sample_knows_it() {
        let idle = || chunks(0, 0, 0);
        assert_eq!(
            blocker(&tenant(), &fleet(), idle(), Some(&source(Some(90), None))),
            "fence: pid 47"
        );
        assert_eq!(
            blocker(&tenant(), &fleet(), idle(), Some(&source(None, None))),
            "fence: pid 47"
        );
        assert_eq!(
            blocker(&tenant(), &fleet(), idle(), Some(&source(None, Some("down")))),
            "source main cannot be sampled"
        );
    }

    #[test]
    fn the_reached_limit_is_named() {
        assert_eq!(
            blocker(&tenant(), &fleet(), chunks(9, 6, 2), None),
            "limit of the tenant, 8 of 8 in flight"
        );
        let mut snapshot = snapshot(&tenant(), chunks(9, 1, 1));
        let processes = fleet();
        let blocker = |snapshot: &TenantSnapshot| {
            find_blocker(&Situation {
                snapshot,
                last_run: None,
                source: None,
                processes: &processes,
                source_in_flight: 28,
                fleet_in_flight: 40,
                source_limit: Some(32),
                fleet_limit: 256,
            })
            .map(|blocker| blocker.text)
        };
        assert_eq!(
            blocker(&snapshot).unwrap(),
            "limit of the source, 28 of 32 in flight"
        );
        snapshot.open.last_error = Some("merge rows: no space".into());
        assert_eq!(
            blocker(&snapshot).unwrap(),
            "limit of the source, 28 of 32 in flight; a waiting chunk: merge rows: no space"
        );
        snapshot.consecutive_failures = 3;
        assert_eq!(blocker(&snapshot).unwrap(), "failing, 3 in a row");
        snapshot.consecutive_failures = 0;
        snapshot.plan_error = Some("begin a transaction: too many\n clients already".into());
        assert_eq!(
            blocker(&snapshot).unwrap(),
            "not planned yet: begin a transaction: too many clients already"
        );
        snapshot.open.backing_off = 2;
        snapshot.open.last_error = Some("read conversations: timeout".into());
        assert_eq!(
            blocker(&snapshot).unwrap(),
            "retrying 2 chunks: read conversations: timeout"
        );
        snapshot.inboxes = 0;
        assert_eq!(blocker(&snapshot).unwrap(), "no inboxes");
    }
}
