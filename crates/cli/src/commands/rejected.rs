//! `tidemark rejected …`.

use tidemark_ledger as ledger;
use tidemark_ledger::reject::{RejectFilter, RejectSide, RejectedRow};
use tidemark_operations::{lists, run_control, run_requests, tenants};
use tidemark_shared::ids::{ConversationKey, RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::since::Since;

use super::one_of;
use super::requests::request;
use super::run::print;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List rejected conversations; every run of their tenant retries them
    List(List),
    /// Request a run that retries the tenant's rejected conversations now
    Retry {
        /// Tenant id
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: TenantId,
    },
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only conversations of this tenant
    #[arg(long, alias = "tenant-id", value_name = "N")]
    tenant: Option<TenantId>,
    /// Show resolved ones too
    #[arg(long)]
    all: bool,
    /// Only conversations rejected on this side
    #[arg(long, value_name = "SIDE", value_parser = one_of(&RejectSide::ALL, RejectSide::as_str))]
    side: Option<RejectSide>,
    /// Only conversations with this SQLSTATE or class: 22P02, 23
    #[arg(long, value_name = "CODE", value_parser = sqlstate)]
    sqlstate: Option<String>,
    /// Only conversations last rejected by this run
    #[arg(long, value_name = "RUN_ID")]
    run: Option<RunId>,
    /// Only this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<i64>,
    /// Only conversations rejected since this time (RFC 3339) or age (2h, 7days)
    #[arg(long, value_name = "TIME|AGE")]
    since: Option<Since>,
    /// Only conversations behind this one: the next part of a longer list
    #[arg(long, value_name = "TENANT:CONVERSATION")]
    after: Option<ConversationKey>,
    /// Show at most this many
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
}

fn sqlstate(text: &str) -> Result<String, String> {
    let is_code = (1..=5).contains(&text.len()) && text.chars().all(|sign| sign.is_ascii_alphanumeric());
    if !is_code {
        return Err("write a SQLSTATE or its beginning: up to five digits and letters".to_owned());
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
        tenants::load(&db, tenant).await?;
    }
    if let Some(run) = args.run {
        run_control::load(&db, run).await?;
    }
    let filter = RejectFilter {
        tenant: args.tenant,
        also_resolved: args.all,
        conversation: args.conversation,
        run: args.run,
        side: args.side,
        sqlstate: args.sqlstate,
        error: None,
        since: args.since,
    };
    let page = lists::rejects(&db, &filter, args.after, args.limit).await?;
    let shown = page.items.len();
    if app.json {
        output::json(&page.items)?;
    } else {
        table(page.items)?;
    }
    output::note_next(shown, page.next, "rejects", "--after");
    Ok(Exit::Done)
}

async fn retry(app: &App, tenant: TenantId) -> anyhow::Result<Exit> {
    let db = app.database(0).await?;
    let tenant = run_requests::load_ready(&db, tenant).await?;
    let run = request(
        app,
        &db,
        &tenant,
        RunType::Incremental,
        Some("retry of rejected rows".to_owned()),
        RunRequest::default(),
    )
    .await?;
    print::runs(app, &ledger::run::reports(&db, &[run]).await?, false)?;
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
