//! `tidemark verify`: compares here, or with `--wait` lets the fleet compare, and repairs what it found.

use tidemark_ledger as ledger;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunReport, RunRequest, RunStatus, RunType};
use tidemark_shared::selection::Selection;
use tidemark_shared::tenant::Tenant;
use tidemark_shared::verification::{FaultKind, MAX_LISTED_FAULTS, Verdict, Verification};
use tidemark_worker::compare::Verifier;

use super::ask;
use super::sync::execute_here;
use crate::app::App;
use crate::exit::{Exit, SetupError};
use crate::output;
use crate::progress;

/// Rows that a repair takes by their ids; of more it takes everything.
const REPAIRED_BY_ID: i64 = 50_000;
/// Rows at fault that are shown to people.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant's id
    #[arg(
        long,
        alias = "tenant-id",
        value_name = "N",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    tenant: Option<TenantId>,
    /// Every tenant
    #[arg(long)]
    all: bool,
    /// Transform every conversation once more and compare column by column, whatever the digests say
    #[arg(long)]
    deep: bool,
    /// Write what is at fault anew, and compare again
    #[arg(long)]
    repair: bool,
    /// Let the fleet do it, in chunks, and wait for it
    #[arg(long)]
    wait: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(app.settings.worker.concurrency).await?;
        let tenants = self.tenants(app, &db).await?;
        let mut found = self.compare(app, &db, &tenants).await?;
        let mut repairs = Vec::new();
        if self.repair {
            repairs = self.repair(app, &db, &tenants, &found).await?;
            let repaired: Vec<Tenant> = tenants
                .into_iter()
                .filter(|tenant| repairs.iter().any(|run| run.tenant_id == tenant.id))
                .collect();
            for again in self.compare(app, &db, &repaired).await? {
                let before = found.iter_mut().find(|one| one.tenant_id == again.tenant_id);
                *before.expect("it was compared before") = again;
            }
        }
        for one in &mut found {
            one.faults.truncate(MAX_LISTED_FAULTS);
        }
        match found.as_slice() {
            [one] if app.json && !self.all => output::json(one)?,
            all if app.json => output::json(&all)?,
            all => table(all)?,
        }
        Ok(exit(&found, &repairs))
    }

    async fn tenants(&self, app: &App, db: &DbPool) -> anyhow::Result<Vec<Tenant>> {
        if let Some(id) = self.tenant {
            return Ok(vec![match self.wait {
                true => ask::ready_tenant(app, db, id).await?,
                false => app.tenant(db, id).await?,
            }]);
        }
        let mut tenants = Vec::new();
        for tenant in ledger::tenant::list(db).await? {
            let inboxes = ledger::inbox::list_active(db, tenant.id, &tenant.source).await?;
            if self.wait && (!tenant.may_run() || inboxes.is_empty()) {
                output::note(format!(
                    "tenant {} is left out: it is paused, not active, or has no inboxes",
                    tenant.id
                ));
            } else {
                tenants.push(tenant);
            }
        }
        Ok(tenants)
    }

    async fn compare(&self, app: &App, db: &DbPool, tenants: &[Tenant]) -> anyhow::Result<Vec<Verification>> {
        if self.wait {
            return self.compare_in_fleet(app, db, tenants).await;
        }
        let verifier = Verifier {
            db: db.clone(),
            sources: app.sources()?,
            privacy_key: app.settings.privacy_key.clone(),
            deep: self.deep,
        };
        let mut found = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let one = verifier.verify(tenant.id).await?;
            ledger::verification::record(db, tenant.id, &one.compared).await?;
            found.push(one);
        }
        Ok(found)
    }

    async fn compare_in_fleet(
        &self,
        app: &App,
        db: &DbPool,
        tenants: &[Tenant],
    ) -> anyhow::Result<Vec<Verification>> {
        let mut runs = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let request = RunRequest {
                deep: self.deep,
                ..RunRequest::default()
            };
            runs.push(ask::request(app, db, tenant, RunType::Verify, None, request).await?);
        }
        let reports = progress::wait(db, &runs).await?;
        let mut found = Vec::with_capacity(reports.len());
        for run in reports {
            if run.status != RunStatus::Success {
                let (id, status) = (run.run_id, run.status.as_str());
                let why = run.error.unwrap_or_else(|| "see `tidemark run show`".to_owned());
                return Err(SetupError(format!("run {id} compared nothing, it is {status}: {why}")).into());
            }
            let compared = run.verification.unwrap_or_default();
            let faults = ledger::verification::list_faults(db, run.run_id, REPAIRED_BY_ID).await?;
            let mut one = Verification::new(run.tenant_id, compared, faults);
            one.run_id = Some(run.run_id);
            found.push(one);
        }
        Ok(found)
    }

    /// Runs over exactly what was found.
    async fn repair(
        &self,
        app: &App,
        db: &DbPool,
        tenants: &[Tenant],
        found: &[Verification],
    ) -> anyhow::Result<Vec<RunReport>> {
        let mut runs = Vec::new();
        for (tenant, one) in tenants.iter().zip(found) {
            let count = one.compared.fault_count() + one.compared.unproven;
            if count == 0 {
                continue;
            }
            let is_listed = i64::try_from(one.faults.len())? == count;
            let request = RunRequest {
                selection: is_listed.then(|| Selection::Ids {
                    ids: one.faults.iter().map(|fault| fault.conversation_id).collect(),
                }),
                ..RunRequest::default()
            };
            let reason = Some(format!("verify found {count} rows"));
            runs.push(ask::request(app, db, tenant, RunType::Repair, reason, request).await?);
        }
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let reports = match self.wait {
            true => progress::wait(db, &runs).await?,
            false => execute_here(app, db, &app.sources()?, &runs).await?,
        };
        for run in &reports {
            let text = format!(
                "tenant {}: repair run {} wrote {} rows and marked {} deleted: {}",
                run.tenant_id,
                run.run_id,
                output::count(run.records.inserted + run.records.updated),
                output::count(run.records.deleted),
                run.status.as_str()
            );
            match &run.error {
                Some(error) => output::note(format!("{text}: {error}")),
                None => output::note(text),
            }
        }
        Ok(reports)
    }
}

