//! Planning: which keys a run has to take, in which chunks, and where its watermark would go.

use std::sync::Arc;
use std::time::Duration;

use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::matched_totals::MatchedTotals;
use tidemark_ledger::reject::MAX_REJECTS;
use tidemark_ledger::run::PlanRecord;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, failure_kind};
use tidemark_runtime::config::{ConfigError, ProducerSettings};
use tidemark_shared::chunk::PlannedChunk;
use tidemark_shared::fence::{FenceSample, WatermarkBounds, fence, horizon};
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::Tenant;
use tidemark_source::view::ViewShape;
use tidemark_source::{Source, SourceError, SourceTx, Sources};

use crate::planning::names::Names;
use crate::planning::signals::Signals;
use crate::planning::source_scan::{Member, look};
use crate::planning::tenant_plan::draft;

/// How far behind a standby's replay the watermark stays: what its primary had written by then is replayed, but other
/// sessions' transaction ids are not to be seen there.
pub(crate) const STANDBY_MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Ledger(#[from] DbError),
    /// The target answers, and not as the migrations made it.
    #[error("the target cannot be read: {changed}")]
    Target {
        changed: String,
        #[source]
        source: DbError,
    },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "tenant {0} has no inboxes on source `{1}`: map them with `tidemark inbox map --tenant {0} --inbox …`"
    )]
    NoInboxes(TenantId, String),
    #[error("tenant {0} was removed")]
    Removed(TenantId),
    #[error(
        "more than {MAX_REJECTS} of the tenant's conversations cannot be read: these are no single bad rows"
    )]
    TooManyUnreadable(#[source] SourceError),
    #[error(
        "{gone} of the tenant's {live} conversations are gone from the source at once: nothing is marked deleted; \
         if that is right, run `tidemark {} --tenant {tenant} … --allow-mass-delete`",
        if *.run_type == RunType::Resync { "resync" } else { "sync" }
    )]
    MassDelete {
        run_type: RunType,
        tenant: TenantId,
        gone: i64,
        live: i64,
    },
    #[error(
        "source `{name}` shows no conversation at all while the tenant has {live}: nothing is marked deleted; look at \
         what its login may see, or if that is right run `tidemark sync --tenant {tenant} --allow-mass-delete`"
    )]
    Empty {
        tenant: TenantId,
        name: String,
        live: i64,
    },
}

impl PlanError {
    /// Whether one tenant's rows may be the cause, so that the others of its group pass without it. A statement that ran out
    /// of its time, a server that is away and a missing right concern the whole group: to try each would multiply the cost.
    fn may_be_one_tenants(&self) -> bool {
        let kind = match self {
            Self::Ledger(error) => failure_kind(&error.source),
            Self::Source(error) => error.kind(),
            _ => return true,
        };
        !self.is_unavailable() && matches!(kind, FailureKind::Data | FailureKind::Transient)
    }

    /// Whether a statement at the source ran out of its time.
    fn is_timeout(&self) -> bool {
        matches!(self, Self::Source(error) if error.kind() == FailureKind::Timeout)
    }

    /// Whether ledger or source are away: no fault of the run, which can be planned when they are back.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.may_pass(),
            // planning reads and holds nothing: a connection that breaks in it is the server's doing
            Self::Source(SourceError::Query { source, .. }) => {
                control_failure_kind(source) == FailureKind::Unavailable
            }
            Self::Source(error) => error.kind() == FailureKind::Unavailable,
            // the others are about what was found there
            _ => false,
        }
    }
}

/// A plan, not yet written.
#[derive(Debug)]
pub struct Plan {
    /// What was asked for, or `Full` for a tenant that has no watermark.
    pub run_type: RunType,
    pub chunks: Vec<PlannedChunk>,
    pub record: PlanRecord,
    /// What decided where the watermark may go; `None` for a run that leaves it where it is.
    pub reach: Option<WatermarkBounds>,
    pub(crate) names: Names,
    /// Source and target were seen equal; to be noted when nothing else comes of the plan.
    pub(crate) agreement: Option<MatchedTotals>,
}

/// A tenant of a group with its plan, or why it has none: often everybody's reason.
pub type Planned = (Tenant, Result<Plan, Arc<PlanError>>);

impl Plan {
    /// How many inboxes, accounts, users and teams are called otherwise than before; a backfill takes their rows.
    #[must_use]
    pub const fn renamed_count(&self) -> usize {
        self.names.renamed.len()
    }
}

/// What a plan leaves behind in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Its fence sample, for later plans.
    Sample,
    Nothing,
}

/// Plans runs of tenants.
#[derive(Debug, Clone)]
pub struct Planner {
    pub db: DbPool,
    pub sources: Arc<Sources>,
    pub settings: ProducerSettings,
}

