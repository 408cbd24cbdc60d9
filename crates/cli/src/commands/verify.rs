//! `tidemark verify`: compares in this process, or with `--wait` on the workers, and repairs on request.

use tidemark_ledger as ledger;
use tidemark_operations::run_requests::{is_ready, load_ready};
use tidemark_operations::status::Overview;
use tidemark_operations::{tenants, verify};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunReport, RunStatus};
use tidemark_shared::tenant::Tenant;
use tidemark_shared::verification::{FaultKind, MAX_LISTED_FAULTS, Verdict, Verification};
use tidemark_worker::compare::{ROWS_PER_RANGE, Verifier};

use super::requests::note_open;
use super::sync::execute_here;
use crate::app::App;
use crate::exit::Exit;
use crate::output;
use crate::progress;

/// Rows at fault that are printed for people.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tenant id
    #[arg(
        long,
        alias = "tenant-id",
        value_name = "N",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    tenant: Option<TenantId>,
    /// All tenants
    #[arg(long)]
    all: bool,
    /// Compare every conversation column by column, even where the digests are equal
    #[arg(long)]
    deep: bool,
    /// Rewrite the rows at fault, and compare again
    #[arg(long)]
    repair: bool,
    /// Compare on the workers, in chunks, and wait for the result
    #[arg(long)]
    wait: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(app.settings.worker.concurrency).await?;
        let tenants = self.tenants(&db).await?;
        let mut results = self.compare(app, &db, &tenants).await?;
        let mut repairs = Vec::new();
        if self.repair {
            repairs = self.repair(app, &db, &tenants, &results).await?;
            let repaired: Vec<Tenant> = tenants
                .into_iter()
                .filter(|tenant| repairs.iter().any(|run| run.tenant_id == tenant.id))
                .collect();
            for again in self.compare(app, &db, &repaired).await? {
                let before = results.iter_mut().find(|one| one.tenant_id == again.tenant_id);
                *before.expect("it was compared before") = again;
            }
        }
        let compared: Vec<TenantId> = results.iter().map(|one| one.tenant_id).collect();
        for line in Overview::load(&db, &app.settings)
            .await?
            .inbox_lines(Some(&compared))
        {
            output::note(line);
        }
        for one in &mut results {
            one.faults.truncate(MAX_LISTED_FAULTS);
        }
        match results.as_slice() {
            [one] if app.json && !self.all => output::json(one)?,
            all if app.json => output::json(&all)?,
            all => table(all)?,
        }
        Ok(exit(&results, &repairs))
    }

    async fn tenants(&self, db: &DbPool) -> anyhow::Result<Vec<Tenant>> {
        if let Some(id) = self.tenant {
            return Ok(vec![match self.wait {
                true => load_ready(db, id).await?,
                false => tenants::load(db, id).await?,
            }]);
        }
        let mut chosen = Vec::new();
        for tenant in ledger::tenant::list(db).await? {
            if self.wait && !is_ready(db, &tenant).await? {
                output::note(format!(
                    "tenant {} is left out: it is paused, not active, or has no inboxes",
                    tenant.id
                ));
            } else {
                chosen.push(tenant);
            }
        }
        Ok(chosen)
    }

    async fn compare(&self, app: &App, db: &DbPool, tenants: &[Tenant]) -> anyhow::Result<Vec<Verification>> {
        if !self.wait {
            let verifier = Verifier {
                db: db.clone(),
                sources: app.sources()?,
                privacy_key: app.settings.privacy_key.clone(),
                deep: self.deep,
                rows_per_range: ROWS_PER_RANGE,
                at_once: app.settings.worker.concurrency,
            };
            return Ok(verify::compare_here(&verifier, &app.actor(), tenants).await?);
        }
        let mut runs = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let requested = verify::request_comparison(db, &app.actor(), tenant, self.deep).await?;
            runs.push(note_open(tenant.id, requested));
        }
        let reports = progress::wait(db, &runs).await?;
        Ok(verify::load_results(db, reports).await?)
    }

    async fn repair(
        &self,
        app: &App,
        db: &DbPool,
        tenants: &[Tenant],
        results: &[Verification],
    ) -> anyhow::Result<Vec<RunReport>> {
        let mut runs = Vec::new();
        for (tenant, result) in tenants.iter().zip(results) {
            let requested = verify::request_repair(db, &app.actor(), tenant, result).await?;
            runs.extend(requested.map(|requested| note_open(tenant.id, requested)));
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

/// 0: equal. 1: different. 2: different only in rows that a repair had to reject.
fn exit(results: &[Verification], repairs: &[RunReport]) -> Exit {
    let is_partial = |one: &Verification| {
        repairs
            .iter()
            .any(|run| run.tenant_id == one.tenant_id && run.status == RunStatus::Partial)
    };
    let different: Vec<&Verification> = results
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

fn table(results: &[Verification]) -> anyhow::Result<()> {
    let rows = results
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
    for one in results {
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
                "tenant {}: {} rows are equal but have no digests to prove it; --repair writes the digests",
                one.tenant_id,
                output::count(one.compared.unproven)
            ));
        }
    }
    Ok(())
}
