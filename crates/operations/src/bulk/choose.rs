//! Chooses the items of a job, and stores them before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use tidemark_ledger as ledger;
use tidemark_ledger::bulk::{Bulk, NewBulk, NewItem};
use tidemark_ledger::chunk_report::{ChunkFilter, ChunkReport};
use tidemark_ledger::reject::RejectFilter;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::Settings;
use tidemark_shared::audit::Actor;
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, ConversationKey, RunId, TenantId};
use tidemark_shared::run::{RunReport, RunStatus};
use tidemark_shared::tenant::Tenant;

use super::{BulkAction, BulkFilter, BulkSubject, MOST, Skip};
use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::status::{Overview, TenantOverview};

/// One more than [`MOST`], so that too many are noticed.
const LIMIT: i64 = 10_001;

/// Stores a job with everything that matches, of the tenants in `scope`; `None`: of all.
pub async fn prepare(
    db: &DbPool,
    settings: &Settings,
    actor: &Actor,
    scope: Option<&[TenantId]>,
    action: BulkAction,
    filter: &BulkFilter,
    reason: Option<&str>,
) -> OperationResult<Bulk> {
    if let (Some(scope), Some(tenant)) = (scope, filter.tenant)
        && !scope.contains(&tenant)
    {
        return Err(Refusal::NothingMatches.into());
    }
    let chooser = Chooser {
        db,
        scope,
        action,
        filter,
    };
    let items = match action.subject() {
        BulkSubject::Tenants => chooser.tenants(settings).await?,
        BulkSubject::Runs => chooser.runs().await?,
        BulkSubject::Chunks => chooser.chunks().await?,
        BulkSubject::Rejects => chooser.rejects().await?,
    };
    if items.is_empty() {
        return Err(Refusal::NothingMatches.into());
    }
    let new = NewBulk {
        action: action.as_str(),
        filter: serde_json::to_value(filter).expect("a filter has string keys"),
        reason,
        items,
    };
    Ok(ledger::bulk::prepare(db, actor, &new).await?)
}

struct Chooser<'a> {
    db: &'a DbPool,
    scope: Option<&'a [TenantId]>,
    action: BulkAction,
    filter: &'a BulkFilter,
}