/// What a plan reads through: the snapshot, and how far it lets the watermark go.
struct PlanView {
    tx: SourceTx,
    /// Set where the source is read through a view.
    shape: Option<ViewShape>,
    reach: WatermarkBounds,
}

impl Planner {
    /// Plans a run; writes nothing but the fence sample that it takes.
    ///
    /// # Errors
    /// When ledger or source do not answer, the source lacks something, went back in time, or lost too much at once.
    pub async fn plan(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
    ) -> Result<Plan, PlanError> {
        let planned = self.plan_any(tenant, run_type, request).await;
        self.explained(planned).await
    }

    /// Adds to an error of the target which of its columns were altered.
    async fn explained<T>(&self, outcome: Result<T, PlanError>) -> Result<T, PlanError> {
        let source = match outcome {
            Err(PlanError::Ledger(error)) if !error.may_pass() => error,
            outcome => return outcome,
        };
        match ledger::target::changed_columns(&self.db).await {
            Ok(Some(changed)) => Err(PlanError::Target { changed, source }),
            Ok(None) | Err(_) => Err(source.into()),
        }
    }

    async fn plan_any(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
    ) -> Result<Plan, PlanError> {
        if run_type == RunType::Verify {
            return self.plan_verification(tenant, request).await;
        }
        if let Some(selection) = request.selection.as_ref().filter(|part| !part.is_everything()) {
            return self
                .plan_selection(tenant, run_type, request, selection, Trace::Sample)
                .await;
        }
        self.plan_one(tenant, run_type, request, Trace::Sample).await
    }

