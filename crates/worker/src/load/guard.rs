//! The guard against mass deletion during the load.
//!
//! The plan's guard is not enough: a privilege lost or a row policy set after the plan hides rows that still exist. So
//! each chunk adds the rows that it marks to those that its run has marked before.

use sqlx::PgConnection;
use tidemark_ledger as ledger;
use tidemark_shared::ids::TenantId;
use tidemark_shared::mass_delete::{TOLERATED_ROWS, is_mass_delete};

use super::chunk_load::ChunkLoad;
use super::error::LoadError;

/// Fails when the run would have marked suspiciously many rows, together with the `marked` rows of this chunk. Call it
/// after the tenant's row is locked, so that no other chunk counts at the same time.
pub(super) async fn refuse_mass_delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    load: ChunkLoad<'_>,
    marked: i64,
) -> Result<(), LoadError> {
    if load.allows_mass_delete || marked == 0 {
        return Ok(());
    }
    // the cheap check first: this sum also has rows of inboxes that the tenant no longer has, which do not count
    let before = ledger::chunk::count_deleted(&mut *connection, load.chunk.run_id).await?;
    if before + marked <= TOLERATED_ROWS {
        return Ok(());
    }
    let live = ledger::target::count_live(connection, tenant).await?;
    if !is_mass_delete(before + marked, live + before + marked) {
        return Ok(());
    }
    let gone = ledger::target::count_deleted_by(connection, tenant, load.chunk.run_id, load.inboxes).await?;
    if is_mass_delete(gone, live + gone) {
        return Err(LoadError::MassDelete {
            tenant,
            gone,
            live: live + gone,
        });
    }
    Ok(())
}
