//! A chunk of a verify run.
//!
//! A row that differs may be a change that the next sync will load, and timestamps do not always show it. So such rows
//! are compared in two passes. The first pass stores them in the ledger and defers the chunk. The second pass runs
//! after a sync. In between, the chunk occupies neither a worker nor a session of the source.

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_ledger::verification::{ChunkFindings, ComparisonRequest, Unsettled};
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::verification::Compared;

use super::{ComparedTenant, Verifier};
use crate::compare::findings::{Findings, can_sync_fix};
use crate::error::ExecuteError;
use crate::load::LoadError;

impl Verifier {
    /// Compares the chunk's rows and completes it. Safe to drop at any point.
    ///
    /// # Errors
    /// [`ExecuteError::Unsettled`] when rows have to be compared again after the next sync.
    pub(crate) async fn execute(
        &self,
        id: ChunkId,
        chunk: &ClaimedChunk,
    ) -> Result<ChunkCounts, ExecuteError> {
        let ask = ledger::verification::load_request(&self.db, id.run_id).await?;
        let verifier = Self {
            deep: ask.deep,
            ..self.clone()
        };
        let comparison = ChunkComparison {
            verifier: &verifier,
            tenant: verifier.load_tenant(chunk.tenant_id).await?,
            id,
            chunk,
        };
        match ledger::verification::find_unsettled(&self.db, id, ask).await? {
            None => comparison.first_pass(ask).await,
            Some(first) if first.is_due || first.is_overdue => comparison.second_pass(ask, first).await,
            Some(first) => Err(ExecuteError::Unsettled(
                first.ids.map_or(super::findings::MAX_FAULTS, |ids| ids.len()),
            )),
        }
    }
}

/// The comparison of one claimed chunk.
struct ChunkComparison<'a> {
    verifier: &'a Verifier,
    tenant: ComparedTenant<'a>,
    id: ChunkId,
    chunk: &'a ClaimedChunk,
}

impl ChunkComparison<'_> {
    async fn first_pass(&self, ask: ComparisonRequest) -> Result<ChunkCounts, ExecuteError> {
        let (version, found) = self.compare().await?;
        let may_be_fixed = found.faults.iter().any(|fault| can_sync_fix(fault.kind));
        let db = &self.verifier.db;
        let waits = may_be_fixed
            && (ask.is_scheduled || ledger::verification::has_open_sync(db, self.chunk.tenant_id).await?);
        if !waits {
            return self.complete(&version, &found).await;
        }
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        // lock the chunk, so that no other attempt writes its findings at the same time
        if !ledger::chunk::lock_claimed(&mut *tx, self.id, self.chunk.attempt).await? {
            return Err(LoadError::LeaseLost.into());
        }
        ledger::verification::record_part(&mut tx, &self.part(&version, &found, false)).await?;
        tx.commit().await.attempt("store the findings of the chunk")?;
        Err(ExecuteError::Unsettled(found.faults.len()))
    }

    async fn second_pass(
        &self,
        ask: ComparisonRequest,
        first: Unsettled,
    ) -> Result<ChunkCounts, ExecuteError> {
        let mut found = match first.ids {
            None => self.compare().await?.1,
            Some(ids) => {
                let compared = Compared {
                    source_rows: first.source_rows,
                    target_rows: first.target_rows,
                    pending: first.pending,
                    ..Compared::default()
                };
                let mut found = Findings {
                    compared,
                    ..Findings::default()
                };
                self.verifier
                    .compare_again(&self.tenant, &mut found, ids, Some(first.version))
                    .await?;
                self.verifier.check_mapping(&self.tenant).await?;
                found
            }
        };
        if !first.is_due && ask.is_scheduled {
            // no sync has run in between, so rows that a sync may fix cannot count as faults
            found.count_as_pending();
        }
        self.complete(&first.version, &found).await
    }

    /// Compares all rows of the chunk.
    async fn compare(&self) -> Result<(SourceVersion, Findings), ExecuteError> {
        let (verifier, tenant) = (self.verifier, &self.tenant);
        let purpose = format!("run {} chunk {}", self.id.run_id, self.id.seq);
        let mut snapshot = verifier.snapshot(tenant, &purpose).await?;
        let version = snapshot.version;
        let mut comparer = verifier.comparer(tenant, &mut snapshot);
        let mut found = comparer.compare(&self.chunk.spec, verifier.deep).await?;
        snapshot.tx.finish().await;
        verifier.recheck_newer_rows(tenant, &mut found).await?;
        verifier.check_mapping(tenant).await?;
        Ok((version, found))
    }

    fn part<'b>(
        &self,
        version: &'b SourceVersion,
        found: &'b Findings,
        is_settled: bool,
    ) -> ChunkFindings<'b> {
        ChunkFindings {
            chunk: self.id,
            tenant_id: self.chunk.tenant_id,
            version,
            is_settled,
            compared: &found.compared,
            faults: &found.faults,
        }
    }

    async fn complete(&self, version: &SourceVersion, found: &Findings) -> Result<ChunkCounts, ExecuteError> {
        let compared = &found.compared;
        let counts = ChunkCounts {
            extracted: compared.source_rows,
            unchanged: (compared.source_rows - compared.fault_count() - compared.pending).max(0),
            ..ChunkCounts::default()
        };
        let mut tx = self.verifier.db.begin().await.attempt("begin a transaction")?;
        // without a version: the chunk has written no row that an older read could overwrite
        if !ledger::chunk::complete(&mut tx, self.id, self.chunk.attempt, &counts, None).await? {
            return Err(LoadError::LeaseLost.into());
        }
        ledger::verification::record_part(&mut tx, &self.part(version, found, true)).await?;
        tx.commit().await.attempt("complete the chunk")?;
        tracing::info!(
            compared = compared.source_rows,
            missing = compared.missing,
            extra = compared.extra,
            stale = compared.stale,
            different = compared.different,
            impossible = compared.impossible,
            pending = compared.pending,
            unproven = compared.unproven,
            "chunk compared"
        );
        Ok(counts)
    }
}
