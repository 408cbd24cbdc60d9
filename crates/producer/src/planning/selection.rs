//! Plans runs over a selection of conversations. They use the bulk lane and do not move the watermark.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::run::PlanRecord;
use tidemark_postgres::DbPool;
use tidemark_shared::chunk::key_chunks;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::inbox::decision_about;
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::selection::{NameOf, Selection};
use tidemark_shared::tenant::Tenant;
use tidemark_source::tables::TableShape;
use tidemark_source::view::ViewShape;
use tidemark_source::{Shape, Source, SourceError, SourceTx};

use crate::planning::error::PlanError;
use crate::planning::fence_sample::{SampleMode, take_sample};
use crate::planning::mass_delete::{Deletions, Waiting, refuse_mass_delete};
use crate::planning::names::NameChanges;
use crate::planning::plan::{Plan, as_size};

/// The statements that list selected conversations, on tables or on a view.
struct Statements {
    /// $1 the tenant's inboxes, $2 ids
    existing: String,
    /// $1 the tenant's inboxes, $2 from, $3 to, $4 only these inboxes, or none for all
    in_time: String,
    /// $1 the tenant's inboxes, $2 inboxes
    in_inboxes: String,
    /// $1 the tenant's inboxes, $2 inboxes, $3 accounts, $4 users, $5 teams
    with_names: String,
}

impl Statements {
    fn of(shape: &Shape) -> Self {
        match shape {
            Shape::Tables(tables) => Self::of_tables(tables),
            Shape::View(view) => Self::of_view(view),
        }
    }

    fn of_tables(tables: &TableShape) -> Self {
        let of_source = |statement: String| tables.statement(&statement).into_owned();
        let select = "SELECT id::bigint FROM conversations c WHERE inbox_id = ANY($1)";
        Self {
            existing: of_source(format!("{select} AND id = ANY($2)")),
            in_time: of_source(format!(
                "{select} AND EXISTS (SELECT FROM unnest(ARRAY[c.created_at, c.updated_at, c.last_activity_at, \
                     c.waiting_since, c.first_reply_created_at, c.contact_last_seen_at, c.agent_last_seen_at, \
                     c.assignee_last_seen_at]) AS t (at) WHERE t.at BETWEEN $2 AND $3) \
                     AND (cardinality($4::integer[]) = 0 OR inbox_id = ANY($4))"
            )),
            in_inboxes: of_source(format!("{select} AND inbox_id = ANY($2)")),
            with_names: of_source(format!(
                "{select} AND (inbox_id = ANY($2) OR account_id = ANY($3) OR assignee_id = ANY($4) OR team_id = ANY($5))"
            )),
        }
    }

    /// Only the key is selected, so that PostgreSQL drops the joins of the view.
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
            with_names: format!("{select} AND ({})", shows_any_name(view)),
        }
    }
}

/// The condition that a conversation of the view shows one of the names. A name that the view does not show was requested
/// before the source's mode changed: then all rows of the tenant are rewritten.
fn shows_any_name(view: &ViewShape) -> String {
    let shown = view.names();
    let conditions: Vec<String> = [NameOf::Inbox, NameOf::Account, NameOf::User, NameOf::Team]
        .into_iter()
        .zip(2..)
        .map(
            |(of, parameter)| match shown.iter().find(|shown| shown.of == of) {
                Some(shown) => format!("{} = ANY(${parameter})", shown.id),
                None => format!("cardinality(${parameter}::bigint[]) > 0"),
            },
        )
        .collect();
    conditions.join(" OR ")
}

