//! Compares source and target, and requests the repair of rows at fault.
//!
//! The caller waits for the requested runs: the command line does so with progress, and may execute them itself.

use serde_json::json;
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::run::Requested;
use tidemark_postgres::DbPool;
use tidemark_shared::audit::{Action, Actor};
use tidemark_shared::run::{RunReport, RunRequest, RunStatus, RunType};
use tidemark_shared::selection::Selection;
use tidemark_shared::tenant::Tenant;
use tidemark_shared::verification::Verification;
use tidemark_worker::compare::Verifier;

use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::run_requests::request;

/// A repair selects up to so many rows by their ids; above that it takes everything.
const REPAIRED_BY_ID: i64 = 50_000;

/// Compares in this process and records the results.
pub async fn compare_here(
    verifier: &Verifier,
    actor: &Actor,
    tenants: &[Tenant],
) -> OperationResult<Vec<Verification>> {
    let mut results = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let result = verifier.verify(tenant.id).await?;
        ledger::verification::record(&verifier.db, tenant.id, &result.compared).await?;
        let entry = Entry::new(Action::VerifyCompare)
            .tenant(tenant.id)
            .after(json!({"verdict": result.verdict.as_str()}));
        ledger::audit::record(&verifier.db, actor, &entry).await?;
        results.push(result);
    }
    Ok(results)
}

/// Requests a comparison by the workers.
pub async fn request_comparison(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    deep: bool,
) -> OperationResult<Requested> {
    let wanted = RunRequest {
        deep,
        ..RunRequest::default()
    };
    request(db, actor, tenant, RunType::Verify, None, wanted).await
}

/// Loads the results of verify runs that have ended.
pub async fn load_results(db: &DbPool, runs: Vec<RunReport>) -> OperationResult<Vec<Verification>> {
    let mut results = Vec::with_capacity(runs.len());
    for run in runs {
        if run.status != RunStatus::Success {
            let refusal = Refusal::NothingCompared {
                run: run.run_id,
                status: run.status,
                why: run.error,
            };
            return Err(refusal.into());
        }
        let compared = run.verification.unwrap_or_default();
        let faults = ledger::verification::list_faults(db, run.run_id, REPAIRED_BY_ID).await?;
        let mut result = Verification::new(run.tenant_id, compared, faults);
        result.run_id = Some(run.run_id);
        results.push(result);
    }
    Ok(results)
}

/// Requests a run that rewrites the rows at fault; `None` where there are none.
pub async fn request_repair(
    db: &DbPool,
    actor: &Actor,
    tenant: &Tenant,
    result: &Verification,
) -> OperationResult<Option<Requested>> {
    let count = result.compared.fault_count() + result.compared.unproven;
    if count == 0 {
        return Ok(None);
    }
    let is_listed = i64::try_from(result.faults.len()).is_ok_and(|listed| listed == count);
    let wanted = RunRequest {
        selection: is_listed.then(|| Selection::Ids {
            ids: result.faults.iter().map(|fault| fault.conversation_id).collect(),
        }),
        ..RunRequest::default()
    };
    let reason = Some(format!("verify found {count} rows"));
    let requested = request(db, actor, tenant, RunType::Repair, reason, wanted).await?;
    Ok(Some(requested))
}
