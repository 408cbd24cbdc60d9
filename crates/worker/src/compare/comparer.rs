//! Compares a range of a tenant's conversations with one snapshot of the source.
//!
//! Equal sums of digests prove a whole bucket of ids equal. In other buckets the digests of each conversation are
//! compared. Conversations whose digests differ or are missing are read, transformed and compared column by column.

use std::collections::{BTreeSet, HashSet};

use sqlx::raw_sql;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::verification::FaultKind;
use tidemark_source::{Shape, Source, SourceTx};
use tokio::sync::mpsc;

use super::sums::{
    BUCKET_BITS, IdRange, MAX_CLIENTS, ONE_ID_BITS, OtherClient, SourceQuery, source_sums, target_sums,
};
use super::unproven::{unproven, unproven_ranges};
use crate::compare::classify::{Classification, Criteria};
use crate::compare::findings::Findings;
use crate::compare::staged::{count_live, list_unequal, target_end};
use crate::error::ExecuteError;
use crate::extract::{Extractor, phones};
use crate::load::Staging;
use crate::rejects::Rejects;
use crate::transform::TenantContext;

/// How many conversations are staged at once.
const MAX_STAGED: usize = 5_000;

/// Compares one tenant with one snapshot.
pub(super) struct Comparer<'a> {
    pub db: &'a DbPool,
    pub source: &'a Source,
    pub tenant: &'a TenantToPlan,
    pub context: TenantContext,
    pub tx: &'a mut SourceTx,
    pub version: SourceVersion,
    pub trusts_newer: bool,
    /// Whether the snapshot is of a primary that was not restored: it has every change that was read before.
    pub is_latest: bool,
    /// Rows that existed before the snapshot and have a later version than it; `None`: not looked up.
    pub impossible: Option<Impossible>,
    /// In the second pass, the version of the first pass.
    pub since: Option<SourceVersion>,
}

