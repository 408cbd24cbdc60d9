//! One claimed chunk: extract, transform, load, done.

use std::sync::Arc;

use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::config::ConfigError;
use tidemark_shared::db::DbPool;
use tidemark_shared::db::chunk::ClaimedChunk;
use tidemark_shared::db::{self, DbError};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::source::{SourceError, Sources};
use tidemark_shared::telemetry;
use tokio::sync::mpsc;

use crate::extract::{ExtractError, Extractor};
use crate::load::{LoadError, LoadOf, Staging};
use crate::rejects::Rejects;
use crate::transform::TenantContext;

/// Buffers between extract and load: one is filled while one is copied.
const BUFFERS_BETWEEN: usize = 1;

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error("the lease was lost")]
    LeaseLost,
    #[error("the worker is shutting down")]
    ShuttingDown,
    #[error("tenant's time zone `{0}` is not known: set tenants.timezone to an IANA name")]
    TimeZone(String),
    #[error(
        "source `{0}` shows no conversation at all, of those that the plan saw: nothing is marked deleted; look at what \
         its login may see"
    )]
    Empty(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Ledger(#[from] DbError),
}

/// Executes claimed chunks.
#[derive(Debug, Clone)]
pub struct Executor {
    pub db: DbPool,
    pub sources: Arc<Sources>,
}

impl Executor {
    /// Takes the chunk's rows from the source into the target and completes it. Safe to drop at any point: either all
    /// of it has happened or nothing.
    ///
    /// # Errors
    /// When source or target do not answer or refuse, or the claim was lost.
    pub async fn execute(&self, id: ChunkId, chunk: &ClaimedChunk) -> Result<ChunkCounts, ExecuteError> {
        let source = self.sources.get(&chunk.source)?;
        let timezone = chunk
            .timezone
            .parse()
            .map_err(|_| ExecuteError::TimeZone(chunk.timezone.clone()))?;
        let tenant = TenantContext {
            tenant_id: chunk.tenant_id.0,
            timezone,
        };
        let (mapping_version, inboxes) = db::inbox::mapping(&self.db, chunk.tenant_id).await?;

        // what is known is read first: whatever the source shows afterwards must not be less
        let known = db::fence::find(&self.db, source.name()).await?;
        // the snapshot is older than the load's transaction: what it misses, a later chunk brings
        let mut tx = source
            .begin(&format!("run {} chunk {}", id.run_id, id.seq))
            .await?;
        source.check_not_back(known.map(|known| known.highest_xmax), tx.snapshot().xmax)?;
        let known = db::fence::note(&self.db, source.name(), tx.snapshot().xmax).await?;
        let version = SourceVersion {
            epoch: known.epoch,
            snapshot: *tx.snapshot(),
        };
        let of = LoadOf {
            chunk: id,
            attempt: chunk.attempt,
            mapping_version,
        };
        let rejects = Rejects::new(db::reject::tolerated(&self.db, chunk.tenant_id, &chunk.spec).await?);
        let mut staging = Staging::begin(&self.db, chunk.tenant_id).await?;

        let (sink, buffers) = mpsc::channel(BUFFERS_BETWEEN);
        let extractor = Extractor::new(source, &mut tx, &inboxes, &tenant, sink, &rejects);
        let span = tracing::info_span!("extract", otel.kind = "client", source = source.name());
        telemetry::on_database(&span, source.pool(), "SELECT conversations messages");
        let extract = telemetry::traced(span, extractor.run(&chunk.spec));
        let span = tracing::info_span!("stage", otel.kind = "client");
        telemetry::on_database(&span, self.db.connections(), "COPY staging");
        let stage = telemetry::traced(span, staging.stage(buffers, &rejects));
        // when the load ends early the extraction notices a closed channel: the load's error is the cause
        let (extracted, staged) = tokio::join!(extract, stage);
        let staged = staged?;
        let extracted = extracted?;
        let nothing = extracted.found.is_empty() && chunk.key_count > 0 && !chunk.may_be_empty;
        if nothing && !source.shows_any(tx.connection()).await? {
            return Err(ExecuteError::Empty(chunk.source.clone()));
        }
        tx.finish().await;

        let span = tracing::info_span!("load", otel.kind = "client", rows = staged);
        telemetry::on_database(&span, self.db.connections(), "INSERT conversations_analytics");
        let finish = staging.finish(of, &chunk.spec, &extracted, rejects, &version);
        Ok(telemetry::traced(span, finish).await?)
    }
}
