//! Verify: compares a tenant's rows with the rows that the source would give now.
//!
//! Equal sums of digests prove that rows are equal. Unequal sums only show which rows to compare column by column: the
//! columns decide whether a row is at fault.

mod chunk;
mod classify;
mod comparer;
mod findings;
mod staged;
mod sums;
mod unproven;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use tidemark_ledger as ledger;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::TenantId;
use tidemark_shared::verification::Verification;
use tidemark_source::{Source, SourceTx, Sources};
use tokio::time::Instant;

use crate::compare::comparer::Comparer;
use crate::compare::findings::Findings;
use crate::error::ExecuteError;
use crate::load::LoadError;
use crate::tenant_context::tenant_context;
use crate::transform::TenantContext;

/// Conversations per range of ids whose sums are compared with one query.
pub const ROWS_PER_RANGE: i32 = 20_000;
/// How often rows are compared again because a load wrote them meanwhile. Rows that still change count as pending.
const MAX_RECHECKS: usize = 3;
/// How long the command waits for runs that are open after the first pass.
const OPEN_RUN_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Compares tenants.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub db: DbPool,
    pub sources: Arc<Sources>,
    /// The secret from which each tenant's hash key is derived.
    pub privacy_key: Option<SecretString>,
    /// Compare column by column, whatever the digests show.
    pub deep: bool,
    /// Conversations per range; see [`ROWS_PER_RANGE`].
    pub rows_per_range: i32,
    /// Ranges of a tenant that are compared side by side. Each uses a session of the source.
    pub at_once: u16,
}

/// What a comparison needs to know of a tenant.
struct ComparedTenant<'a> {
    source: &'a Source,
    plan: TenantToPlan,
    context: TenantContext,
}

/// A snapshot of the source.
struct Snapshot {
    tx: SourceTx,
    version: SourceVersion,
    /// Whether a row that was read later than this snapshot may be right. False when the source was restored.
    trusts_newer: bool,
    /// Whether it is a snapshot of a primary that was not restored: it has every change that was read before.
    is_latest: bool,
}

impl Verifier {
    /// Compares all of a tenant's rows and writes nothing. When there are faults and a run is open, it waits up to a
    /// minute for the run to end and compares the faulty rows again.
    pub async fn verify(&self, id: TenantId) -> Result<Verification, ExecuteError> {
        let tenant = self.load_tenant(id).await?;
        let mut found = self.compare_all(&tenant).await?;
        if !found.faults.is_empty() && ledger::verification::has_open_sync(&self.db, id).await? {
            let deadline = Instant::now() + OPEN_RUN_TIMEOUT;
            while ledger::verification::has_open_sync(&self.db, id).await? && Instant::now() < deadline {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            let tenant = self.load_tenant(id).await?;
            let listed = i64::try_from(found.faults.len()).expect("a short list");
            if found.compared.fault_count() + found.compared.unproven > listed {
                found = self.compare_all(&tenant).await?;
            } else {
                let ids = found.faults.iter().map(|fault| fault.conversation_id).collect();
                self.compare_again(&tenant, &mut found, ids, None).await?;
            }
        }
        Ok(Verification::new(id, found.compared, found.faults))
    }

    async fn compare_all(&self, tenant: &ComparedTenant<'_>) -> Result<Findings, ExecuteError> {
        let ranges = self.split(tenant).await?;
        let comparing = stream::iter(ranges).map(|spec| self.compare_part(tenant, spec));
        let mut comparing = pin!(comparing.buffered(usize::from(self.at_once.max(1))));
        let mut found = Findings::default();
        while let Some(part) = comparing.try_next().await? {
            found.add(part);
        }
        self.recheck_newer_rows(tenant, &mut found).await?;
        Ok(found)
    }

    /// Ranges that cover all ids, in their order. The first has no lower end and the last no upper one: rows that only the
    /// target has are found too.
    async fn split(&self, tenant: &ComparedTenant<'_>) -> Result<Vec<ChunkSpec>, ExecuteError> {
        let mut snapshot = self.snapshot(tenant, &purpose(tenant)).await?;
        let inboxes = &tenant.plan.inboxes;
        let ends = tenant
            .source
            .range_ends(snapshot.tx.connection(), inboxes, self.rows_per_range)
            .await?;
        let mut lo = i64::MIN;
        let ranges = ends.into_iter().chain([i64::MAX]).map(|hi| ChunkSpec::KeyRange {
            lo: std::mem::replace(&mut lo, hi.saturating_add(1)),
            hi,
        });
        let ranges = ranges.collect();
        // its session is free before the first comparison needs one
        snapshot.tx.finish().await;
        Ok(ranges)
    }

    /// Compares a range in a snapshot of its own, as a chunk of a run does.
    async fn compare_part(
        &self,
        tenant: &ComparedTenant<'_>,
        spec: ChunkSpec,
    ) -> Result<Findings, ExecuteError> {
        let mut snapshot = self.snapshot(tenant, &purpose(tenant)).await?;
        let found = self
            .comparer(tenant, &mut snapshot)
            .compare(&spec, self.deep)
            .await?;
        snapshot.tx.finish().await;
        Ok(found)
    }

    /// Compares these conversations once more. The result replaces the earlier findings.
    async fn compare_again(
        &self,
        tenant: &ComparedTenant<'_>,
        found: &mut Findings,
        mut ids: Vec<i64>,
        since: Option<SourceVersion>,
    ) -> Result<(), ExecuteError> {
        let (source_rows, target_rows) = (found.compared.source_rows, found.compared.target_rows);
        ids.sort_unstable();
        let spec = ChunkSpec::Keys { ids };
        let (mut snapshot, impossible) = self.snapshot_after_rows(tenant, &spec).await?;
        let mut comparer = self.comparer(tenant, &mut snapshot);
        comparer.since = since;
        comparer.impossible = impossible;
        let mut again = comparer.compare(&spec, true).await?;
        snapshot.tx.finish().await;
        self.recheck_newer_rows(tenant, &mut again).await?;
        again.compared.source_rows = source_rows;
        again.compared.target_rows = target_rows;
        again.compared.pending += found.compared.pending;
        *found = again;
        Ok(())
    }

    /// Compares rows that were written after an earlier snapshot again, in later snapshots.
    async fn recheck_newer_rows(
        &self,
        tenant: &ComparedTenant<'_>,
        found: &mut Findings,
    ) -> Result<(), ExecuteError> {
        for _ in 0..MAX_RECHECKS {
            let mut ids = std::mem::take(&mut found.newer_rows);
            if ids.is_empty() {
                return Ok(());
            }
            ids.sort_unstable();
            let spec = ChunkSpec::Keys { ids };
            let (mut snapshot, impossible) = self.snapshot_after_rows(tenant, &spec).await?;
            let mut comparer = self.comparer(tenant, &mut snapshot);
            comparer.impossible = impossible;
            let mut again = comparer.compare(&spec, true).await?;
            snapshot.tx.finish().await;
            // these rows are already counted
            again.compared.source_rows = 0;
            again.compared.target_rows = 0;
            found.add(again);
        }
        found.compared.pending +=
            i64::try_from(found.newer_rows.len()).expect("rows of a tenant fit in 63 bits");
        found.newer_rows.clear();
        Ok(())
    }

    async fn load_tenant(&self, id: TenantId) -> Result<ComparedTenant<'_>, ExecuteError> {
        let plan = ledger::tenant::list_to_plan(&self.db, &[id]).await?.pop();
        let plan = plan.ok_or(ExecuteError::Removed(id))?;
        let mapping = ledger::inbox::load_mapping(&self.db, id).await?;
        let timezone = &plan.tenant.timezone;
        let context = tenant_context(id, timezone, &mapping, self.privacy_key.as_ref())?;
        Ok(ComparedTenant {
            source: self.sources.get(&plan.tenant.source)?,
            plan,
            context,
        })
    }