    /// The same for somebody who wants to look: writes nothing at all.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn preview(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
    ) -> Result<Plan, PlanError> {
        let planned = match &request.selection {
            Some(selection) => {
                self.plan_selection(tenant, run_type, request, selection, Trace::Nothing)
                    .await
            }
            None => self.plan_one(tenant, run_type, request, Trace::Nothing).await,
        };
        self.explained(planned).await
    }

    async fn plan_one(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
        trace: Trace,
    ) -> Result<Plan, PlanError> {
        let source = self.sources.get(&tenant.source)?;
        let mut ready = ledger::tenant::list_to_plan(&self.db, &[tenant.id]).await?;
        let ready = ready.pop().ok_or(PlanError::Removed(tenant.id))?;
        let mut member = Member::new(ready, run_type, request, self.settings.digest_interval)?;
        // a requested run is open, and no agreement stands beside one; who wants to look wants to see
        member.always_compare = true;
        let mut view = self
            .open(source, &format!("plan tenant {}", tenant.id), trace)
            .await?;
        let mut plans = self.draft(source, &mut view, &[member]).await?;
        view.tx.finish().await;
        plans.pop().expect("a member has a plan")
    }

    /// Plans incremental runs of tenants of one source, in as few snapshots of it as possible. A group that fails for the
    /// rows of one tenant is planned again by halves, so that the others get their plans. A tenant that has no watermark gets a
    /// full run.
    pub async fn plan_together(&self, source: &str, tenants: Vec<TenantToPlan>) -> Vec<Planned> {
        let mut planned = Vec::with_capacity(tenants.len());
        let mut members = Vec::with_capacity(tenants.len());
        for ready in tenants {
            let tenant = ready.tenant.clone();
            let digest_interval = self.settings.digest_interval;
            match Member::new(
                ready,
                RunType::Incremental,
                &RunRequest::default(),
                digest_interval,
            ) {
                Ok(member) => members.push(member),
                Err(error) => planned.push((tenant, Err(Arc::new(error)))),
            }
        }
        let source = match self.sources.get(source) {
            Ok(source) => source,
            Err(error) => {
                fail_all(members, error.into(), &mut planned);
                return planned;
            }
        };
        let mut groups = groups_of(members);
        let mut has_timed_out = false;
        while let Some(mut group) = groups.pop() {
            let purpose = match group.as_slice() {
                [member] => format!("plan tenant {}", member.tenant.id),
                many => format!("plan {} tenants", many.len()),
            };
            // what fails before anything of a tenant was read is everybody's trouble
            let mut view = match self.open(source, &purpose, Trace::Sample).await {
                Ok(view) => view,
                Err(error) => {
                    group.extend(groups.into_iter().flatten());
                    fail_all(group, error, &mut planned);
                    break;
                }
            };
            let drafted = self.draft(source, &mut view, &group).await;
            match self.explained(drafted).await {
                Ok(plans) => {
                    view.tx.finish().await;
                    let tenants = group.into_iter().map(|member| member.tenant);
                    planned.extend(tenants.zip(plans.into_iter().map(|plan| plan.map_err(Arc::new))));
                }
                Err(error) if group.len() > 1 && error.may_be_one_tenants() => {
                    tracing::warn!(error = %report(&error), tenants = group.len(), "group not planned, its halves are");
                    groups.push(group.split_off(group.len() / 2));
                    groups.push(group);
                }
                Err(error) if error.is_timeout() && has_timed_out => {
                    // the source is slow, and not one tenant
                    group.extend(groups.into_iter().flatten());
                    fail_all(group, error, &mut planned);
                    break;
                }
                Err(error) => {
                    has_timed_out |= error.is_timeout();
                    fail_all(group, error, &mut planned);
                }
            }
        }
        planned
    }

    /// Plans the members in one snapshot. The inner errors are those of single tenants.
    async fn draft(
        &self,
        source: &Source,
        view: &mut PlanView,
        members: &[Member],
    ) -> Result<Vec<Result<Plan, PlanError>>, PlanError> {
        let mut signals = Signals::begin(source, view.shape.as_ref(), &mut view.tx).await?;
        let seen = look(&self.db, &mut signals, members, self.settings.message_edit_window).await?;
        let mut plans = Vec::with_capacity(members.len());
        for (member, seen) in members.iter().zip(seen) {
            plans.push(
                match draft(&self.db, &mut signals, view.reach, member, seen).await {
                    Err(error @ (PlanError::MassDelete { .. } | PlanError::Empty { .. })) => Err(error),
                    planned => Ok(planned?),
                },
            );
        }
        let mut planned: Vec<&mut Plan> = plans.iter_mut().flatten().collect();
        // a run without chunks reads no message
        if planned.iter().any(|plan| !plan.chunks.is_empty()) {
            let warnings = source
                .view_warnings(view.tx.connection(), view.shape.as_ref())
                .await;
            for plan in &mut planned {
                plan.record.warnings.clone_from(&warnings);
            }
        }
        Ok(plans)
    }

    /// Takes a sample, then the snapshot to plan from. Where no older sample qualifies yet, waits a bounded moment for
    /// this one to: the transactions open just now are usually short.
    async fn open(&self, source: &Source, purpose: &str, trace: Trace) -> Result<PlanView, PlanError> {
        const RETRY: Duration = Duration::from_millis(50);
        let (epoch, own) = match trace {
            Trace::Sample => crate::loops::sample::sample(&self.db, source).await?,
            Trace::Nothing => {
                let (epoch, seen) = crate::loops::sample::look(&self.db, source).await?;
                (epoch, seen.sample)
            }
        };
        let give_up_at = tokio::time::Instant::now() + self.settings.fence_wait;
        loop {
            // read after the sample: of samples that others take from now on it says nothing
            let (oldest_open, mut tx) = source.begin_with_oldest_open(purpose).await?;
            let shape = source.check_catalog(tx.connection()).await?;
            let fence = match tx.replay() {
                Some(replay) => replay.replayed_at.map(|replayed_at| replayed_at - STANDBY_MARGIN),
                None => {
                    let horizon = horizon(oldest_open, tx.snapshot());
                    let kept = ledger::fence::find_qualifying(
                        &self.db,
                        source.name(),
                        epoch,
                        horizon,
                        own.sampled_at,
                    )
                    .await?;
                    let samples: Vec<FenceSample> = kept.into_iter().chain([own]).collect();
                    let fence = fence(&samples, horizon);
                    if fence.is_none() && tokio::time::Instant::now() < give_up_at {
                        tx.finish().await;
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                    fence
                }
            };
            let reach = WatermarkBounds::new(fence, tx.snapshot(), self.settings.safety_lag);
            return Ok(PlanView { tx, shape, reach });
        }
    }
}

/// A chunk size as the ledger has it.
pub(crate) fn as_size(chunk_size: i32) -> usize {
    usize::try_from(chunk_size).expect("the ledger checks that a chunk size is positive")
}

/// Who is planned together, the last group first. A tenant whose last run has failed is planned alone, so that it keeps no
/// other from its plan a second time; those that have failed least often come first.
fn groups_of(members: Vec<Member>) -> Vec<Vec<Member>> {
    let (well, mut failing): (Vec<Member>, Vec<Member>) = members
        .into_iter()
        .partition(|member| member.consecutive_failures == 0);
    failing.sort_by_key(|member| std::cmp::Reverse(member.consecutive_failures));
    let mut groups: Vec<Vec<Member>> = failing.into_iter().map(|member| vec![member]).collect();
    groups.extend((!well.is_empty()).then_some(well));
    groups
}

/// Nobody's plan can be made, for one reason.
fn fail_all(group: Vec<Member>, error: PlanError, planned: &mut Vec<Planned>) {
    let error = Arc::new(error);
    planned.extend(
        group
            .into_iter()
            .map(|member| (member.tenant, Err(Arc::clone(&error)))),
    );
}
