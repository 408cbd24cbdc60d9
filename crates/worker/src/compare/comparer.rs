//! One look at a stretch of a tenant's conversations, as one snapshot of the source has them.
//!
//! What agrees by sums is proven and done with. In buckets that do not, the conversations' own digests are compared, and
//! only those that differ there, or cannot tell, are read, transformed and compared column by column.

use std::collections::{BTreeSet, HashSet};

use sqlx::postgres::PgTransaction;
use sqlx::raw_sql;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::tenant::TenantToPlan;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::verification::FaultKind;
use tidemark_source::{Source, SourceTx};
use tokio::sync::mpsc;

use super::sums::{
    Asked, BUCKET_BITS, CLIENTS_AT_ONCE, SINGLE, Stretch, of_source, of_target, other_clients,
};
use super::unproven::{unproven, unproven_stretches};
use crate::compare::classify::{Judgement, Rules};
use crate::compare::findings::Found;
use crate::compare::staged::{count_live, target_end, unequal};
use crate::error::ExecuteError;
use crate::extract::{Extractor, phones};
use crate::load::Staging;
use crate::rejects::Rejects;
use crate::transform::TenantContext;

/// Conversations staged at once.
const STAGED_AT_ONCE: usize = 5_000;

/// Looks at one tenant through one snapshot.
pub(super) struct Looker<'a> {
    pub db: &'a DbPool,
    pub source: &'a Source,
    pub tenant: &'a TenantToPlan,
    pub context: TenantContext,
    pub tx: &'a mut SourceTx,
    pub version: SourceVersion,
    pub trusts_newer: bool,
    /// Whether the snapshot is of a primary that has not gone back: nothing was read from it later, before it was taken.
    pub is_latest: bool,
    /// Rows that were there before the snapshot, and are beyond it all the same; `None`: not looked up.
    pub impossible: Option<Impossible>,
    /// What was looked at first, at a second look.
    pub since: Option<SourceVersion>,
}

