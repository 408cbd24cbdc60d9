//! Plans of runs that take a selection: keys of the bulk lane, and a watermark that stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::run::PlanRecord;
use tidemark_shared::chunk::key_chunks;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::{NameOf, Selection};
use tidemark_shared::tenant::Tenant;
use tidemark_source::view::ViewShape;
use tidemark_source::{Source, SourceError, SourceTx};

use crate::planning::guard::refuse_mass_delete;
use crate::planning::names::Names;
use crate::planning::planner::{Plan, PlanError, Planner, Trace, as_size};

/// What is asked for a selection, of tables or of a view.
struct Statements {
    /// $1 the tenant's inboxes, $2 ids
    existing: String,
    /// $1 the tenant's inboxes, $2 from, $3 to, $4 only these inboxes, or none for all
    in_time: String,
    /// $1 the tenant's inboxes, $2 inboxes
    in_inboxes: String,
    /// $1 the tenant's inboxes, $2 inboxes, $3 accounts, $4 users, $5 teams
    carrying: String,
}

impl Statements {
    fn of_tables() -> Self {
        let select = "SELECT id::bigint FROM conversations c WHERE inbox_id = ANY($1)";
        Self {
            existing: format!("{select} AND id = ANY($2)"),
            in_time: format!(
                "{select} AND EXISTS (SELECT FROM unnest(ARRAY[c.created_at, c.updated_at, c.last_activity_at, \
                     c.waiting_since, c.first_reply_created_at, c.contact_last_seen_at, c.agent_last_seen_at, \
                     c.assignee_last_seen_at]) AS t (at) WHERE t.at BETWEEN $2 AND $3) \
                     AND (cardinality($4::integer[]) = 0 OR inbox_id = ANY($4))"
            ),
            in_inboxes: format!("{select} AND inbox_id = ANY($2)"),
            carrying: format!(
                "{select} AND (inbox_id = ANY($2) OR account_id = ANY($3) OR assignee_id = ANY($4) OR team_id = ANY($5))"
            ),
        }
    }

    /// No other column than the key is selected, so that the planner drops the joins.
    fn of_view(view: &ViewShape) -> Self {
        let select = format!(
            "SELECT DISTINCT v.conversation_id::bigint FROM {} v WHERE v.inbox_id = ANY($1)",
            view.relation()
        );
        Self {
            existing: format!("{select} AND v.conversation_id = ANY($2)"),
            in_time: format!(
                "{select} AND EXISTS (SELECT FROM unnest(ARRAY[v.conversation_created_at::timestamp, {}]) AS t (at) \
                     WHERE t.at BETWEEN $2 AND $3) AND (cardinality($4::integer[]) = 0 OR v.inbox_id = ANY($4))",
                view.change_times()
            ),
            in_inboxes: format!("{select} AND v.inbox_id = ANY($2)"),
            carrying: format!("{select} AND ({})", carried_by(view)),
        }
    }
}

/// Whether a conversation of the view carries one of the names. What the view does not show was asked for before the mode
/// was switched, and all of the tenant's rows are written anew for that.
fn carried_by(view: &ViewShape) -> String {
    let shown = view.names();
    let conditions: Vec<String> = [NameOf::Inbox, NameOf::Account, NameOf::User, NameOf::Team]
        .into_iter()
        .zip(2..)
        .map(
            |(of, parameter)| match shown.iter().find(|(shown, ..)| *shown == of) {
                Some((_, id, _)) => format!("v.{id} = ANY(${parameter})"),
                None => format!("cardinality(${parameter}::bigint[]) > 0"),
            },
        )
        .collect();
    conditions.join(" OR ")
}

