//! A chunk of a run that compares.
//!
//! What is not the same may be a change that the next sync brings, and timestamps do not always tell. So such rows are looked
//! at twice: noted at first, and once more when a sync has had its turn. Meanwhile the chunk is put back, and holds
//! neither a worker nor a session of the source.

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_ledger::verification::{ChunkFindings, ComparisonRequest, Unsettled};
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::verification::{Compared, FaultKind};

use super::{Subject, Verifier};
use crate::compare::comparer::Found;
use crate::execute::ExecuteError;
use crate::load::LoadError;

impl Verifier {
    /// Compares the chunk's rows and completes it. Safe to drop at any point.
    ///
    /// # Errors
    /// When source or target do not answer, the claim was lost, or rows have to be looked at once more.
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
        let claim = Claim {
            verifier: &verifier,
            subject: verifier.subject(chunk.tenant_id).await?,
            id,
            chunk,
        };
        match ledger::verification::find_unsettled(&self.db, id, ask).await? {
            None => claim.first_look(ask).await,
            Some(first) if first.is_due || first.is_overdue => claim.second_look(ask, first).await,
            Some(first) => Err(ExecuteError::Unsettled(
                first.ids.map_or(super::comparer::LISTED, |ids| ids.len()),
            )),
        }
    }
}

/// A chunk that is this worker's.
struct Claim<'a> {
    verifier: &'a Verifier,
    subject: Subject<'a>,
    id: ChunkId,
    chunk: &'a ClaimedChunk,
}

impl Claim<'_> {
    async fn first_look(&self, ask: ComparisonRequest) -> Result<ChunkCounts, ExecuteError> {
        let (version, found) = self.look().await?;
        let may_be_brought = found.faults.iter().any(|fault| is_for_a_sync(fault.kind));
        let db = &self.verifier.db;
        let waits = may_be_brought
            && (ask.is_scheduled || ledger::verification::has_open_sync(db, self.chunk.tenant_id).await?);
        if !waits {
            return self.end(&version, &found).await;
        }
        let mut tx = db.begin().await.attempt("begin a transaction")?;
        // no other attempt notes anything meanwhile
        if !ledger::chunk::lock_claimed(&mut *tx, self.id, self.chunk.attempt).await? {
            return Err(LoadError::LeaseLost.into());
        }
        ledger::verification::record_part(&mut tx, &self.part(&version, &found, false)).await?;
        tx.commit().await.attempt("note what the chunk found")?;
        Err(ExecuteError::Unsettled(found.faults.len()))
    }

    async fn second_look(
        &self,
        ask: ComparisonRequest,
        first: Unsettled,
    ) -> Result<ChunkCounts, ExecuteError> {
        let mut found = match first.ids {
            None => self.look().await?.1,
            Some(ids) => {
                let compared = Compared {
                    source_rows: first.source_rows,
                    target_rows: first.target_rows,
                    pending: first.pending,
                    ..Compared::default()
                };
                let mut found = Found {
                    compared,
                    ..Found::default()
                };
                self.verifier
                    .look_again(&self.subject, &mut found, ids, Some(first.version))
                    .await?;
                self.verifier.check_mapping(&self.subject).await?;
                found
            }
        };
        if !first.is_due && ask.is_scheduled {
            // no sync had its turn: nobody can tell
            found.leave_to_a_sync();
        }
        self.end(&first.version, &found).await
    }

    /// Looks at all of the chunk.
    async fn look(&self) -> Result<(SourceVersion, Found), ExecuteError> {
        let (verifier, subject) = (self.verifier, &self.subject);
        let purpose = format!("run {} chunk {}", self.id.run_id, self.id.seq);
        let mut snapshot = verifier.snapshot(subject, &purpose).await?;
        let version = snapshot.version;
        let mut looker = verifier.looker(subject, &mut snapshot);
        let mut found = looker.look(&self.chunk.spec, verifier.deep).await?;
        snapshot.tx.finish().await;
        verifier.settle_overtaken(subject, &mut found).await?;
        verifier.check_mapping(subject).await?;
        Ok((version, found))
    }

    fn part<'b>(&self, version: &'b SourceVersion, found: &'b Found, is_settled: bool) -> ChunkFindings<'b> {
        ChunkFindings {
            chunk: self.id,
            tenant_id: self.chunk.tenant_id,
            version,
            is_settled,
            compared: &found.compared,
            faults: &found.faults,
        }
    }

    async fn end(&self, version: &SourceVersion, found: &Found) -> Result<ChunkCounts, ExecuteError> {
        let compared = &found.compared;
        let counts = ChunkCounts {
            extracted: compared.source_rows,
            unchanged: (compared.source_rows - compared.fault_count() - compared.pending).max(0),
            ..ChunkCounts::default()
        };
        let mut tx = self.verifier.db.begin().await.attempt("begin a transaction")?;
        // without a version: it has written nothing that an older read could undo
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

/// Whether a sync may bring what is at fault: a row that another hand has changed is none of its business.
pub(super) const fn is_for_a_sync(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Missing | FaultKind::Extra | FaultKind::Stale)
}
