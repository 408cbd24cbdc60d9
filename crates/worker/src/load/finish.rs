//! Finishes a load: merges, marks deleted rows, updates the ledger, completes the chunk.

use sqlx::PgConnection;
use tidemark_ledger as ledger;
use tidemark_ledger::change::{Change, ChangeKind};
use tidemark_shared::chunk::{ChunkCounts, ChunkSpec};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::TenantId;

use super::chunk_load::ChunkLoad;
use super::error::LoadError;
use super::guard;
use super::merge::{Merged, count_stale, limit_idle_time, merge};
use super::staging::Staging;
use super::tombstone::{Tombstones, tombstone};
use crate::extract::Extracted;
use crate::rejects::Rejects;
use crate::transform::privacy::Privacy;

impl Staging {
    /// Merges staging into the target, marks deleted rows, completes the chunk and commits. Rows that the target refuses
    /// become rejects.
    ///
    /// # Errors
    /// See [`LoadError`]. After an error nothing is written.
    pub async fn finish(
        mut self,
        load: ChunkLoad<'_>,
        spec: &ChunkSpec,
        extracted: &Extracted,
        rejects: &Rejects,
        version: &SourceVersion,
        privacy: &Privacy,
    ) -> Result<ChunkCounts, LoadError> {
        let connection = self.guarded.connection();
        limit_idle_time(connection).await?;
        ledger::impossible::reset_row_versions(connection, self.tenant, load.impossible).await?;
        let merged = if self.has_table {
            merge(connection, load, version, rejects).await?
        } else {
            Merged::default()
        };
        // this lock serializes the tenant's loads: see "Reads that overlap" in docs/design/overlap.md
        if ledger::inbox::lock_version(&mut *connection, self.tenant).await? != load.mapping_version {
            return Err(LoadError::Remapped);
        }
        self.known.check(connection, self.tenant).await?;
        ledger::impossible::clear_chunk_versions(connection, load.impossible).await?;
        let withheld = if privacy.has_forgotten() {
            ledger::privacy::withhold(connection, self.tenant, spec, &extracted.withheld, version).await?
        } else {
            ledger::privacy::WithheldRows::default()
        };
        let Tombstones { marked, waiting } =
            tombstone(connection, self.tenant, load, spec, extracted, version).await?;
        let is_mapped = |inbox: &Option<i32>| inbox.is_some_and(|inbox| load.inboxes.contains(&inbox));
        // rows that came from another source do not count: they say nothing about this one
        let guarded = marked
            .iter()
            .filter(|(id, inbox, _)| is_mapped(inbox) && !load.impossible.has_row(*id))
            .count();
        guard::refuse_mass_delete(connection, self.tenant, load, count(guarded)).await?;
        let mut changes = merged.changes;
        changes.extend(
            marked
                .iter()
                .map(|(id, _, date)| Change::whole(*id, ChangeKind::Deleted, *date)),
        );
        let deleted: Vec<i64> = marked.into_iter().map(|(id, ..)| id).collect();
        ledger::privacy::strip(connection, self.tenant, privacy.policy(), Some(&deleted)).await?;
        let rejects = rejects.take();
        let resolved = ledger::reject::record(connection, self.tenant, load.chunk, spec, &rejects).await?;
        let rejected_ids: Vec<i64> = rejects.iter().map(|reject| reject.conversation_id).collect();
        // neither can be read, so a new policy cannot be applied in another way
        for ids in [&rejected_ids, &waiting] {
            ledger::privacy::strip_rejected(connection, self.tenant, privacy.policy(), ids).await?;
        }
        let written = [
            &merged.inserted,
            &merged.updated,
            &deleted,
            &resolved,
            &withheld.removed,
            &withheld.changed,
        ];
        refuse_overtaken(connection, self.tenant, load, version, written).await?;

        ledger::change::record(connection, self.tenant, &changes).await?;
        ledger::sender::record(&mut *connection, self.tenant, extracted.senders.iter()).await?;
        let (inserted, updated) = (count(merged.inserted.len()), count(merged.updated.len()));
        let deleted = count(deleted.len() + withheld.removed.len());
        let (found, rejected) = (count(extracted.found.len()), count(rejects.len()));
        let loaded = found - rejected;
        let stale = if inserted + updated + count(self.known.unchanged_count()) == loaded {
            0
        } else {
            count_stale(connection).await?
        };
        let counts = ChunkCounts {
            extracted: found,
            inserted,
            updated,
            unchanged: loaded - inserted - updated - stale,
            stale,
            deleted,
            rejected,
            // withheld conversations are gone from the target's point of view
            gone: count(extracted.withheld.len())
                + match spec {
                    ChunkSpec::Keys { .. } => count(extracted.gone.len()),
                    ChunkSpec::KeyRange { .. } => deleted,
                },
        };
        if !ledger::chunk::complete(connection, load.chunk, load.attempt, &counts, Some(version)).await? {
            return Err(LoadError::LeaseLost);
        }
        self.commit().await?;
        Ok(counts)
    }
}

/// Fails when a chunk that was read later and is done covers a conversation that this chunk has written.
async fn refuse_overtaken(
    connection: &mut PgConnection,
    tenant: TenantId,
    load: ChunkLoad<'_>,
    version: &SourceVersion,
    written: [&Vec<i64>; 6],
) -> Result<(), LoadError> {
    if written.iter().all(|ids| ids.is_empty()) {
        return Ok(());
    }
    let later = ledger::chunk::list_newer_reads(connection, tenant, load.chunk.run_id, version).await?;
    let overtaken = written
        .into_iter()
        .flatten()
        .any(|id| later.iter().any(|spec| spec.covers(*id)));
    if overtaken {
        Err(LoadError::Overtaken)
    } else {
        Ok(())
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).expect("a chunk's length fits in 63 bits")
}
