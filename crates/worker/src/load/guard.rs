//! The guard against mass deletion, in the load. A plan can only judge what it saw: a right lost or a policy set between plan
//! and chunk hides rows that are still there. So each chunk adds what it marks to what its run has marked before.

use sqlx::PgConnection;
use tidemark_ledger as ledger;
use tidemark_shared::ids::TenantId;
use tidemark_shared::mass_delete::{TOLERATED_ROWS, is_mass_delete};

use super::{LoadError, LoadOf};

/// Refuses when this chunk marks `marked` rows of the tenant's inboxes and the run has then marked suspiciously many. Runs
/// after the tenant's row is locked, so no other chunk counts at the same time.
pub(super) async fn refuse_mass_delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    of: LoadOf<'_>,
    marked: i64,
) -> Result<(), LoadError> {
    if of.allows_mass_delete || marked == 0 {
        return Ok(());
    }
    // the cheap bounds first: rows of inboxes that are no longer the tenant's are in this sum, and do not count
    let before = ledger::chunk::count_deleted(&mut *connection, of.chunk.run_id).await?;
    if before + marked <= TOLERATED_ROWS {
        return Ok(());
    }
    let live = ledger::target::count_live(connection, tenant).await?;
    if !is_mass_delete(before + marked, live + before + marked) {
        return Ok(());
    }
    let gone = ledger::target::count_deleted_by(connection, tenant, of.chunk.run_id, of.inboxes).await?;
    if is_mass_delete(gone, live + gone) {
        return Err(LoadError::MassDelete {
            tenant,
            gone,
            live: live + gone,
        });
    }
    Ok(())
}
