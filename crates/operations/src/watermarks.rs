//! Sets a tenant's watermark by hand.

use chrono::{DateTime, Utc};
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::watermark::Set;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;

use crate::error::OperationResult;
use crate::refusal::{NeedsReason, Refusal};

/// Sets the watermark, and returns the old one.
pub async fn set(
    db: &DbPool,
    sources: &Sources,
    actor: &Actor,
    tenant: &Tenant,
    to: DateTime<Utc>,
    reason: &str,
) -> OperationResult<Option<DateTime<Utc>>> {
    if reason.trim().is_empty() {
        return Err(Refusal::NeedsReason(NeedsReason::Watermark).into());
    }
    let now = sources.get(&tenant.source)?.observe().await?.sample.sampled_at;
    if to > now {
        return Err(Refusal::InFuture { to, now }.into());
    }
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let old = match ledger::watermark::set(&mut tx, tenant.id, to, actor, reason).await? {
        Set::From { old } => old,
        Set::Open(run) => {
            // the audit has the attempt
            tx.commit().await.attempt("record the refusal")?;
            let tenant = tenant.id;
            return Err(Refusal::WatermarkRunOpen { tenant, run }.into());
        }
    };
    tx.commit().await.attempt("set the watermark")?;
    Ok(old)
}