impl Planner {
    /// Plans a run over a part of the tenant's conversations.
    pub(crate) async fn plan_selection(
        &self,
        tenant: &Tenant,
        run_type: RunType,
        request: &RunRequest,
        selection: &Selection,
        trace: Trace,
    ) -> Result<Plan, PlanError> {
        let source = self.sources.get(&tenant.source)?;
        let inboxes = ledger::inbox::list_active(&self.db, tenant.id, &tenant.source).await?;
        if inboxes.is_empty() {
            return Err(PlanError::NoInboxes(tenant.id, tenant.source.clone()));
        }
        // the watermark does not need the sample, but a source that went back in time is noticed by it
        match trace {
            Trace::Sample => crate::loops::sample::sample(&self.db, source).await.map(drop)?,
            Trace::Nothing => crate::loops::sample::look(&self.db, source).await.map(drop)?,
        }
        let mut tx = source.begin(&format!("plan tenant {}", tenant.id)).await?;
        let shape = source.check_catalog(tx.connection()).await?;
        let mut reader = Reader {
            source,
            statements: shape
                .as_ref()
                .map_or_else(Statements::of_tables, Statements::of_view),
            tx: &mut tx,
            inboxes: &inboxes,
        };
        let mut keys = reader.selected(selection).await?;
        let mut target = ledger::target::begin(&self.db, tenant.id).await?;
        // what else was asked for is taken too: what the source no longer has becomes a tombstone
        let asked = match selection {
            Selection::Ids { ids } => ids.clone(),
            Selection::Inboxes { inboxes } => {
                ledger::target::list_live_in_inboxes(&mut target, tenant.id, inboxes).await?
            }
            Selection::Senders { senders } => {
                ledger::target::list_live_with_senders(&mut target, tenant.id, senders).await?
            }
            Selection::Time { .. } | Selection::Renamed { .. } | Selection::Policy { .. } => Vec::new(),
        };
        let doubtful: Vec<i64> = asked.into_iter().filter(|id| !keys.contains(id)).collect();
        if !request.allow_mass_delete {
            let existing = reader.existing(&doubtful).await?;
            let absent: Vec<i64> = doubtful
                .iter()
                .filter(|id| !existing.contains(id))
                .copied()
                .collect();
            let mut gone = ledger::target::list_live(&mut target, tenant.id, &absent).await?;
            if run_type == RunType::Repair {
                // rows that are later than this snapshot may be of another source, and are not missed here
                let known = ledger::fence::find(&self.db, source.name()).await?;
                let version = SourceVersion {
                    epoch: known.map_or(1, |known| known.epoch),
                    snapshot: *tx.snapshot(),
                };
                gone = ledger::target::list_not_newer(&mut target, tenant.id, &gone, &version).await?;
            }
            let live = ledger::target::count_live(&mut target, tenant.id).await?;
            refuse_mass_delete(&mut target, tenant, run_type, &inboxes, &gone, live).await?;
        }
        keys.extend(doubtful);
        target.rollback().await.attempt("end the transaction")?;
        let warnings = source.view_warnings(tx.connection(), shape.as_ref()).await;
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
                warnings,
                chunks_total: i32::try_from(chunks.len()).expect("chunks of a plan fit in 31 bits"),
                compares_digests: false,
            },
            chunks,
            reach: None,
            names: Names::default(),
            agreement: None,
        })
    }
}

/// Reads keys inside one snapshot of a source; only conversations of the tenant's inboxes are seen.
struct Reader<'a> {
    source: &'a Source,
    statements: Statements,
    tx: &'a mut SourceTx,
    inboxes: &'a [i32],
}

impl Reader<'_> {
    /// What the source has of the selection; ids are left to [`Self::existing`].
    async fn selected(&mut self, selection: &Selection) -> Result<BTreeSet<i64>, SourceError> {
        let error = self.source.query_error("list the selected conversations");
        let query = match selection {
            // all of them is no part, and planned elsewhere; of deleted senders only the target's rows tell
            Selection::Ids { .. } | Selection::Senders { .. } | Selection::Policy { .. } => {
                return Ok(BTreeSet::new());
            }
            Selection::Time { from, to, inboxes } => {
                sqlx::query_scalar(AssertSqlSafe(self.statements.in_time.clone()))
                    .bind(self.inboxes)
                    .bind(from.naive_utc())
                    .bind(to.naive_utc())
                    .bind(inboxes)
            }
            Selection::Inboxes { inboxes } => {
                sqlx::query_scalar(AssertSqlSafe(self.statements.in_inboxes.clone()))
                    .bind(self.inboxes)
                    .bind(inboxes)
            }
            Selection::Renamed { names } => {
                let ids = |of: NameOf| -> Vec<i64> {
                    names
                        .iter()
                        .filter(|name| name.of == of)
                        .map(|name| name.id)
                        .collect()
                };
                sqlx::query_scalar(AssertSqlSafe(self.statements.carrying.clone()))
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
        let found: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(self.statements.existing.clone()))
            .bind(self.inboxes)
            .bind(ids)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look conversations up"))?;
        Ok(found.into_iter().collect())
    }
}
