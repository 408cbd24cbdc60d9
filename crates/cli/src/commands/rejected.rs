//! `tidemark rejected …`.

use tidemark_ledger as ledger;
use tidemark_ledger::reject::{RejectFilter, RejectSide, RejectedRow};
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::since::Since;

use super::ask::{ready_tenant, request};
use super::one_of;
use super::run::{exists, print_runs};
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the conversations that could not be taken; every run of their tenant tries them again
    List(List),
    /// Ask for a run now, which tries the tenant's rejects again
    Retry {
        /// Tenant's id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only of this tenant
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Also those that have passed or vanished since
    #[arg(long)]
    all: bool,
    /// Only those that failed on this side
    #[arg(long, value_name = "SIDE", value_parser = one_of(&RejectSide::ALL, RejectSide::as_str))]
    side: Option<RejectSide>,
    /// Only those with this SQLSTATE, or of this class of them: 22P02, 23
    #[arg(long, value_name = "CODE", value_parser = sqlstate)]
    sqlstate: Option<String>,
    /// Only those that this run saw last
    #[arg(long, value_name = "RUN_ID")]
    run: Option<RunId>,
    /// Only this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<i64>,
    /// Only those seen since an instant (RFC 3339), or so long ago: 2h, 7days
    #[arg(long, value_name = "TIME|AGE")]
    since: Option<Since>,
    /// At most so many
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
}

fn sqlstate(text: &str) -> Result<String, String> {
    let is_code = (1..=5).contains(&text.len()) && text.chars().all(|sign| sign.is_ascii_alphanumeric());
    if !is_code {
        return Err("it is a SQLSTATE or the beginning of one: up to five digits and letters".to_owned());
    }
    Ok(text.to_ascii_uppercase())
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(args) => list(app, args).await,
            Self::Retry { tenant } => retry(app, tenant).await,
        }
    }
}

async fn list(app: &App, args: List) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    if let Some(tenant) = args.tenant {
        app.tenant(&db, tenant).await?;
    }
    if let Some(run) = args.run {
        exists(&ledger::run::reports(&db, &[run]).await?, run)?;
    }
    let filter = RejectFilter {
        tenant: args.tenant,
        also_resolved: args.all,
        conversation: args.conversation,
        run: args.run,
        side: args.side,
        sqlstate: args.sqlstate,
        since: args.since,
    };
    let rejects = ledger::reject::list(&db, &filter, args.limit).await?;
    if app.json {
        output::json(&rejects)?;
    } else {
        let count = rejects.len();
        table(rejects)?;
        output::note_cut(count, args.limit, "rejects");
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
    print_runs(app, &ledger::run::reports(&db, &[run]).await?, false)?;
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
