//! Tenants as operators see and change them.

pub mod add;
pub mod change;
pub mod forget;
pub mod lifecycle;
pub(crate) mod limits;
pub mod relocate;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::watermark::Watermark;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use crate::error::{OperationError, OperationResult};
use crate::page::Page;
use crate::refusal::Refusal;

/// A tenant with its inboxes and watermark; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct TenantView {
    #[serde(flatten)]
    pub tenant: Tenant,
    pub inboxes: Vec<i32>,
    pub watermark: Option<DateTime<Utc>>,
    pub next_due_at: DateTime<Utc>,
}

impl TenantView {
    fn new(tenant: Tenant, inboxes: Vec<i32>, at: Option<&Watermark>) -> Self {
        Self {
            inboxes,
            watermark: at.and_then(|at| at.watermark),
            next_due_at: at.map(|at| at.next_due_at).unwrap_or_default(),
            tenant,
        }
    }
}

/// Loads a tenant that must exist.
pub async fn load(db: &DbPool, id: TenantId) -> OperationResult<Tenant> {
    let found = ledger::tenant::find(db, id).await?;
    Ok(found.ok_or(Refusal::UnknownTenant(id))?)
}

/// Tenants behind the tenant `after`, ascending by id.
pub async fn list_views(
    db: &DbPool,
    after: Option<TenantId>,
    limit: i64,
) -> OperationResult<Page<TenantView, TenantId>> {
    let found = ledger::tenant::list_after(db, after, limit.saturating_add(1)).await?;
    let page = Page::cut(found, limit, |tenant| tenant.id);
    let mut inboxes: BTreeMap<TenantId, Vec<i32>> = BTreeMap::new();
    for inbox in ledger::inbox::list(db, None).await? {
        if inbox.is_active {
            inboxes.entry(inbox.tenant_id).or_default().push(inbox.inbox_id);
        }
    }
    let watermarks: BTreeMap<TenantId, Watermark> = ledger::watermark::list(db, None)
        .await?
        .into_iter()
        .map(|at| (at.tenant_id, at))
        .collect();
    let view = |tenant: Tenant| {
        let inboxes = inboxes.remove(&tenant.id).unwrap_or_default();
        let at = watermarks.get(&tenant.id);
        TenantView::new(tenant, inboxes, at)
    };
    Ok(Page {
        items: page.items.into_iter().map(view).collect(),
        next: page.next,
    })
}

pub async fn load_view(db: &DbPool, id: TenantId) -> OperationResult<TenantView> {
    let tenant = load(db, id).await?;
    let inboxes = ledger::inbox::list(db, Some(id)).await?;
    let active = inboxes.iter().filter(|inbox| inbox.is_active);
    let inboxes = active.map(|inbox| inbox.inbox_id).collect();
    let at = ledger::watermark::load(db, id).await?;
    Ok(TenantView::new(tenant, inboxes, Some(&at)))
}

/// Letters and digits of the name in lower case, words joined by `-`.
#[must_use]
pub fn slug(name: &str, id: TenantId) -> String {
    let mut slug = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        format!("tenant-{id}")
    } else {
        slug.to_owned()
    }
}

fn check_name(name: &str) -> OperationResult<()> {
    if name.trim().is_empty() {
        return Err(Refusal::NeedsName.into());
    }
    Ok(())
}

/// The transform and the live view must both know the time zone.
async fn check_timezone(db: &DbPool, name: &str) -> OperationResult<()> {
    if name.parse::<chrono_tz::Tz>().is_err() || !ledger::tenant::timezone_exists(db, name).await? {
        return Err(Refusal::NoTimeZone(name.to_owned()).into());
    }
    Ok(())
}

/// Names the id or slug that is already in use, where that is the error.
fn explain_conflict(error: DbError, id: TenantId, slug: &str) -> OperationError {
    let database = error.source.as_database_error();
    match database.and_then(|error| error.constraint()) {
        Some("tenants_pkey") => Refusal::IdTaken(id).into(),
        Some("tenants_slug_key") => Refusal::SlugTaken(slug.to_owned()).into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_of_ascii_words() {
        assert_eq!(slug("Ação & Reação Ltda.", TenantId(1)), "a-o-rea-o-ltda");
        assert_eq!(slug("日本", TenantId(7)), "tenant-7");
    }
}