impl Looker<'_> {
    /// Compares by digests, and what these leave open column by column; with `deep` everything column by column.
    pub(super) async fn look(&mut self, spec: &ChunkSpec, deep: bool) -> Result<Found, ExecuteError> {
        match spec {
            ChunkSpec::Keys { ids } => self.compare(ids).await,
            ChunkSpec::KeyRange { lo, hi } => {
                let stretch = Stretch { lo: *lo, hi: *hi };
                if deep {
                    return self.read(stretch).await;
                }
                match self.prove(stretch).await {
                    // a row that cannot be read fails the sums over all, and the reading only itself
                    Err(ExecuteError::Source(error)) if error.is_data() => {
                        self.control("ROLLBACK TO SAVEPOINT sums").await?;
                        self.read(stretch).await
                    }
                    found => found,
                }
            }
        }
    }

    async fn prove(&mut self, stretch: Stretch) -> Result<Found, ExecuteError> {
        // the arrays that are bound hold from one inbox to thousands
        self.control("SET LOCAL plan_cache_mode = force_custom_plan; SAVEPOINT sums")
            .await?;
        let view = self.source.check_catalog(self.tx.connection()).await?;
        let (tenant, rules) = (self.tenant.tenant.id, self.context.rules());
        let latest = self.is_latest.then_some(self.version);
        let mut target = ledger::target::begin(self.db, tenant).await?;
        let (there, here) = tokio::join!(
            of_source(
                self.tx.connection(),
                view.as_ref(),
                asked(self.tenant, &rules),
                stretch,
                BUCKET_BITS
            ),
            of_target(&mut target, tenant, stretch, BUCKET_BITS, latest.as_ref())
        );
        let there = there.map_err(self.source.query_error("sum the digests of conversations"))?;
        let here = here.attempt("sum the digests of rows")?;
        let mut found = Found::default();
        found.compared.source_rows = there.values().map(|sums| sums.count).sum();
        found.compared.target_rows = here.values().map(|sums| sums.count).sum();

        target.rollback().await.attempt("end the transaction")?;

        let parts = unproven_stretches(&there, &here, stretch);
        for part in &parts {
            let mut target = ledger::target::begin(self.db, tenant).await?;
            let there = of_source(
                self.tx.connection(),
                view.as_ref(),
                asked(self.tenant, &rules),
                *part,
                SINGLE,
            )
            .await
            .map_err(self.source.query_error("list the digests of conversations"))?;
            let here = of_target(&mut target, tenant, *part, SINGLE, latest.as_ref())
                .await
                .attempt("list the digests of rows")?;
            let mut doubtful = unproven(&there, &here);
            let mut rest = Some(*part).filter(|_| view.is_none());
            while let Some(stretch) = rest {
                let (clients, behind) = self.clients_with_other_phones(&mut target, stretch).await?;
                doubtful.extend(clients);
                rest = behind;
            }
            target.rollback().await.attempt("end the transaction")?;
            let doubtful: Vec<i64> = doubtful.into_iter().collect();
            found.add_counted(self.compare(&doubtful).await?);
        }
        // where the sums prove the rest, and say nothing of these
        let mut rest = Some(stretch).filter(|_| view.is_none());
        while let Some(stretch) = rest {
            let mut target = ledger::target::begin(self.db, tenant).await?;
            let (mut clients, behind) = self.clients_with_other_phones(&mut target, stretch).await?;
            target.rollback().await.attempt("end the transaction")?;
            clients.retain(|id| !parts.iter().any(|part| (part.lo..=part.hi).contains(id)));
            found.add_counted(self.compare(&clients).await?);
            rest = behind;
        }
        Ok(found)
    }

    /// The first conversations whose client is not their contact and has another phone than the row says, ascending, and the
    /// part of the stretch behind them that is still to be looked at.
    async fn clients_with_other_phones(
        &mut self,
        target: &mut PgTransaction<'_>,
        stretch: Stretch,
    ) -> Result<(Vec<i64>, Option<Stretch>), ExecuteError> {
        let rows = other_clients(target, self.tenant.tenant.id, stretch)
            .await
            .attempt("list the clients of rows")?;
        let Some((last, ..)) = rows.last() else {
            return Ok((Vec::new(), None));
        };
        let behind = Stretch {
            lo: last + 1,
            ..stretch
        };
        let behind = Some(behind).filter(|behind| rows.len() == CLIENTS_AT_ONCE && behind.lo <= behind.hi);
        let clients: BTreeSet<i64> = rows.iter().map(|(_, client, _)| *client).collect();
        let clients: Vec<i64> = clients.into_iter().collect();
        let phones = phones(self.tx.connection(), &clients)
            .await
            .map_err(self.source.query_error("read phone numbers"))?;
        let differing = rows
            .into_iter()
            .filter(|(_, client, phone)| {
                let there = phones.get(client).and_then(Option::as_deref);
                let cut: Option<String> = there.map(|phone| phone.chars().take(50).collect());
                cut.as_deref() != phone.as_deref()
            })
            .map(|(id, ..)| id)
            .collect();
        Ok((differing, behind))
    }

    /// Compares these conversations column by column.
    async fn compare(&mut self, ids: &[i64]) -> Result<Found, ExecuteError> {
        let mut found = Found::default();
        for ids in ids.chunks(STAGED_AT_ONCE) {
            let stretch = Stretch {
                lo: ids[0],
                hi: ids[ids.len() - 1],
            };
            found.add(self.stage_and_judge(stretch, Some(ids)).await?);
        }
        Ok(found)
    }

    /// Compares everything in the stretch column by column.
    async fn read(&mut self, stretch: Stretch) -> Result<Found, ExecuteError> {
        let at_once = i32::try_from(STAGED_AT_ONCE).expect("a small number");
        let inboxes = &self.tenant.inboxes;
        let (mut found, mut lo) = (Found::default(), stretch.lo);
        loop {
            let end = self
                .source
                .range_end(self.tx.connection(), inboxes, lo, at_once)
                .await?;
            // the target may have any number of rows where the source has few
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
                .filter(|end| *end < stretch.hi);
            let hi = end.unwrap_or(stretch.hi);
            found.add(self.stage_and_judge(Stretch { lo, hi }, None).await?);
            match end {
                Some(hi) => lo = hi + 1,
                None => return Ok(found),
            }
        }
    }

    async fn stage_and_judge(
        &mut self,
        stretch: Stretch,
        ids: Option<&[i64]>,
    ) -> Result<Found, ExecuteError> {
        let tenant = self.tenant.tenant.id;
        let spec = match ids {
            Some(ids) => ChunkSpec::Keys { ids: ids.to_vec() },
            None => ChunkSpec::KeyRange {
                lo: stretch.lo,
                hi: stretch.hi,
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
        let rules = Rules {
            tenant,
            watermark: self.tenant.watermark,
            version: &self.version,
            trusts_newer: self.trusts_newer,
            is_latest: self.is_latest,
            impossible: self.impossible.as_ref(),
            since: self.since.as_ref(),
            unfetched: &self.tenant.unfetched,
        };
        let mut found = Found::default();
        found.compared.source_rows =
            i64::try_from(extracted.found.len()).expect("a chunk's length fits in 63 bits");
        found.withheld = i64::try_from(extracted.withheld.len()).expect("a chunk's length fits in 63 bits");
        found.compared.target_rows = count_live(staging.connection().await?, tenant, stretch, ids)
            .await
            .attempt("count the rows that are compared")?;
        let rows = unequal(staging.connection().await?, &rules, stretch, ids)
            .await
            .attempt("compare staging with the target")?;
        staging.end().await?;
        // a row that cannot be taken is in the source all the same
        let mut unseen = rejected.clone();
        for row in rows {
            let id = row.id;
            unseen.remove(&id);
            match row.judge(&rules, &rejected) {
                Judgement::Fault(kind, columns) => found.fault(id, kind, columns),
                Judgement::Pending => found.compared.pending += 1,
                Judgement::Overtaken => found.overtaken.push(id),
                Judgement::Equal => {}
            }
        }
        let mut unseen: Vec<i64> = unseen.into_iter().collect();
        unseen.sort_unstable();
        for id in unseen {
            found.fault(id, FaultKind::Missing, Vec::new());
        }
        Ok(found)
    }

    async fn control(&mut self, statement: &'static str) -> Result<(), ExecuteError> {
        raw_sql(statement)
            .execute(self.tx.connection())
            .await
            .map_err(self.source.query_error("set a savepoint"))?;
        Ok(())
    }
}

fn asked<'a>(tenant: &'a TenantToPlan, rules: &'a str) -> Asked<'a> {
    Asked {
        inboxes: &tenant.inboxes,
        rules,
    }
}