    async fn snapshot(&self, tenant: &ComparedTenant<'_>, purpose: &str) -> Result<Snapshot, ExecuteError> {
        // read the highest known transaction id first: a snapshot that is taken later must not be below it
        let known = ledger::fence::find(&self.db, tenant.source.name()).await?;
        let tx = tenant.source.begin(purpose).await?;
        let version = SourceVersion {
            epoch: known.map_or(1, |known| known.epoch),
            snapshot: *tx.snapshot(),
        };
        // a standby lags. A primary below the known id was restored: rows read from it earlier are not newer.
        let is_behind = known.is_some_and(|known| version.snapshot.xmax < known.highest_xmax);
        Ok(Snapshot {
            trusts_newer: tx.replay().is_some() || !is_behind,
            is_latest: tx.replay().is_none() && !is_behind,
            tx,
            version,
        })
    }

    /// A snapshot, and the impossible rows: those that existed before the snapshot and have a later version than it.
    /// `None` on a standby, where such a row may be right.
    async fn snapshot_after_rows(
        &self,
        tenant: &ComparedTenant<'_>,
        spec: &ChunkSpec,
    ) -> Result<(Snapshot, Option<Impossible>), ExecuteError> {
        let before = ledger::impossible::rows(&self.db, tenant.plan.tenant.id, spec, None).await?;
        let snapshot = self.snapshot(tenant, "verify again").await?;
        let impossible = snapshot.is_latest.then(|| before.beyond(&snapshot.version));
        Ok((snapshot, impossible))
    }

    fn comparer<'a>(&'a self, tenant: &'a ComparedTenant<'_>, snapshot: &'a mut Snapshot) -> Comparer<'a> {
        Comparer {
            db: &self.db,
            source: tenant.source,
            tenant: &tenant.plan,
            context: tenant.context.clone(),
            version: snapshot.version,
            trusts_newer: snapshot.trusts_newer,
            is_latest: snapshot.is_latest,
            impossible: None,
            since: None,
            tx: &mut snapshot.tx,
        }
    }

    /// Fails when the tenant's mapping has changed since it was loaded.
    async fn check_mapping(&self, tenant: &ComparedTenant<'_>) -> Result<(), ExecuteError> {
        let tenant = &tenant.plan.tenant;
        if ledger::inbox::load_mapping(&self.db, tenant.id).await?.version == tenant.mapping_version {
            Ok(())
        } else {
            Err(LoadError::Remapped.into())
        }
    }
}

/// What an administrator of the source sees of a comparison.
fn purpose(tenant: &ComparedTenant<'_>) -> String {
    format!("verify tenant {}", tenant.plan.tenant.id)
}