/// Plans a run over a part of the tenant's conversations.
pub(crate) async fn plan_selection(
    db: &DbPool,
    source: &Source,
    tenant: &Tenant,
    run_type: RunType,
    request: &RunRequest,
    selection: &Selection,
    mode: SampleMode,
) -> Result<Plan, PlanError> {
    let inboxes = ledger::inbox::list_active(db, tenant.id, &tenant.source).await?;
    if inboxes.is_empty() {
        return Err(PlanError::NoInboxes(tenant.id, tenant.source.clone()));
    }
    // the sample is only taken to detect a source that went back in time
    take_sample(db, source, mode).await?;
    let mut tx = source.begin(&format!("plan tenant {}", tenant.id)).await?;
    let shape = source.check_catalog(tx.connection()).await?;
    let mut reader = SelectionReader {
        source,
        statements: Statements::of(&shape),
        tx: &mut tx,
        inboxes: &inboxes,
    };
    let mut keys = reader.selected(selection).await?;
    let mut target = ledger::target::begin(db, tenant.id).await?;
    // rows that only the target has are planned, too: they become tombstones
    let requested = match selection {
        Selection::Ids { ids } => ids.clone(),
        Selection::Inboxes { inboxes } => {
            ledger::target::list_live_in_inboxes(&mut target, tenant.id, inboxes).await?
        }
        Selection::Senders { senders } => {
            ledger::target::list_live_with_senders(&mut target, tenant.id, senders).await?
        }
        Selection::Time { .. } | Selection::Renamed { .. } | Selection::Policy { .. } => Vec::new(),
    };
    let unconfirmed: Vec<i64> = requested.into_iter().filter(|id| !keys.contains(id)).collect();
    let mut waiting = Waiting::default();
    if !request.allow_mass_delete {
        let existing = reader.existing(&unconfirmed).await?;
        let absent: Vec<i64> = unconfirmed
            .iter()
            .filter(|id| !existing.contains(id))
            .copied()
            .collect();
        let mut gone = ledger::target::list_live(&mut target, tenant.id, &absent).await?;
        if run_type == RunType::Repair {
            // rows that are newer than this snapshot may come from another source, and do not count as gone
            let known = ledger::fence::find(db, source.name()).await?;
            let version = SourceVersion {
                epoch: known.map_or(1, |known| known.epoch),
                snapshot: *tx.snapshot(),
            };
            gone = ledger::target::list_not_newer(&mut target, tenant.id, &gone, &version).await?;
        }
        let live = ledger::target::count_live(&mut target, tenant.id).await?;
        let deletions = Deletions {
            tenant,
            run_type,
            inboxes: &inboxes,
            gone: &gone,
            live,
        };
        waiting = refuse_mass_delete(&mut target, source, &shape, &mut tx, &deletions).await?;
    }
    keys.extend(unconfirmed.into_iter().filter(|id| !waiting.has(*id)));
    let all_wait = waiting.inboxes.len() == inboxes.len();
    let undecided = decision_about(tenant.id, &waiting.inboxes, all_wait);
    target.rollback().await.attempt("end the transaction")?;
    let keys: Vec<i64> = keys.into_iter().collect();
    let warnings = source.shape_warnings(tx.connection(), &shape, &keys).await;
    tx.finish().await;

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
            undecided,
            coverage: None,
        },
        waiting: Vec::new(),
        chunks,
        watermark_bounds: None,
        names: NameChanges::default(),
        upgrade: None,
        matched_totals: None,
    })
}

/// Reads keys of the tenant's inboxes in one snapshot of a source.
struct SelectionReader<'a> {
    source: &'a Source,
    statements: Statements,
    tx: &'a mut SourceTx,
    inboxes: &'a [i32],
}

impl SelectionReader<'_> {
    /// The selected conversations of the source. For selections by id see [`Self::existing`].
    async fn selected(&mut self, selection: &Selection) -> Result<BTreeSet<i64>, SourceError> {
        let error = self.source.query_error("list the selected conversations");
        let query = match selection {
            // a policy concerns all conversations and is planned elsewhere; only the target still knows deleted senders
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
                sqlx::query_scalar(AssertSqlSafe(self.statements.with_names.clone()))
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
            .map_err(self.source.query_error("look up conversations"))?;
        Ok(found.into_iter().collect())
    }
}
