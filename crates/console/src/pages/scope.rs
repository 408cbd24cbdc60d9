//! Lists for an author who sees only some tenants: one list a tenant, merged.

use std::future::Future;

use tidemark_shared::ids::TenantId;

use crate::auth::who::Who;
use crate::error::{PageError, PageResult};

/// Lists of the tenant that was asked for, else of each tenant that the author sees, else of all. `merge` orders them and
/// cuts what is too long. A tenant that the author does not see is not found.
pub async fn list<T, F>(
    who: &Who,
    asked: Option<TenantId>,
    list: impl Fn(Option<TenantId>) -> F,
    merge: impl FnOnce(&mut Vec<T>),
) -> PageResult<Vec<T>>
where
    F: Future<Output = PageResult<Vec<T>>>,
{
    if asked.is_some_and(|tenant| !who.sees(tenant)) {
        return Err(PageError::NotFound);
    }
    let Some(scope) = who.scope().filter(|_| asked.is_none()) else {
        return list(asked).await;
    };
    let mut all = Vec::new();
    for tenant in scope {
        all.extend(list(Some(tenant)).await?);
    }
    merge(&mut all);
    Ok(all)
}