impl Comparer<'_> {
    /// Compares by digests, and column by column where they prove nothing. With `deep`, compares everything column by
    /// column.
    pub(super) async fn compare(&mut self, spec: &ChunkSpec, deep: bool) -> Result<Findings, ExecuteError> {
        match spec {
            ChunkSpec::Keys { ids } => self.compare_keys(ids).await,
            ChunkSpec::KeyRange { lo, hi } => {
                let range = IdRange { lo: *lo, hi: *hi };
                if deep {
                    return self.compare_range(range).await;
                }
                match self.compare_by_digests(range).await {
                    // an unreadable row fails the whole sum; the column by column comparison only rejects that row
                    Err(ExecuteError::Source(error)) if error.is_data() => {
                        self.run_statement("ROLLBACK TO SAVEPOINT sums").await?;
                        self.compare_range(range).await
                    }
                    found => found,
                }
            }
        }
    }

    /// Compares the sums of digests, and column by column the rows whose sums prove nothing.
    async fn compare_by_digests(&mut self, range: IdRange) -> Result<Findings, ExecuteError> {
        self.run_statement("SAVEPOINT sums").await?;
        let shape = self.source.current_shape(self.tx).await?;
        let reads_tables = shape.view().is_none();
        let (tenant, digest_seed) = (self.tenant.tenant.id, self.context.digest_seed());
        let query = SourceQuery {
            inboxes: &self.tenant.inboxes,
            digest_seed: &digest_seed,
        };
        let latest = self.is_latest.then_some(self.version);
        let mut target_tx = ledger::target::begin(self.db, tenant).await?;
        let (in_source, in_target) = tokio::join!(
            source_sums(self.tx.connection(), &shape, query, range, BUCKET_BITS),
            target_sums(&mut target_tx, tenant, range, BUCKET_BITS, latest.as_ref())
        );
        let in_source = in_source.map_err(self.source.query_error("sum the digests of conversations"))?;
        let (in_target, mut others) = in_target.attempt("sum the digests of rows")?;
        let mut found = Findings::default();
        found.compared.source_rows = in_source.values().map(|sums| sums.count).sum();
        found.compared.target_rows = in_target.values().map(|sums| sums.count).sum();

        target_tx.rollback().await.attempt("end the transaction")?;

        let parts = unproven_ranges(&in_source, &in_target, range);
        for part in &parts {
            let mut target_tx = ledger::target::begin(self.db, tenant).await?;
            let in_source = source_sums(self.tx.connection(), &shape, query, *part, ONE_ID_BITS)
                .await
                .map_err(self.source.query_error("list the digests of conversations"))?;
            let (in_target, others) =
                target_sums(&mut target_tx, tenant, *part, ONE_ID_BITS, latest.as_ref())
                    .await
                    .attempt("list the digests of rows")?;
            target_tx.rollback().await.attempt("end the transaction")?;
            let mut ids = unproven(&in_source, &in_target);
            if reads_tables {
                ids.extend(self.with_other_phones(&shape, &others).await?);
            }
            let ids: Vec<i64> = ids.into_iter().collect();
            found.add_counted(self.compare_keys(&ids).await?);
        }
        // the digests do not cover the phones of other clients, so the proven rows are checked for them too
        if reads_tables {
            others.retain(|other| {
                !parts
                    .iter()
                    .any(|part| (part.lo..=part.hi).contains(&other.conversation))
            });
            let ids = self.with_other_phones(&shape, &others).await?;
            found.add_counted(self.compare_keys(&ids).await?);
        }
        Ok(found)
    }

    /// Those of these conversations whose client has another phone in the source than in the row, in their order.
    async fn with_other_phones(
        &mut self,
        shape: &Shape,
        others: &[OtherClient],
    ) -> Result<Vec<i64>, ExecuteError> {
        let mut differing = Vec::new();
        for others in others.chunks(MAX_CLIENTS) {
            let clients: BTreeSet<i64> = others.iter().map(|other| other.client).collect();
            let clients: Vec<i64> = clients.into_iter().collect();
            let phones = phones(self.tx.connection(), shape, &clients)
                .await
                .map_err(self.source.query_error("read phone numbers"))?;
            let differs = |other: &&OtherClient| {
                let in_source = phones.get(&other.client).and_then(Option::as_deref);
                let cut: Option<String> = in_source.map(|phone| phone.chars().take(50).collect());
                cut != other.phone
            };
            differing.extend(others.iter().filter(differs).map(|other| other.conversation));
        }
        Ok(differing)
    }

    /// Compares these conversations column by column.
    async fn compare_keys(&mut self, ids: &[i64]) -> Result<Findings, ExecuteError> {
        let mut found = Findings::default();
        for ids in ids.chunks(MAX_STAGED) {
            let range = IdRange {
                lo: ids[0],
                hi: ids[ids.len() - 1],
            };
            found.add(self.stage_and_classify(range, Some(ids)).await?);
        }
        Ok(found)
    }

    /// Compares everything in the range column by column.
    async fn compare_range(&mut self, range: IdRange) -> Result<Findings, ExecuteError> {
        let at_once = i32::try_from(MAX_STAGED).expect("a small number");
        let inboxes = &self.tenant.inboxes;
        let (mut found, mut lo) = (Findings::default(), range.lo);
        loop {
            let end = self
                .source
                .range_end(self.tx.connection(), inboxes, lo, at_once)
                .await?;
            // bound the range by the target's rows too: it may have many where the source has few
            let tenant = self.tenant.tenant.id;
            let mut target = ledger::target::begin(self.db, tenant).await?;
            let target_end = target_end(&mut target, tenant, lo, i64::from(at_once))
                .await
                .attempt("cut the tenant's rows into ranges")?;
            target.rollback().await.attempt("end the transaction")?;
            let end = end
                .into_iter()
                .chain(target_end)
                .min()
                .filter(|end| *end < range.hi);
            let hi = end.unwrap_or(range.hi);
            found.add(self.stage_and_classify(IdRange { lo, hi }, None).await?);
            match end {
                Some(hi) => lo = hi + 1,
                None => return Ok(found),
            }
        }
    }

    async fn stage_and_classify(
        &mut self,
        range: IdRange,
        ids: Option<&[i64]>,
    ) -> Result<Findings, ExecuteError> {
        let tenant = self.tenant.tenant.id;
        let spec = match ids {
            Some(ids) => ChunkSpec::Keys { ids: ids.to_vec() },
            None => ChunkSpec::KeyRange {
                lo: range.lo,
                hi: range.hi,
            },
        };
        let mut staging = Staging::begin(self.db, tenant).await?;
        let (sink, buffers) = mpsc::channel(1);
        let rejects = Rejects::without_limit();
        let extractor = Extractor::new(
            self.source,
            self.tx,
            &self.tenant.inboxes,
            &self.context,
            sink,
            &rejects,
        );
        let (extracted, staged) = tokio::join!(extractor.run(&spec), staging.stage(buffers, &rejects));
        staged?;
        let extracted = extracted?;
        let rejected: HashSet<i64> = rejects
            .take()
            .iter()
            .map(|reject| reject.conversation_id)
            .collect();
        let criteria = Criteria {
            tenant,
            watermark: self.tenant.watermark,
            version: &self.version,
            trusts_newer: self.trusts_newer,
            is_latest: self.is_latest,
            impossible: self.impossible.as_ref(),
            since: self.since.as_ref(),
            unfetched: &self.tenant.unfetched,
        };
        let mut found = Findings::default();
        found.compared.source_rows =
            i64::try_from(extracted.found.len()).expect("a chunk's length fits in 63 bits");
        found.withheld = i64::try_from(extracted.withheld.len()).expect("a chunk's length fits in 63 bits");
        found.compared.target_rows = count_live(staging.connection().await?, tenant, range, ids)
            .await
            .attempt("count the rows that are compared")?;
        let rows = list_unequal(staging.connection().await?, &criteria, range, ids)
            .await
            .attempt("compare staging with the target")?;
        staging.commit().await?;
        // rejected conversations are in the source; without a target row they are missing
        let mut unmatched = rejected.clone();
        for row in rows {
            let id = row.id;
            unmatched.remove(&id);
            match row.classify(&criteria, &rejected) {
                Classification::Fault(kind, columns) => found.add_fault(id, kind, columns),
                Classification::Pending => found.compared.pending += 1,
                Classification::NewerThanSnapshot => found.newer_rows.push(id),
                Classification::Equal => {}
            }
        }
        let mut unmatched: Vec<i64> = unmatched.into_iter().collect();
        unmatched.sort_unstable();
        for id in unmatched {
            found.add_fault(id, FaultKind::Missing, Vec::new());
        }
        Ok(found)
    }

    async fn run_statement(&mut self, statement: &'static str) -> Result<(), ExecuteError> {
        raw_sql(statement)
            .execute(self.tx.connection())
            .await
            .map_err(self.source.query_error("set a savepoint"))?;
        Ok(())
    }
}
