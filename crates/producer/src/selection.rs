//! Plans of runs that take a selection: keys of the bulk lane, and a watermark that stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_shared::chunk::key_chunks;
use tidemark_shared::db::run::PlanRecord;
use tidemark_shared::db::{self, Attempt};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::{NameOf, Selection};
use tidemark_shared::source::{Source, SourceError, SourceTx};
use tidemark_shared::tenant::Tenant;

use crate::guard::refuse_mass_delete;
use crate::names::Names;
use crate::plan::{Plan, PlanError, Planner, as_size};

const EXISTING: &str = "SELECT id::bigint FROM conversations WHERE id = ANY($2) AND inbox_id = ANY($1)";
const IN_TIME: &str = "SELECT id::bigint FROM conversations c WHERE inbox_id = ANY($1) AND EXISTS ( \
     SELECT FROM unnest(ARRAY[c.created_at, c.updated_at, c.last_activity_at, c.waiting_since, c.first_reply_created_at, \
                              c.contact_last_seen_at, c.agent_last_seen_at, c.assignee_last_seen_at]) AS t (at) \
     WHERE t.at BETWEEN $2 AND $3)";
const IN_INBOXES: &str =
    "SELECT id::bigint FROM conversations WHERE inbox_id = ANY($1) AND inbox_id = ANY($2)";
const CARRYING: &str = "SELECT id::bigint FROM conversations WHERE inbox_id = ANY($1) \
     AND (inbox_id = ANY($2) OR account_id = ANY($3) OR assignee_id = ANY($4) OR team_id = ANY($5))";

impl Planner {
    /// Plans a run over a part of the tenant's conversations.
    pub(crate) async fn plan_selection(
        &self,
        source: &Source,
        tenant: &Tenant,
        inboxes: &[i32],
        run_type: RunType,
        request: &RunRequest,
        selection: &Selection,
    ) -> Result<Plan, PlanError> {
        // the watermark does not need the sample, but a source that went back in time is noticed by it
        crate::sample::sample(&self.db, source).await?;
        let mut tx = source.begin(&format!("plan tenant {}", tenant.id)).await?;
        source.check_tables(tx.connection()).await?;
        let mut reader = Reader {
            source,
            tx: &mut tx,
            inboxes,
        };
        let mut keys = reader.selected(selection).await?;
        let mut target = db::target::begin(&self.db, tenant.id).await?;
        // what else was asked for is taken too: what the source no longer has becomes a tombstone
        let asked = match selection {
            Selection::Ids { ids } => ids.clone(),
            Selection::Inboxes { inboxes } => {
                db::target::live_in_inboxes(&mut target, tenant.id, inboxes).await?
            }
            Selection::Time { .. } | Selection::Renamed { .. } => Vec::new(),
        };
        let doubtful: Vec<i64> = asked.into_iter().filter(|id| !keys.contains(id)).collect();
        if !request.allow_mass_delete {
            let existing = reader.existing(&doubtful).await?;
            let absent: Vec<i64> = doubtful
                .iter()
                .filter(|id| !existing.contains(id))
                .copied()
                .collect();
            let gone = db::target::live_among(&mut target, tenant.id, &absent).await?;
            let live = db::target::count_live(&mut target, tenant.id).await?;
            refuse_mass_delete(&mut target, tenant, inboxes, &gone, live).await?;
        }
        keys.extend(doubtful);
        target.rollback().await.attempt("end the transaction")?;
        tx.finish().await;

        let keys: Vec<i64> = keys.into_iter().collect();
        let chunks = key_chunks(&keys, as_size(request.chunk_size.unwrap_or(tenant.chunk_size)));
        let hits = i64::try_from(keys.len()).expect("keys of a plan fit in 63 bits");
        Ok(Plan {
            run_type,
            record: PlanRecord {
                mapping_version: tenant.mapping_version,
                watermark_start: None,
                watermark_end: None,
                signals: BTreeMap::from([(selection.as_str().to_owned(), hits)]),
                warnings: Vec::new(),
                chunks_total: i32::try_from(chunks.len()).expect("chunks of a plan fit in 31 bits"),
            },
            chunks,
            reach: None,
            names: Names::default(),
        })
    }
}

/// Reads keys inside one snapshot of a source; only conversations of the tenant's inboxes are seen.
struct Reader<'a> {
    source: &'a Source,
    tx: &'a mut SourceTx,
    inboxes: &'a [i32],
}

impl Reader<'_> {
    /// What the source has of the selection; ids are left to [`Self::existing`].
    async fn selected(&mut self, selection: &Selection) -> Result<BTreeSet<i64>, SourceError> {
        let error = self.source.query_error("list the selected conversations");
        let query = match selection {
            Selection::Ids { .. } => return Ok(BTreeSet::new()),
            Selection::Time { from, to } => sqlx::query_scalar(IN_TIME)
                .bind(self.inboxes)
                .bind(from.naive_utc())
                .bind(to.naive_utc()),
            Selection::Inboxes { inboxes } => sqlx::query_scalar(IN_INBOXES).bind(self.inboxes).bind(inboxes),
            Selection::Renamed { names } => {
                let ids = |of: NameOf| -> Vec<i64> {
                    names
                        .iter()
                        .filter(|name| name.of == of)
                        .map(|name| name.id)
                        .collect()
                };
                sqlx::query_scalar(CARRYING)
                    .bind(self.inboxes)
                    .bind(ids(NameOf::Inbox))
                    .bind(ids(NameOf::Account))
                    .bind(ids(NameOf::User))
                    .bind(ids(NameOf::Team))
            }
        };
        let ids: Vec<i64> = query.fetch_all(self.tx.connection()).await.map_err(error)?;
        Ok(ids.into_iter().collect())
    }

    async fn existing(&mut self, ids: &[i64]) -> Result<BTreeSet<i64>, SourceError> {
        let found: Vec<i64> = sqlx::query_scalar(EXISTING)
            .bind(self.inboxes)
            .bind(ids)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look conversations up"))?;
        Ok(found.into_iter().collect())
    }
}
