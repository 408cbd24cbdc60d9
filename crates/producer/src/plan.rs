//! Planning: which keys a run has to take, in which chunks, and where its watermark would go.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tidemark_shared::chunk::{KeyStretch, PlannedChunk, key_chunks, range_chunks};
use tidemark_shared::config::{ConfigError, ProducerSettings};
use tidemark_shared::db::reject::MAX_REJECTS;
use tidemark_shared::db::run::PlanRecord;
use tidemark_shared::db::target::Bucket;
use tidemark_shared::db::{self, Attempt, DbError};
use tidemark_shared::fence::{FenceSample, fence, horizon, watermark_end};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::source::view::ViewShape;
use tidemark_shared::source::{Source, SourceError, SourceTx, Sources};
use tidemark_shared::tenant::Tenant;

use crate::guard::refuse_mass_delete;
use crate::membership::{Difference, difference, differing_buckets};
use crate::names::Names;
use crate::signals::{BUCKET_WIDTH, Hits, Signals, SourceBucket};

/// How far behind a standby's replay the watermark stays: what its primary had written by then is replayed, but other
/// sessions' transaction ids are not to be seen there.
pub(crate) const STANDBY_MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "tenant {0} has no inboxes on source `{1}`: map them with `tidemark inbox map --tenant {0} --inbox …`"
    )]
    NoInboxes(tidemark_shared::ids::TenantId, String),
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
        tenant: tidemark_shared::ids::TenantId,
        run_type: RunType,
        gone: i64,
        live: i64,
    },
    #[error(
        "source `{name}` shows no conversation at all while the tenant has {live}: nothing is marked deleted; look at \
         what its login may see, or if that is right run `tidemark sync --tenant {tenant} --allow-mass-delete`"
    )]
    Empty {
        tenant: tidemark_shared::ids::TenantId,
        name: String,
        live: i64,
    },
}

/// A plan, not yet written.
#[derive(Debug)]
pub struct Plan {
    /// What was asked for, or `Full` for a tenant that has no watermark.
    pub run_type: RunType,
    pub chunks: Vec<PlannedChunk>,
    pub record: PlanRecord,
    /// What decided where the watermark may go; `None` for a run that leaves it where it is.
    pub reach: Option<Reach>,
    pub(crate) names: Names,
}

impl Plan {
    /// How many inboxes, accounts, users and teams are called otherwise than before; a backfill takes their rows.
    #[must_use]
    pub const fn renamed_count(&self) -> usize {
        self.names.renamed.len()
    }
}

/// The two bounds of a watermark; it goes to the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// `None`: a transaction is open that is older than every sample.
    pub fence: Option<DateTime<Utc>>,
    /// The source's clock less the safety lag.
    pub safety: DateTime<Utc>,
}

/// What a plan leaves behind in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// Its fence sample, for later plans.
    Sample,
    Nothing,
}

/// Plans runs of tenants.
#[derive(Debug, Clone)]
pub struct Planner {
    pub db: PgPool,
    pub sources: Arc<Sources>,
    pub settings: ProducerSettings,
}

