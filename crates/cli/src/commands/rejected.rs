//! `tidemark rejected …`.

use tidemark_shared::db;
use tidemark_shared::db::reject::RejectedRow;
use tidemark_shared::ids::TenantId;
use tidemark_shared::run::{RunRequest, RunType};

use super::ask::{ready_tenant, request};
use super::run::print_runs;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the conversations that could not be taken; every run of their tenant tries them again
    List {
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: Option<TenantId>,
        /// Also those that have passed or vanished since
        #[arg(long)]
        all: bool,
    },
    /// Ask for a run now, which tries the tenant's rejects again
    Retry {
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List { tenant, all } => list(app, tenant, all).await,
            Self::Retry { tenant } => retry(app, tenant).await,
        }
    }
}

async fn list(app: &App, tenant: Option<TenantId>, all: bool) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    if let Some(tenant) = tenant {
        app.tenant(&db, tenant).await?;
    }
    let rejects = db::reject::list(&db, tenant, all).await?;
    if app.json {
        output::json(&rejects)?;
    } else {
        table(rejects)?;
    }
    Ok(Exit::Done)
}

async fn retry(app: &App, tenant: TenantId) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = ready_tenant(app, &db, tenant).await?;
    let run = request(
        app,
        &db,
        &tenant,
        RunType::Incremental,
        Some("retry of rejected rows".to_owned()),
        RunRequest::default(),
    )
    .await?;
    print_runs(app, &db::run::reports(&db, &[run]).await?, false)?;
    Ok(Exit::Done)
}

fn table(rejects: Vec<RejectedRow>) -> anyhow::Result<()> {
    let rows = rejects
        .into_iter()
        .map(|reject| {
            vec![
                reject.tenant_id.to_string(),
                reject.conversation_id.to_string(),
                reject.side,
                reject.sqlstate.unwrap_or_else(|| "-".to_owned()),
                reject.error,
                format!("{}/{}", reject.run_id, reject.chunk_seq),
                reject.attempts.to_string(),
                output::time(Some(reject.last_seen_at)),
                output::time(reject.resolved_at),
            ]
        })
        .collect();
    let header = [
        "tenant",
        "conversation",
        "side",
        "sqlstate",
        "error",
        "chunk",
        "attempts",
        "last seen",
        "resolved",
    ];
    output::table(&header, &[0, 1, 6], rows)
}
