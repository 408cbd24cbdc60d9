//! Removes one contact from a tenant.

use serde::Serialize;
use tidemark_ledger as ledger;
use tidemark_ledger::privacy::ContactRows;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::TenantId;
use tidemark_shared::tenant::Tenant;

use crate::error::OperationResult;
use crate::run_requests::new_run;

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct ForgottenContact {
    pub tenant_id: TenantId,
    pub contact_id: i64,
    #[serde(flatten)]
    pub rows: ContactRows,
}

/// Counts the rows that [`forget_contact`] would remove or clean.
pub async fn count_rows(db: &DbPool, tenant: TenantId, contact: i64) -> OperationResult<ContactRows> {
    Ok(ledger::privacy::count_contact_rows(db, tenant, contact).await?)
}

/// Removes the contact's conversations and texts for good, and keeps them out of later runs.
pub async fn forget_contact(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    contact: i64,
    reason: Option<String>,
) -> OperationResult<ForgottenContact> {
    let reason = reason.unwrap_or_else(|| format!("contact {contact} is forgotten"));
    let run = new_run(actor, tenant, Some(reason));
    Ok(ForgottenContact {
        tenant_id: tenant.id,
        contact_id: contact,
        rows: ledger::privacy::forget(db, actor, tenant.id, contact, &run).await?,
    })
}
