//! Refuses plans that would delete suspiciously much.

use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_shared::mass_delete::is_mass_delete;
use tidemark_shared::run::RunType;
use tidemark_shared::tenant::Tenant;

use crate::planning::error::PlanError;

/// Refuses a plan that would mark suspiciously many rows deleted: `gone` of the tenant's `live` rows. Rows of an inbox that
/// an operator unmapped do not count.
pub(crate) async fn refuse_mass_delete(
    target: &mut PgTransaction<'_>,
    tenant: &Tenant,
    run_type: RunType,
    inboxes: &[i32],
    gone: &[i64],
    live: i64,
) -> Result<(), PlanError> {
    let all_gone = i64::try_from(gone.len()).expect("rows of a tenant fit in 63 bits");
    if !is_mass_delete(all_gone, live) {
        return Ok(());
    }
    let gone = ledger::target::count_in_inboxes(target, tenant.id, gone, inboxes).await?;
    let live = live - (all_gone - gone);
    if is_mass_delete(gone, live) {
        return Err(PlanError::MassDelete {
            tenant: tenant.id,
            run_type,
            gone,
            live,
        });
    }
    Ok(())
}
