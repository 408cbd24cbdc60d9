//! Sets a tenant's watermark by hand.

use chrono::{DateTime, Utc};
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::watermark::Set;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::tenant::Tenant;
use tidemark_source::Sources;

use crate::error::{OperationError, OperationResult};

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
        return Err(OperationError::Invalid(
            "setting a watermark needs a reason".to_owned(),
        ));
    }
    let now = sources.get(&tenant.source)?.observe().await?.sample.sampled_at;
    if to > now {
        let text = format!("--to {to} is in the future: the source's clock is at {now}");
        return Err(OperationError::Invalid(text));
    }
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    let old = match ledger::watermark::set(&mut tx, tenant.id, to, actor, reason).await? {
        Set::From { old } => old,
        Set::Open(run) => {
            let text = format!(
                "tenant {} has run {run} open, which moves the watermark when it ends: wait for it \
                 (`tidemark run watch {run}`) or end it (`tidemark run cancel {run}`)",
                tenant.id
            );
            // the audit has the attempt
            tx.commit().await.attempt("record the refusal")?;
            return Err(OperationError::Invalid(text));
        }
    };
    tx.commit().await.attempt("set the watermark")?;
    Ok(old)
}
