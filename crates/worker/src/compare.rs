//! Verify: is each of a tenant's rows what the source would give now?
//!
//! Proven by sums of digests where both sides have them, and column by column where they do not agree. A digest that
//! agrees is a proof; one that does not only says where to look: whether a row is at fault is told by its columns.

mod chunk;
mod classify;
mod comparer;
mod sums;

use std::sync::Arc;
use std::time::Duration;

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

use crate::compare::comparer::{Found, Looker};
use crate::execute::{ExecuteError, context};
use crate::load::LoadError;
use crate::transform::TenantContext;

/// Conversations of which the sums are compared at once.
const ROWS_AT_ONCE: i32 = 20_000;
/// How often rows are looked at again that were written meanwhile; what is then still in motion is left to the next sync.
const LOOKS: usize = 3;
/// For the runs that are under way at the first look.
const PATIENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Compares tenants.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub db: DbPool,
    pub sources: Arc<Sources>,
    /// Tenants' keys for hashes are derived from it.
    pub privacy_key: Option<SecretString>,
    /// Column by column, whatever the digests say.
    pub deep: bool,
}

/// A tenant as a comparison sees it.
struct Subject<'a> {
    source: &'a Source,
    tenant: TenantToPlan,
    context: TenantContext,
}

/// A snapshot of the source, and what is known of it.
struct Snapshot {
    tx: SourceTx,
    version: SourceVersion,
    /// Whether a row that was read later than the snapshot can be believed.
    trusts_newer: bool,
    /// Whether it is of a primary that has not gone back.
    is_latest: bool,
}

impl Verifier {
    /// Compares all of a tenant's rows. Writes nothing. Rows that a run under way may be about to write are looked at again
    /// when it has ended, within a minute.
    ///
    /// # Errors
    /// When source or target do not answer, or the tenant was removed.
    pub async fn verify(&self, tenant: TenantId) -> Result<Verification, ExecuteError> {
        let subject = self.subject(tenant).await?;
        let mut found = self.look_at_all(&subject).await?;
        if !found.faults.is_empty() && ledger::verification::has_open_sync(&self.db, tenant).await? {
            let give_up_at = Instant::now() + PATIENCE;
            while ledger::verification::has_open_sync(&self.db, tenant).await? && Instant::now() < give_up_at
            {
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            let subject = self.subject(tenant).await?;
            let listed = i64::try_from(found.faults.len()).expect("a short list");
            if found.compared.fault_count() + found.compared.unproven > listed {
                found = self.look_at_all(&subject).await?;
            } else {
                let ids = found.faults.iter().map(|fault| fault.conversation_id).collect();
                self.look_again(&subject, &mut found, ids, None).await?;
            }
        }
        Ok(Verification::new(tenant, found.compared, found.faults))
    }

    async fn look_at_all(&self, subject: &Subject<'_>) -> Result<Found, ExecuteError> {
        let tenant = subject.tenant.tenant.id;
        let mut snapshot = self.snapshot(subject, &format!("verify tenant {tenant}")).await?;
        let (mut found, mut lo) = (Found::default(), i64::MIN);
        loop {
            let end = subject
                .source
                .range_end(
                    snapshot.tx.connection(),
                    &subject.tenant.inboxes,
                    lo,
                    ROWS_AT_ONCE,
                )
                .await?;
            let hi = end.unwrap_or(i64::MAX);
            let spec = ChunkSpec::KeyRange { lo, hi };
            found.add(self.looker(subject, &mut snapshot).look(&spec, self.deep).await?);
            match end {
                Some(hi) => lo = hi + 1,
                None => break,
            }
        }
        snapshot.tx.finish().await;
        self.settle_overtaken(subject, &mut found).await?;
        Ok(found)
    }

    /// Looks at these conversations once more; what was found of them before is forgotten.
    async fn look_again(
        &self,
        subject: &Subject<'_>,
        found: &mut Found,
        mut ids: Vec<i64>,
        since: Option<SourceVersion>,
    ) -> Result<(), ExecuteError> {
        let (source_rows, target_rows) = (found.compared.source_rows, found.compared.target_rows);
        ids.sort_unstable();
        let spec = ChunkSpec::Keys { ids };
        let (mut snapshot, impossible) = self.snapshot_after_rows(subject, &spec).await?;
        let mut looker = self.looker(subject, &mut snapshot);
        looker.since = since;
        looker.impossible = impossible;
        let mut again = looker.look(&spec, true).await?;
        snapshot.tx.finish().await;
        self.settle_overtaken(subject, &mut again).await?;
        again.compared.source_rows = source_rows;
        again.compared.target_rows = target_rows;
        again.compared.pending += found.compared.pending;
        *found = again;
        Ok(())
    }

    /// Looks again, in later snapshots, at rows that were written after an earlier one.
    async fn settle_overtaken(&self, subject: &Subject<'_>, found: &mut Found) -> Result<(), ExecuteError> {
        for _ in 0..LOOKS {
            let mut ids = std::mem::take(&mut found.overtaken);
            if ids.is_empty() {
                return Ok(());
            }
            ids.sort_unstable();
            let spec = ChunkSpec::Keys { ids };
            let (mut snapshot, impossible) = self.snapshot_after_rows(subject, &spec).await?;
            let mut looker = self.looker(subject, &mut snapshot);
            looker.impossible = impossible;
            let mut again = looker.look(&spec, true).await?;
            snapshot.tx.finish().await;
            // they are counted already
            again.compared.source_rows = 0;
            again.compared.target_rows = 0;
            found.add(again);
        }
        found.compared.pending +=
            i64::try_from(found.overtaken.len()).expect("rows of a tenant fit in 63 bits");
        found.overtaken.clear();
        Ok(())
    }

    async fn subject(&self, id: TenantId) -> Result<Subject<'_>, ExecuteError> {
        let tenant = ledger::tenant::list_to_plan(&self.db, &[id]).await?.pop();
        let tenant = tenant.ok_or(ExecuteError::Removed(id))?;
        let mapping = ledger::inbox::load_mapping(&self.db, id).await?;
        let timezone = &tenant.tenant.timezone;
        let context = context(id, timezone, &mapping, self.privacy_key.as_ref())?;
        Ok(Subject {
            source: self.sources.get(&tenant.tenant.source)?,
            tenant,
            context,
        })
    }

