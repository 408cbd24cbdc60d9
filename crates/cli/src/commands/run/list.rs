//! `tidemark run list`.

use tidemark_ledger as ledger;
use tidemark_ledger::run::RunFilter;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunReport, RunStatus, RunType};
use tidemark_shared::since::Since;

use crate::app::App;
use crate::commands::one_of;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this tenant
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Only in one of these states, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STATUS", value_parser = one_of(&RunStatus::ALL, RunStatus::as_str))]
    status: Vec<RunStatus>,
    /// Only of one of these types, separated by commas
    #[arg(long = "type", value_delimiter = ',', value_name = "TYPE", value_parser = one_of(&RunType::ALL, RunType::as_str))]
    types: Vec<RunType>,
    /// Only those asked for since an instant (RFC 3339), or so long ago: 2h, 7days
    #[arg(long, value_name = "TIME|AGE")]
    since: Option<Since>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

impl Args {
    pub async fn run(self, app: &App, db: &DbPool) -> anyhow::Result<Exit> {
        if let Some(tenant) = self.tenant {
            app.tenant(db, tenant).await?;
        }
        let filter = RunFilter {
            tenant: self.tenant,
            types: self.types,
            statuses: self.status,
            since: self.since,
        };
        let ids = ledger::run::list_ids(db, &filter, self.limit).await?;
        let mut runs = ledger::run::reports(db, &ids).await?;
        runs.reverse();
        if app.json {
            output::json(&runs)?;
        } else {
            table(&runs)?;
            output::note_cut(runs.len(), self.limit, "runs");
        }
        Ok(Exit::Done)
    }
}

pub(super) fn table(runs: &[RunReport]) -> anyhow::Result<()> {
    let rows = runs
        .iter()
        .map(|run| {
            vec![
                run.run_id.to_string(),
                run.tenant_id.to_string(),
                run.run_type.as_str().to_owned(),
                super::outcome(run),
                format!("{}/{}", run.chunks.done, run.chunks.total),
                output::count(run.records.extracted),
                output::count(run.records.inserted),
                output::count(run.records.updated),
                output::count(run.records.deleted),
                output::count(run.records.rejected),
                output::duration_ms(run.duration_ms),
                output::time(run.watermark_end),
            ]
        })
        .collect();
    let header = [
        "run",
        "tenant",
        "type",
        "status",
        "chunks",
        "extracted",
        "inserted",
        "updated",
        "deleted",
        "rejected",
        "took",
        "watermark",
    ];
    output::table(&header, &[0, 1, 4, 5, 6, 7, 8, 9, 10], rows)
}
