//! Adds a tenant.

use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::tenant::NewTenant;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, Actor};

use super::limits::Limited;
use super::{check_name, check_timezone, explain_conflict};
use crate::error::OperationResult;
use crate::refusal::Refusal;

pub async fn add(db: &DbPool, actor: &Actor, tenant: &NewTenant) -> OperationResult<()> {
    let id = tenant.id;
    if id.0 < 1 {
        return Err(Refusal::IdNotPositive(id).into());
    }
    check_name(&tenant.name)?;
    check_timezone(db, &tenant.timezone).await?;
    Limited {
        chunk_size: tenant.chunk_size,
        max_in_flight: tenant.max_in_flight,
        sync_interval: tenant.sync_interval,
        verify_interval: tenant.verify_interval,
    }
    .check()?;
    if ledger::tenant::was_removed(db, id).await? {
        return Err(Refusal::IdOfRemoved(id).into());
    }
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    ledger::tenant::insert(&mut *tx, tenant)
        .await
        .map_err(|error| explain_conflict(error, id, &tenant.slug))?;
    let added = ledger::tenant::find(&mut *tx, id).await?;
    let entry = Entry::new(Action::TenantAdd).tenant(id).after(added);
    ledger::audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt("add the tenant")?;
    Ok(())
}
