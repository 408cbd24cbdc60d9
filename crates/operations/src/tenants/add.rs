//! Adds a tenant.

use tidemark_ledger as ledger;
use tidemark_ledger::tenant::NewTenant;
use tidemark_postgres::DbPool;

use super::{check_name, check_timezone, explain_conflict};
use crate::error::{OperationError, OperationResult};

pub async fn add(db: &DbPool, tenant: &NewTenant) -> OperationResult<()> {
    let id = tenant.id;
    if id.0 < 1 {
        let text = format!("a tenant's id is a positive number, not {id}");
        return Err(OperationError::Invalid(text));
    }
    check_name(&tenant.name)?;
    check_timezone(db, &tenant.timezone).await?;
    if ledger::tenant::was_removed(db, id).await? {
        let text =
            format!("id {id} belonged to a removed tenant whose rows are still there: choose another id");
        return Err(OperationError::Invalid(text));
    }
    ledger::tenant::insert(db, tenant)
        .await
        .map_err(|error| explain_conflict(error, id, &tenant.slug))
}
