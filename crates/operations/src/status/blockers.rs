//! What holds a tenant, in a few words, from what the ledger says.

use chrono::TimeDelta;

use tidemark_ledger::chunk::bulk_share;
use tidemark_ledger::process::{NO_BROKER, Process};
use tidemark_ledger::source_watch::SourceWatch;
use tidemark_ledger::tenant_status::TenantSnapshot;
use tidemark_shared::run::{RunReport, RunStatus};

/// A fence that follows is a sample's interval behind.
const FENCE_HELD: TimeDelta = TimeDelta::minutes(1);

/// What is known of a tenant and its surroundings.
pub(super) struct Known<'a> {
    pub standing: &'a TenantSnapshot,
    pub last_run: Option<&'a RunReport>,
    pub source: Option<&'a SourceWatch>,
    pub processes: &'a [Process],
    /// Chunks of its source, and of the whole fleet, that are queued or running.
    pub source_in_flight: i64,
    pub fleet_in_flight: i64,
    /// How many may be.
    pub source_limit: Option<i32>,
    pub fleet_limit: i32,
}

/// An error as a table has room for it; `run show` has all of it.
fn one_line(error: &str) -> String {
    const LONGEST: usize = 200;
    let mut line = error.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The first thing in the way of the tenant's rows, from the plan to the watermark; `None`: nothing holds it.
pub(super) fn held_by(known: &Known<'_>) -> Option<String> {
    let TenantSnapshot { tenant, open, .. } = known.standing;
    if tenant.paused_at.is_some() {
        let reason = tenant.pause_reason.as_deref().map(|reason| format!(": {reason}"));
        return Some(format!("paused{}", reason.unwrap_or_default()));
    }
    if !tenant.may_run() {
        return Some("not active".to_owned());
    }
    if known.standing.inboxes == 0 {
        return Some("no inboxes".to_owned());
    }
    if !known.lives("producer") {
        return Some("no producer".to_owned());
    }
    let waiting = open.pending + open.queued;
    if waiting > 0 && !known.lives("worker") {
        return Some("no worker".to_owned());
    }
    if waiting > 0 && open.running == 0 && known.without_broker() {
        return Some(NO_BROKER.to_owned());
    }
    let all_done = known
        .last_run
        .is_some_and(|run| run.status == RunStatus::Running && waiting + open.running == 0);
    if all_done && !known.lives("finalizer") {
        return Some("no finalizer".to_owned());
    }
    if open.backing_off > 0 {
        let error = open.last_error.as_deref().map(|error| format!(": {error}"));
        let chunks = if open.backing_off == 1 { "chunk" } else { "chunks" };
        return Some(format!(
            "retrying {} {chunks}{}",
            open.backing_off,
            error.unwrap_or_default()
        ));
    }
    let failures = known.standing.consecutive_failures;
    if failures > 0 {
        let error = known
            .last_run
            .filter(|run| run.status == RunStatus::Failed)
            .and_then(|run| run.error.as_deref())
            .map(|error| format!(": {}", one_line(error)));
        return Some(format!(
            "failing, {failures} in a row{}",
            error.unwrap_or_default()
        ));
    }
    known
        .source
        .and_then(held_by_source)
        .or_else(|| (open.pending > 0).then(|| held_by_limit(known)).flatten())
}

fn held_by_source(source: &SourceWatch) -> Option<String> {
    if source.error.is_some() {
        return Some(format!("source {} cannot be sampled", source.source));
    }
    let holder = source.holder.as_ref()?;
    if source.fence_lag().is_some_and(|lag| lag < FENCE_HELD) {
        return None;
    }
    Some(match (holder.pid, &holder.prepared) {
        (Some(pid), _) => format!("fence: pid {pid}"),
        (None, Some(name)) => format!("fence: prepared transaction {name}"),
        (None, None) => "fence".to_owned(),
    })
}

/// Bulk chunks stop short of a shared limit: what is beyond their share is kept for live ones.
fn held_by_limit(known: &Known<'_>) -> Option<String> {
    let own = known.standing.open.in_flight();
    let own_limit = known.standing.tenant.max_in_flight;
    let limits = [
        ("tenant", own, Some((own_limit, own_limit))),
        (
            "source",
            known.source_in_flight,
            known.source_limit.map(|limit| (limit, bulk_share(limit))),
        ),
        (
            "fleet",
            known.fleet_in_flight,
            Some((known.fleet_limit, bulk_share(known.fleet_limit))),
        ),
    ];
    limits.into_iter().find_map(|(whose, in_flight, limit)| {
        let (limit, reached) = limit?;
        (in_flight >= i64::from(reached))
            .then(|| format!("limit of the {whose}, {in_flight} of {limit} in flight"))
    })
}

impl Known<'_> {
    fn of_role(&self, role: &str) -> impl Iterator<Item = &Process> {
        let role = role.to_owned();
        self.processes
            .iter()
            .filter(move |process| process.role == role || process.role == "up")
    }

    fn lives(&self, role: &str) -> bool {
        self.of_role(role).next().is_some()
    }

    /// No producer can publish, or no worker is subscribed.
    fn without_broker(&self) -> bool {
        ["producer", "worker"].into_iter().any(|role| {
            self.of_role(role)
                .all(|process| process.doing.as_deref() == Some(NO_BROKER))
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

    fn standing(tenant: &Tenant, open: OpenChunks) -> TenantSnapshot {
        TenantSnapshot {
            tenant: tenant.clone(),
            at: DateTime::UNIX_EPOCH,
            watermark: None,
            checked_at: None,
            consecutive_failures: 0,
            next_due_at: DateTime::UNIX_EPOCH,
            late: false,
            inboxes: 1,
            open,
            last_run_id: None,
        }
    }

    fn held(
        tenant: &Tenant,
        processes: &[Process],
        open: OpenChunks,
        source: Option<&SourceWatch>,
    ) -> String {
        let known = Known {
            standing: &standing(tenant, open),
            last_run: None,
            source,
            processes,
            source_in_flight: 20,
            fleet_in_flight: 20,
            source_limit: Some(32),
            fleet_limit: 256,
        };
        held_by(&known).unwrap_or_default()
    }

    fn fleet() -> Vec<Process> {
        ["producer", "worker", "finalizer"]
            .map(|role| process(role, None))
            .into()
    }

    #[test]
    fn a_tenant_in_step_and_a_tenant_at_work_are_held_by_nothing() {
        assert_eq!(
            held(&tenant(), &fleet(), chunks(0, 0, 0), Some(&source(Some(5), None))),
            ""
        );
        assert_eq!(held(&tenant(), &fleet(), chunks(3, 1, 2), None), "");
        assert_eq!(held(&tenant(), &[process("up", None)], chunks(3, 1, 2), None), "");
    }

    #[test]
    fn a_pause_is_named_with_its_reason() {
        let paused = Tenant {
            paused_at: Some(DateTime::UNIX_EPOCH),
            pause_reason: Some("moving".into()),
            ..tenant()
        };
        assert_eq!(held(&paused, &fleet(), chunks(1, 0, 0), None), "paused: moving");
        let suspended = Tenant {
            status: TenantStatus::Suspended,
            ..tenant()
        };
        assert_eq!(held(&suspended, &fleet(), chunks(0, 0, 0), None), "not active");
    }

    #[test]
    fn a_missing_role_is_named_when_it_is_needed() {
        let [producer, worker, finalizer] =
            ["producer", "worker", "finalizer"].map(|role| process(role, None));
        let without_worker = [producer, finalizer.clone()];
        assert_eq!(
            held(&tenant(), &[worker, finalizer], chunks(0, 0, 0), None),
            "no producer"
        );
        assert_eq!(
            held(&tenant(), &without_worker, chunks(0, 4, 0), None),
            "no worker"
        );
        assert_eq!(held(&tenant(), &without_worker, chunks(0, 0, 0), None), "");
    }

    #[test]
    fn a_broker_that_is_away_is_named_while_chunks_wait() {
        let processes = [
            process("producer", Some(NO_BROKER)),
            process("worker", None),
            process("finalizer", None),
        ];
        assert_eq!(held(&tenant(), &processes, chunks(4, 0, 0), None), "no broker");
        assert_eq!(held(&tenant(), &processes, chunks(0, 0, 0), None), "");
    }

    #[test]
    fn a_fence_is_held_from_a_minute_on_and_by_one_that_is_older_than_every_sample() {
        let idle = || chunks(0, 0, 0);
        assert_eq!(
            held(&tenant(), &fleet(), idle(), Some(&source(Some(90), None))),
            "fence: pid 47"
        );
        assert_eq!(
            held(&tenant(), &fleet(), idle(), Some(&source(None, None))),
            "fence: pid 47"
        );
        assert_eq!(
            held(&tenant(), &fleet(), idle(), Some(&source(None, Some("down")))),
            "source main cannot be sampled"
        );
    }

    #[test]
    fn the_limit_that_is_reached_is_named() {
        assert_eq!(
            held(&tenant(), &fleet(), chunks(9, 6, 2), None),
            "limit of the tenant, 8 of 8 in flight"
        );
        let mut standing = standing(&tenant(), chunks(9, 1, 1));
        let processes = fleet();
        let held = |standing: &TenantSnapshot| {
            held_by(&Known {
                standing,
                last_run: None,
                source: None,
                processes: &processes,
                source_in_flight: 28,
                fleet_in_flight: 40,
                source_limit: Some(32),
                fleet_limit: 256,
            })
        };
        assert_eq!(
            held(&standing).unwrap(),
            "limit of the source, 28 of 32 in flight"
        );
        standing.consecutive_failures = 3;
        assert_eq!(held(&standing).unwrap(), "failing, 3 in a row");
        standing.open.backing_off = 2;
        standing.open.last_error = Some("read conversations: timeout".into());
        assert_eq!(
            held(&standing).unwrap(),
            "retrying 2 chunks: read conversations: timeout"
        );
        standing.inboxes = 0;
        assert_eq!(held(&standing).unwrap(), "no inboxes");
    }
}
