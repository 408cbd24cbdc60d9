//! Accepts a source that went back in time, because it was restored or replaced.

use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_source::Source;

use crate::error::OperationResult;
use crate::refusal::{NeedsReason, Refusal};

/// Accepts the source as it is now. Returns its new epoch.
pub async fn accept(db: &DbPool, actor: &Actor, source: &Source, reason: &str) -> OperationResult<i32> {
    if reason.trim().is_empty() {
        return Err(Refusal::NeedsReason(NeedsReason::AcceptRestore).into());
    }
    let known = ledger::fence::find(db, source.name())
        .await?
        .map(|known| known.highest_xmax);
    let seen = source.observe().await?.xmax;
    if source.check_not_restored(known, seen).is_ok() {
        let refusal = Refusal::NotRestored {
            source_name: source.name().to_owned(),
            server: source.server().to_owned(),
        };
        return Err(refusal.into());
    }
    Ok(ledger::fence::accept_restore(db, actor, source.name(), seen, reason).await?)
}
