//! Chatwoot accounts of the sources, with their inboxes and tenants.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;
use tidemark_source::{Source, Sources};

use crate::error::OperationResult;

/// An account of a source; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct AccountView {
    pub source: String,
    /// `None` where a view shows no accounts.
    pub account_id: Option<i32>,
    pub name: Option<String>,
    /// Tenants with this account, and tenants with an inbox of it.
    pub tenants: Vec<TenantId>,
    pub conversations: i64,
    pub newest_activity_at: Option<DateTime<Utc>>,
    pub inboxes: Vec<AccountInboxView>,
}

/// An inbox of an account, by its conversations.
#[derive(Debug, Serialize)]
pub struct AccountInboxView {
    pub inbox_id: i32,
    /// `None` also for an inbox that was deleted and left conversations behind.
    pub name: Option<String>,
    pub channel_type: Option<String>,
    pub conversations: i64,
    pub newest_activity_at: Option<DateTime<Utc>>,
    /// The tenant that has it.
    pub tenant_id: Option<TenantId>,
}

/// The accounts of one source, or of all, by source and account. Reads all conversations of each source once.
pub async fn list(db: &DbPool, sources: &Sources, only: Option<&str>) -> OperationResult<Vec<AccountView>> {
    let mut tenants = ledger::tenant::list(db).await?;
    let mapped: BTreeMap<(String, i32), TenantId> = ledger::inbox::list(db, None)
        .await?
        .into_iter()
        .filter(|inbox| inbox.is_active)
        .map(|inbox| ((inbox.source, inbox.inbox_id), inbox.tenant_id))
        .collect();
    tenants.sort_by_key(|tenant| tenant.id);
    let mut views = Vec::new();
    match only {
        Some(name) => add(sources.get(name)?, &tenants, &mapped, &mut views).await?,
        None => {
            for source in sources.iter() {
                add(source, &tenants, &mapped, &mut views).await?;
            }
        }
    }
    Ok(views)
}

async fn add(
    source: &Source,
    tenants: &[Tenant],
    mapped: &BTreeMap<(String, i32), TenantId>,
    views: &mut Vec<AccountView>,
) -> OperationResult<()> {
    let first = views.len();
    for counted in source.list_accounts().await? {
        let is_new = views[first..]
            .last()
            .is_none_or(|last| last.account_id != counted.account_id);
        if is_new {
            views.push(AccountView {
                source: source.name().to_owned(),
                account_id: counted.account_id,
                name: None,
                tenants: tenants
                    .iter()
                    .filter(|tenant| tenant.source == source.name())
                    .filter(|tenant| tenant.account_id.is_some() && tenant.account_id == counted.account_id)
                    .map(|tenant| tenant.id)
                    .collect(),
                conversations: 0,
                newest_activity_at: None,
                inboxes: Vec::new(),
            });
        }
        let view = views.last_mut().expect("one was pushed");
        view.name = view.name.take().or(counted.account_name);
        view.conversations += counted.conversations;
        view.newest_activity_at = view.newest_activity_at.max(counted.newest);
        let Some(inbox_id) = counted.inbox_id else {
            continue;
        };
        let tenant_id = mapped.get(&(source.name().to_owned(), inbox_id)).copied();
        view.tenants.extend(tenant_id);
        view.tenants.sort_unstable();
        view.tenants.dedup();
        view.inboxes.push(AccountInboxView {
            inbox_id,
            name: counted.inbox_name,
            channel_type: counted.channel_type,
            conversations: counted.conversations,
            newest_activity_at: counted.newest,
            tenant_id,
        });
    }
    Ok(())
}