    async fn snapshot(&self, subject: &Subject<'_>, purpose: &str) -> Result<Snapshot, ExecuteError> {
        // what is known is read first: whatever the source shows afterwards must not be less
        let known = ledger::fence::find(&self.db, subject.source.name()).await?;
        let tx = subject.source.begin(purpose).await?;
        let version = SourceVersion {
            epoch: known.map_or(1, |known| known.epoch),
            snapshot: *tx.snapshot(),
        };
        // a standby is behind; a primary that is behind was restored, and what was read from it before is no later
        let is_behind = known.is_some_and(|known| version.snapshot.xmax < known.highest_xmax);
        Ok(Snapshot {
            trusts_newer: tx.replay().is_some() || !is_behind,
            is_latest: tx.replay().is_none() && !is_behind,
            tx,
            version,
        })
    }

    /// A snapshot, and which of these rows it cannot have: those that were there before it and are later. `None` where a
    /// later row may be right, on a standby.
    async fn snapshot_after_rows(
        &self,
        subject: &Subject<'_>,
        spec: &ChunkSpec,
    ) -> Result<(Snapshot, Option<Impossible>), ExecuteError> {
        let before = ledger::impossible::rows(&self.db, subject.tenant.tenant.id, spec, None).await?;
        let snapshot = self.snapshot(subject, "verify again").await?;
        let impossible = snapshot.is_latest.then(|| before.beyond(&snapshot.version));
        Ok((snapshot, impossible))
    }

    fn looker<'a>(&'a self, subject: &'a Subject<'_>, snapshot: &'a mut Snapshot) -> Looker<'a> {
        Looker {
            db: &self.db,
            source: subject.source,
            tenant: &subject.tenant,
            context: subject.context.clone(),
            version: snapshot.version,
            trusts_newer: snapshot.trusts_newer,
            is_latest: snapshot.is_latest,
            impossible: None,
            since: None,
            tx: &mut snapshot.tx,
        }
    }

    /// Refuses when the tenant's inboxes were mapped anew since it was looked up.
    async fn check_mapping(&self, subject: &Subject<'_>) -> Result<(), ExecuteError> {
        let tenant = &subject.tenant.tenant;
        if ledger::inbox::load_mapping(&self.db, tenant.id).await?.version == tenant.mapping_version {
            Ok(())
        } else {
            Err(LoadError::Remapped.into())
        }
    }
}
