//! `tidemark chunk …`.

use tidemark_ledger::chunk_report::{ChunkFilter, ChunkReport};
use tidemark_operations::{lists, run_control, tenants};
use tidemark_shared::chunk::ChunkStatus;
use tidemark_shared::ids::{ChunkId, RunId, TenantId};
use tidemark_shared::job::Lane;

use super::one_of;
use super::run::retry;
use crate::app::App;
use crate::exit::Exit;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List chunks, newest runs first
    List {
        /// Only chunks of this run
        #[arg(long, value_name = "RUN_ID")]
        run: Option<RunId>,
        /// Only chunks with one of these statuses, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "STATUS", value_parser = one_of(&ChunkStatus::ALL, ChunkStatus::as_str))]
        status: Vec<ChunkStatus>,
        /// Only chunks of this tenant
        #[arg(long, alias = "tenant-id", value_name = "N")]
        tenant: Option<TenantId>,
        /// Only chunks in this lane
        #[arg(long, value_name = "LANE", value_parser = one_of(&[Lane::Live, Lane::Bulk], Lane::as_str))]
        lane: Option<Lane>,
        /// Only chunks with a failed attempt or a lost worker
        #[arg(long)]
        troubled: bool,
        /// Only chunks behind this one: the next part of a longer list
        #[arg(long, value_name = "RUN_ID/SEQ")]
        after: Option<ChunkId>,
        /// Show at most this many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Retry a dead or cancelled chunk
    Retry {
        /// Chunk, from `chunk list`
        #[arg(value_name = "RUN_ID/SEQ")]
        chunk: ChunkId,
    },
}

impl Command {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let db = app.database(0).await?;
        match self {
            Self::List {
                run,
                status,
                tenant,
                lane,
                troubled,
                after,
                limit,
            } => {
                if let Some(run) = run {
                    run_control::load(&db, run).await?;
                }
                if let Some(tenant) = tenant {
                    tenants::load(&db, tenant).await?;
                }
                let filter = ChunkFilter {
                    run,
                    statuses: status,
                    tenant,
                    lane,
                    troubled,
                };
                let page = lists::chunks(&db, &filter, after, limit).await?;
                if app.json {
                    output::json(&page.items)?;
                } else {
                    table(&page.items)?;
                }
                output::note_next(page.items.len(), page.next, "chunks", "--after");
                Ok(Exit::Done)
            }
            Self::Retry { chunk } => retry(app, &db, chunk.run_id, Some(chunk.seq)).await,
        }
    }
}

fn table(chunks: &[ChunkReport]) -> anyhow::Result<()> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows = chunks
        .iter()
        .map(|chunk| {
            vec![
                chunk.id().to_string(),
                chunk.tenant_id.to_string(),
                chunk.lane.as_str().to_owned(),
                chunk.status.as_str().to_owned(),
                output::count(chunk.key_count),
                chunk.attempt.to_string(),
                chunk.failure_count.to_string(),
                chunk.lost_count.to_string(),
                text(&chunk.worker_id),
                output::time(chunk.lease_until.or(chunk.due_at)),
                output::time(chunk.finished_at),
                text(&chunk.error),
            ]
        })
        .collect();
    let header = [
        "chunk",
        "tenant",
        "lane",
        "status",
        "keys",
        "attempt",
        "failures",
        "lost",
        "worker",
        "lease or due",
        "finished",
        "error",
    ];
    output::table(&header, &[1, 4, 5, 6, 7], rows)
}