/// 0 equal, 1 different, 2 where all that is left are rows that a repair could not take.
fn exit(found: &[Verification], repairs: &[RunReport]) -> Exit {
    let is_partial = |one: &Verification| {
        repairs
            .iter()
            .any(|run| run.tenant_id == one.tenant_id && run.status == RunStatus::Partial)
    };
    let different: Vec<&Verification> = found
        .iter()
        .filter(|one| one.verdict == Verdict::Different)
        .collect();
    if different.is_empty() {
        Exit::Done
    } else if different.into_iter().all(is_partial) {
        Exit::Partial
    } else {
        Exit::Failed
    }
}

fn table(found: &[Verification]) -> anyhow::Result<()> {
    let rows = found
        .iter()
        .map(|one| {
            let compared = &one.compared;
            let mut row = vec![one.tenant_id.to_string()];
            row.extend(
                [
                    compared.source_rows,
                    compared.target_rows,
                    compared.missing,
                    compared.extra,
                    compared.stale,
                    compared.different,
                    compared.impossible,
                    compared.pending,
                    compared.unproven,
                ]
                .map(output::count),
            );
            row.push(one.verdict.as_str().to_owned());
            row
        })
        .collect();
    let header = [
        "tenant",
        "source rows",
        "target rows",
        "missing",
        "extra",
        "stale",
        "different",
        "impossible",
        "pending",
        "unproven",
        "verdict",
    ];
    output::table(&header, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], rows)?;
    for one in found {
        let faults = one
            .faults
            .iter()
            .filter(|fault| fault.kind != FaultKind::Unproven);
        for fault in faults.clone().take(SHOWN) {
            let columns = match fault.columns.as_slice() {
                [] => String::new(),
                columns => format!(" ({})", columns.join(", ")),
            };
            output::line(format!(
                "tenant {} conversation {}: {}{columns}",
                one.tenant_id,
                fault.conversation_id,
                fault.kind.as_str()
            ))?;
        }
        if faults.count() > SHOWN {
            output::line(format!("tenant {}: and more, see --json", one.tenant_id))?;
        }
        if one.compared.unproven > 0 {
            output::note(format!(
                "tenant {}: {} rows are equal and have no digests that say so, --repair gives them theirs",
                one.tenant_id,
                output::count(one.compared.unproven)
            ));
        }
    }
    Ok(())
}
