//! Finds the tenant of each conversation id, for an operator with one list of ids and several tenants.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use crate::planning::error::PlanError;
use crate::planning::planner::Planner;

const INBOXES_OF: &str =
    "SELECT id::bigint, inbox_id::integer FROM conversations WHERE inbox_id = ANY($1) AND id = ANY($2)";
/// Ids in one statement.
const IDS_AT_ONCE: usize = 20_000;

/// The ids of a list by their tenants.
#[derive(Debug, Default)]
pub struct IdAssignment {
    /// Ascending. A conversation that moved belongs to its old and its new tenant.
    pub by_tenant: BTreeMap<TenantId, Vec<i64>>,
    /// Ids that are neither in an inbox nor among the live rows of these tenants.
    pub unknown: Vec<i64>,
}

impl Planner {
    /// Assigns ids to tenants: each tenant gets the ids in its inboxes at the source, and the ids of its live rows. Reads only
    /// keys. `ids` are ascending and distinct.
    pub async fn assign_ids_to_tenants(
        &self,
        tenants: &[Tenant],
        ids: &[i64],
    ) -> Result<IdAssignment, PlanError> {
        let mut found: BTreeMap<TenantId, BTreeSet<i64>> = BTreeMap::new();
        let mut by_source: BTreeMap<&str, BTreeMap<i32, TenantId>> = BTreeMap::new();
        for tenant in tenants {
            let inboxes = ledger::inbox::list_active(&self.db, tenant.id, &tenant.source).await?;
            let owners = by_source.entry(tenant.source.as_str()).or_default();
            owners.extend(inboxes.into_iter().map(|inbox| (inbox, tenant.id)));
        }
        for (name, owners) in &by_source {
            for (id, inbox) in self.find_at_source(name, owners, ids).await? {
                if let Some(tenant) = owners.get(&inbox) {
                    found.entry(*tenant).or_default().insert(id);
                }
            }
        }
        for tenant in tenants {
            let theirs = found.entry(tenant.id).or_default();
            let others: Vec<i64> = ids.iter().filter(|id| !theirs.contains(id)).copied().collect();
            let mut target = ledger::target::begin(&self.db, tenant.id).await?;
            for part in others.chunks(IDS_AT_ONCE) {
                theirs.extend(ledger::target::list_live(&mut target, tenant.id, part).await?);
            }
            target.rollback().await.attempt("end the transaction")?;
        }
        let known: BTreeSet<i64> = found.values().flatten().copied().collect();
        Ok(IdAssignment {
            by_tenant: found
                .into_iter()
                .filter(|(_, ids)| !ids.is_empty())
                .map(|(tenant, ids)| (tenant, ids.into_iter().collect()))
                .collect(),
            unknown: ids.iter().filter(|id| !known.contains(id)).copied().collect(),
        })
    }

    /// The ids that the source has in one of the inboxes, each with its inbox.
    async fn find_at_source(
        &self,
        name: &str,
        owners: &BTreeMap<i32, TenantId>,
        ids: &[i64],
    ) -> Result<Vec<(i64, i32)>, PlanError> {
        let source = self.sources.get(name)?;
        let inboxes: Vec<i32> = owners.keys().copied().collect();
        let mut tx = source.begin("look up ids").await?;
        let shape = source.check_catalog(tx.connection()).await?;
        let statement = shape.statement(INBOXES_OF, |view| {
            format!(
                "SELECT DISTINCT v.conversation_id::bigint, v.inbox_id::integer FROM {} v \
                 WHERE v.inbox_id = ANY($1) AND v.conversation_id = ANY($2)",
                view.relation()
            )
        });
        let mut found = Vec::new();
        for part in ids.chunks(IDS_AT_ONCE) {
            let rows: Vec<(i64, i32)> = sqlx::query_as(AssertSqlSafe(statement.as_ref()))
                .bind(&inboxes)
                .bind(part)
                .fetch_all(tx.connection())
                .await
                .map_err(source.query_error("look up conversations"))?;
            found.extend(rows);
        }
        tx.finish().await;
        Ok(found)
    }
}