/// What a plan reads through: the snapshot, and how far it lets the watermark go.
struct PlanView {
    tx: SourceTx,
    /// Set where the source is read through a view.
    shape: Option<ViewShape>,
    watermark_end: Option<DateTime<Utc>>,
    reach: Reach,
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
        self.draft(tenant, run_type, request, Trace::Sample).await
    }

    /// The same for somebody who wants to look: writes nothing at all.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn preview(&self, tenant: &Tenant, run_type: RunType) -> Result<Plan, PlanError> {
        self.draft(tenant, run_type, &RunRequest::default(), Trace::Nothing)
            .await
    }

    async fn draft(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
        trace: Trace,
    ) -> Result<Plan, PlanError> {
        let source = self.sources.get(&tenant.source)?;
        let inboxes = db::inbox::list_active(&self.db, tenant.id, &tenant.source).await?;
        if inboxes.is_empty() {
            return Err(PlanError::NoInboxes(tenant.id, tenant.source.clone()));
        }
        if let Some(selection) = &request.selection {
            return self
                .plan_selection(source, tenant, &inboxes, run_type, request, selection)
                .await;
        }
        let watermark = db::watermark::load(&self.db, tenant.id).await?.watermark;
        // a tenant without a watermark gets everything
        let (run_type, since) = match (run_type, watermark) {
            (RunType::Incremental, Some(watermark)) => {
                (run_type, Some((watermark - tenant.lookback).naive_utc()))
            }
            (RunType::Incremental, None) => (RunType::Full, None),
            _ => (run_type, None),
        };

        // the history of newly mapped inboxes is left to their backfill, in the bulk lane
        let unfetched = match since {
            Some(_) => db::inbox::list_unfetched(&self.db, tenant.id, &tenant.source).await?,
            None => Vec::new(),
        };

        let mut view = self.open(source, tenant, watermark, trace).await?;
        let chunk_size = request.chunk_size.unwrap_or(tenant.chunk_size);
        let mut signals = Signals {
            source,
            shape: view.shape.as_ref(),
            tx: &mut view.tx,
            inboxes: &inboxes,
            unfetched: &unfetched,
            unreadable: Vec::new(),
        };
        let source_buckets = self.readable_conversations(tenant, &mut signals, since).await?;
        let mut target = db::target::begin(&self.db, tenant.id).await?;
        let target_buckets = db::target::buckets(&mut target, tenant.id, BUCKET_WIDTH, &unfetched).await?;

        let differing = differing_buckets(&source_buckets, &target_buckets);
        let mut membership = if differing.is_empty() || (since.is_none() && target_buckets.is_empty()) {
            Difference::default()
        } else {
            let there = signals.digests_in_buckets(&differing).await?;
            let here =
                db::target::digests_in_buckets(&mut target, tenant.id, &differing, BUCKET_WIDTH, &unfetched)
                    .await?;
            difference(&there, &here)
        };
        // the target may still have them from before
        membership
            .gone
            .retain(|id| signals.unreadable.binary_search(id).is_err());
        let live = target_buckets.iter().map(|bucket| bucket.count).sum();
        if !request.allow_mass_delete {
            if source_buckets.is_empty() && live > 0 && !signals.any_conversation().await? {
                return Err(PlanError::Empty {
                    tenant: tenant.id,
                    name: source.name().to_owned(),
                    live,
                });
            }
            refuse_mass_delete(&mut target, tenant, run_type, &inboxes, &membership.gone, live).await?;
        }

        let mut names = Names::default();
        let (chunks, counts) = if let Some(since) = since {
            let mut hits = Hits::default();
            hits.add(
                "conversations",
                source_buckets
                    .iter()
                    .flat_map(|bucket| bucket.changed.iter().copied()),
            );
            if source.view().is_none() {
                hits.add(
                    "messages",
                    signals.messages(since, self.settings.message_edit_window).await?,
                );
                hits.add("csat", signals.csat(since).await?);
                let (contacts, theirs) = signals.contacts(since).await?;
                hits.add("contacts", theirs);
                let contacts: Vec<i64> = contacts.into_iter().collect();
                hits.add(
                    "contacts",
                    db::target::clients_of(&mut target, tenant.id, &contacts).await?,
                );
            }
            names = signals.names(&mut target, tenant.id, since).await?;
            hits.add(
                "membership",
                membership.missing.into_iter().chain(membership.gone),
            );
            hits.add("digest", membership.changed);
            hits.add("unreadable", signals.unreadable);
            hits.add("rejects", db::target::open_rejects(&mut target, tenant.id).await?);
            let ids: Vec<i64> = hits.ids.into_iter().collect();
            (key_chunks(&ids, as_size(chunk_size)), hits.counts)
        } else {
            let stretches = signals.stretches(chunk_size).await?;
            (
                full_chunks(&stretches, &source_buckets, &target_buckets),
                std::collections::BTreeMap::new(),
            )
        };
        target.rollback().await.attempt("end the transaction")?;
        view.tx.finish().await;

        let moves = run_type.moves_watermark();
        Ok(Plan {
            run_type,
            record: PlanRecord {
                mapping_version: tenant.mapping_version,
                watermark_start: watermark.filter(|_| moves),
                watermark_end: view.watermark_end.filter(|_| moves),
                signals: counts,
                warnings: view.shape.as_ref().map(ViewShape::warnings).unwrap_or_default(),
                chunks_total: i32::try_from(chunks.len()).expect("chunks of a plan fit in 31 bits"),
            },
            chunks,
            reach: moves.then_some(view.reach),
            names,
        })
    }

    /// Takes a sample, then the snapshot to plan from. Where no older sample qualifies yet, waits a bounded moment for
    /// this one to: the transactions open just now are usually short.
    async fn open(
        &self,
        source: &Source,
        tenant: &Tenant,
        watermark: Option<DateTime<Utc>>,
        trace: Trace,
    ) -> Result<PlanView, PlanError> {
        const RETRY: Duration = Duration::from_millis(50);
        let (epoch, own) = match trace {
            Trace::Sample => crate::sample::sample(&self.db, source).await?,
            Trace::Nothing => {
                let (epoch, seen) = crate::sample::look(&self.db, source).await?;
                (epoch, seen.sample)
            }
        };
        let give_up_at = tokio::time::Instant::now() + self.settings.fence_wait;
        loop {
            // read after the sample: of samples that others take from now on it says nothing
            let oldest_open = source.oldest_open().await?;
            let mut tx = source.begin(&format!("plan tenant {}", tenant.id)).await?;
            let shape = source.check_catalog(tx.connection()).await?;
            let fence = match tx.replay() {
                Some(replay) => replay.replayed_at.map(|replayed_at| replayed_at - STANDBY_MARGIN),
                None => {
                    let horizon = horizon(oldest_open, tx.snapshot());
                    let kept =
                        db::fence::find_qualifying(&self.db, source.name(), epoch, horizon, own.sampled_at)
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
            let reach = Reach {
                fence,
                safety: tx.snapshot().clock - self.settings.safety_lag,
            };
            let watermark_end = watermark_end(watermark, fence, tx.snapshot(), self.settings.safety_lag);
            return Ok(PlanView {
                tx,
                shape,
                watermark_end,
                reach,
            });
        }
    }
}

/// A chunk size as the ledger has it.
pub(crate) fn as_size(chunk_size: i32) -> usize {
    usize::try_from(chunk_size).expect("the ledger checks that a chunk size is positive")
}

/// Ranges over everything that source or target know.
fn full_chunks(
    stretches: &[(i64, i64, i64)],
    source: &[SourceBucket],
    target: &[Bucket],
) -> Vec<PlannedChunk> {
    let stretches: Vec<KeyStretch> = stretches
        .iter()
        .map(|&(first, last, count)| KeyStretch { first, last, count })
        .collect();
    let lasts = source
        .iter()
        .map(|bucket| bucket.last)
        .chain(target.iter().map(|bucket| bucket.last));
    range_chunks(&stretches, lasts.max().unwrap_or(0))
}