impl Chooser<'_> {
    fn sees(&self, tenant: TenantId) -> bool {
        self.scope.is_none_or(|scope| scope.contains(&tenant))
            && self.filter.tenant.is_none_or(|only| only == tenant)
    }

    /// The tenants to list one after the other; one `None`: all at once.
    fn lists(&self) -> Vec<Option<TenantId>> {
        match (self.filter.tenant, self.scope) {
            (Some(tenant), _) => vec![Some(tenant)],
            (None, Some(scope)) => scope.iter().copied().map(Some).collect(),
            (None, None) => vec![None],
        }
    }

    /// The ids that were given.
    fn ids<T: FromStr + Ord>(&self) -> OperationResult<Option<BTreeSet<T>>> {
        let Some(texts) = &self.filter.ids else {
            return Ok(None);
        };
        if texts.len() > MOST {
            return Err(Refusal::TooManyMatch(MOST).into());
        }
        let parse = |text: &String| {
            let id = text.trim().parse::<T>();
            id.map_err(|_| Refusal::NoIdOfSubject(text.chars().take(40).collect()).into())
        };
        texts.iter().map(parse).collect::<OperationResult<_>>().map(Some)
    }

    async fn tenants(&self, settings: &Settings) -> OperationResult<Vec<NewItem>> {
        let wanted = self.filter.tenants()?;
        let ids = self.ids::<TenantId>()?;
        let overview = Overview::load(self.db, settings).await?;
        let tenants = ledger::tenant::list(self.db).await?;
        let tenants: BTreeMap<TenantId, Tenant> =
            tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect();
        let rejects: BTreeSet<TenantId> = ledger::console::view::open_rejects(self.db)
            .await?
            .into_iter()
            .map(|(tenant, _)| tenant)
            .collect();
        let mut items = Vec::new();
        for one in &overview.tenants {
            let id = one.tenant_id;
            let Some(tenant) = tenants.get(&id) else { continue };
            let is_listed = ids.as_ref().is_none_or(|ids| ids.contains(&id));
            if is_listed && self.sees(id) && wanted.takes(one, Some(tenant), rejects.contains(&id)) {
                items.push(NewItem {
                    skipped: self.skip_tenant(one, tenant).map(Skip::as_str),
                    ..item_of(id)
                });
            }
        }
        check_known(ids.as_ref().map(BTreeSet::len), items.len())?;
        check_count(items.len())?;
        Ok(items)
    }

    fn skip_tenant(&self, one: &TenantOverview, tenant: &Tenant) -> Option<Skip> {
        let is_paused = tenant.paused_at.is_some();
        match self.action {
            BulkAction::TenantPause => is_paused.then_some(Skip::Paused),
            BulkAction::TenantResume => (!is_paused).then_some(Skip::NotPaused),
            _ if is_paused => Some(Skip::Paused),
            _ if !tenant.may_run() => Some(Skip::NotActive),
            _ => (one.inboxes == 0 && tenant.discovered_account().is_none()).then_some(Skip::NoInboxes),
        }
    }

    async fn runs(&self) -> OperationResult<Vec<NewItem>> {
        let mut found = match self.ids::<RunId>()? {
            Some(ids) => ids.into_iter().collect(),
            None => {
                let mut found = Vec::new();
                for tenant in self.lists() {
                    let filter = self.filter.runs(tenant)?;
                    found.extend(ledger::run::list_ids(self.db, &filter, None, LIMIT).await?);
                }
                found
            }
        };
        check_count(found.len())?;
        found.sort_unstable();
        let reports = ledger::run::reports(self.db, &found).await?;
        let reports: Vec<RunReport> = reports
            .into_iter()
            .filter(|run| self.sees(run.tenant_id))
            .collect();
        check_known(self.filter.ids.is_some().then_some(found.len()), reports.len())?;
        let item = |run: RunReport| NewItem {
            run: Some(run.run_id),
            skipped: self.skip_run(&run).map(Skip::as_str),
            ..item_of(run.tenant_id)
        };
        Ok(reports.into_iter().map(item).collect())
    }

    fn skip_run(&self, run: &RunReport) -> Option<Skip> {
        match self.action {
            BulkAction::RunCancel => run.status.is_terminal().then_some(Skip::RunEnded),
            // a run that ended before it had chunks is requested again
            _ => {
                let may_retry =
                    run.chunks.dead > 0 || matches!(run.status, RunStatus::Failed | RunStatus::Cancelled);
                (!may_retry).then_some(Skip::NothingToRetry)
            }
        }
    }

    async fn chunks(&self) -> OperationResult<Vec<NewItem>> {
        let ids = self.ids::<ChunkId>()?;
        let filters: Vec<ChunkFilter> = match &ids {
            Some(ids) => {
                let runs: BTreeSet<RunId> = ids.iter().map(|chunk| chunk.run_id).collect();
                runs.into_iter()
                    .map(|run| ChunkFilter {
                        run: Some(run),
                        ..dead(self.filter.tenant)
                    })
                    .collect()
            }
            None => self.lists().into_iter().map(dead).collect(),
        };
        let mut found = Vec::new();
        for filter in filters {
            found.extend(ledger::chunk_report::list(self.db, &filter, None, LIMIT).await?);
        }
        found.retain(|chunk| {
            self.sees(chunk.tenant_id) && ids.as_ref().is_none_or(|ids| ids.contains(&chunk.id()))
        });
        check_known(ids.as_ref().map(BTreeSet::len), found.len())?;
        check_count(found.len())?;
        let item = |chunk: ChunkReport| NewItem {
            run: Some(chunk.run_id),
            chunk_seq: Some(chunk.seq),
            ..item_of(chunk.tenant_id)
        };
        Ok(found.into_iter().map(item).collect())
    }

    fn reject_filters(&self, ids: Option<&BTreeSet<ConversationKey>>) -> OperationResult<Vec<RejectFilter>> {
        let all = RejectFilter {
            side: self.filter.side()?,
            sqlstate: self.filter.sqlstate.clone(),
            error: self.filter.error.clone(),
            ..RejectFilter::default()
        };
        let one = |key: &ConversationKey| RejectFilter {
            tenant: Some(key.tenant_id),
            conversation: Some(key.conversation_id),
            ..all.clone()
        };
        let list = |tenant| RejectFilter {
            tenant,
            ..all.clone()
        };
        Ok(match ids {
            Some(ids) => ids.iter().map(one).collect(),
            None => self.lists().into_iter().map(list).collect(),
        })
    }

    /// One item a tenant, because one run takes all its conversations.
    async fn rejects(&self) -> OperationResult<Vec<NewItem>> {
        let ids = self.ids::<ConversationKey>()?;
        let mut found: BTreeMap<TenantId, Vec<i64>> = BTreeMap::new();
        let mut count = 0;
        for filter in self.reject_filters(ids.as_ref())? {
            let rejects = ledger::reject::list(self.db, &filter, None, LIMIT).await?;
            for reject in rejects.iter().filter(|reject| self.sees(reject.tenant_id)) {
                let conversations = found.entry(reject.tenant_id).or_default();
                conversations.push(reject.conversation_id);
                count += 1;
            }
        }
        check_known(ids.as_ref().map(BTreeSet::len), count)?;
        check_count(count)?;
        let mut items = Vec::with_capacity(found.len());
        for (id, conversations) in found {
            let skipped = match ledger::tenant::find(self.db, id).await? {
                None => Some(Skip::Removed),
                Some(tenant) if tenant.paused_at.is_some() => Some(Skip::Paused),
                Some(tenant) => (!tenant.may_run()).then_some(Skip::NotActive),
            };
            items.push(NewItem {
                conversations: Some(conversations),
                skipped: skipped.map(Skip::as_str),
                ..item_of(id)
            });
        }
        Ok(items)
    }
}

fn dead(tenant: Option<TenantId>) -> ChunkFilter {
    ChunkFilter {
        tenant,
        statuses: vec![ChunkStatus::Dead],
        ..ChunkFilter::default()
    }
}

const fn item_of(tenant: TenantId) -> NewItem {
    NewItem {
        tenant,
        run: None,
        chunk_seq: None,
        conversations: None,
        skipped: None,
    }
}

fn check_count(count: usize) -> OperationResult<()> {
    if count > MOST {
        return Err(Refusal::TooManyMatch(MOST).into());
    }
    Ok(())
}

/// Refuses ids of which some are unknown, or another tenant's: both look the same.
fn check_known(wanted: Option<usize>, found: usize) -> OperationResult<()> {
    match wanted {
        Some(given) if given > found => {
            let unknown = given - found;
            Err(Refusal::UnknownIds { unknown, given }.into())
        }
        _ => Ok(()),
    }
}
