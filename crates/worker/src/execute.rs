//! Executes one claimed chunk: extract, transform, load, complete.

use std::panic::resume_unwind;
use std::sync::Arc;

use secrecy::SecretString;
use tidemark_ledger as ledger;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_ledger::impossible::Impossible;
use tidemark_postgres::DbPool;
use tidemark_runtime::telemetry;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::ChunkId;
use tidemark_shared::run::RunType;
use tidemark_source::{Reads, Sources};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::compare::{self, Verifier};
use crate::error::ExecuteError;
use crate::extract::Extractor;
use crate::load::{ChunkLoad, LoadError, Staging};
use crate::read_permits::ReadPermit;
use crate::rejects::Rejects;
use crate::tenant_context::tenant_context;

/// Full buffers between extract and load: one waits here while the load copies another and the extraction fills a third.
const BUFFER_QUEUE: usize = 1;

/// Executes claimed chunks.
#[derive(Debug, Clone)]
pub struct Executor {
    pub db: DbPool,
    /// Connections for loads only: their sessions keep a staging table and large prepared statements.
    loads: DbPool,
    pub sources: Arc<Sources>,
    /// The secret from which each tenant's hash key is derived.
    pub privacy_key: Option<SecretString>,
}

impl Executor {
    /// `loads` is the number of loads that may run at once.
    #[must_use]
    pub fn new(db: DbPool, sources: Arc<Sources>, privacy_key: Option<SecretString>, loads: u16) -> Self {
        let loads = ledger::connect::pool_for_loads(&db, loads.into());
        Self {
            db,
            loads,
            sources,
            privacy_key,
        }
    }

    /// Copies the chunk's rows from the source into the target and completes it. Releases the permit when all rows are
    /// read and only the load is left.
    ///
    /// Safe to drop at any point: one transaction writes everything or nothing.
    pub async fn execute(
        &self,
        id: ChunkId,
        chunk: &ClaimedChunk,
        permit: &mut ReadPermit,
    ) -> Result<ChunkCounts, ExecuteError> {
        if chunk.run_type == RunType::Verify {
            let verifier = Verifier {
                db: self.db.clone(),
                sources: Arc::clone(&self.sources),
                privacy_key: self.privacy_key.clone(),
                deep: false,
                rows_per_range: compare::ROWS_PER_RANGE,
                // the chunk is one range
                at_once: 1,
            };
            let span = tracing::info_span!("compare", otel.kind = "client", source = chunk.source);
            // no `traced`: a postponed comparison is no failure, and the chunk's span records real ones
            return verifier.execute(id, chunk).instrument(span).await;
        }
        let source = self.sources.get(&chunk.source)?;
        let mapping = ledger::inbox::load_mapping(&self.db, chunk.tenant_id).await?;
        let tenant = tenant_context(
            chunk.tenant_id,
            &chunk.timezone,
            &mapping,
            self.privacy_key.as_ref(),
        )?;

        // read the highest known transaction id first: a snapshot that is taken later must not be below it
        let known = ledger::fence::find(&self.db, source.name()).await?;
        let is_repair = chunk.run_type == RunType::Repair;
        let before = if is_repair {
            let known_xmax = known.map(|known| (known.epoch, known.highest_xmax));
            ledger::impossible::rows_and_chunks(&self.db, chunk.tenant_id, &chunk.spec, known_xmax).await?
        } else {
            Impossible::default()
        };
        // the snapshot is older than the load's transaction: a later run reads the changes that it misses
        let purpose = format!("run {} chunk {}", id.run_id, id.seq);
        let reads = Reads::Keys {
            inboxes: mapping.inboxes.len(),
        };
        let mut tx = source.begin_for(&purpose, reads).await?;
        source.check_not_restored(known.map(|known| known.highest_xmax), tx.snapshot().xmax)?;
        let known = ledger::fence::record_xmax(&self.db, source.name(), tx.snapshot().xmax).await?;
        let version = SourceVersion {
            epoch: known.epoch,
            snapshot: *tx.snapshot(),
        };
        // a standby lags: a row with a later version may come from its primary
        let impossible = match tx.replay() {
            Some(_) => Impossible::default(),
            None => before.beyond(&version),
        };
        let load = ChunkLoad {
            chunk: id,
            attempt: chunk.attempt,
            mapping_version: mapping.version,
            is_repair,
            inboxes: &mapping.inboxes,
            waiting: if chunk.allows_mass_delete {
                &[]
            } else {
                &mapping.waiting
            },
            allows_mass_delete: chunk.allows_mass_delete,
            impossible: &impossible,
        };
        let tolerated = ledger::reject::list_tolerated(&self.db, chunk.tenant_id, &chunk.spec).await?;
        let rejects = Arc::new(Rejects::new(tolerated));
        let mut staging = Staging::begin(&self.loads, chunk.tenant_id).await?;

        let (sink, buffers) = mpsc::channel(BUFFER_QUEUE);
        let read = async {
            let extractor = Extractor::new(source, &mut tx, &mapping.inboxes, &tenant, sink, &rejects);
            let span = tracing::info_span!("extract", otel.kind = "client", source = source.name());
            telemetry::describe_database(&span, source.pool(), "SELECT conversations messages");
            let extracted = telemetry::traced(span, extractor.run(&chunk.spec)).await?;
            let nothing = extracted.found.is_empty() && extracted.withheld.is_empty();
            let is_expected = chunk.key_count == 0 || chunk.allows_mass_delete;
            if nothing && !is_expected && !source.has_any_conversation(tx.connection()).await? {
                return Err(ExecuteError::Empty(chunk.source.clone()));
            }
            permit.release();
            tx.finish().await;
            Ok(extracted)
        };
        let span = tracing::info_span!("stage", otel.kind = "client");
        telemetry::describe_database(&span, self.db.connections(), "COPY staging");
        let stage = telemetry::traced(span, {
            let rejects = Arc::clone(&rejects);
            let spec = chunk.spec.clone();
            async move {
                if !is_repair {
                    staging.look_up(&spec).await?;
                }
                let rows = staging.stage(buffers, &rejects).await?;
                Ok::<_, LoadError>((staging, rows))
            }
        });
        // a separate task, so that one core encodes while another sends; dropping this future aborts it
        let mut beside = JoinSet::new();
        beside.spawn(stage);
        // when the load fails first, the extraction only sees a closed channel: report the load's error
        let (extracted, staged) = tokio::join!(read, beside.join_next());
        let staged = staged.expect("one task was spawned");
        let (staging, staged) = staged.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))?;
        let extracted = extracted?;

        let span = tracing::info_span!("load", otel.kind = "client", rows = staged);
        telemetry::describe_database(&span, self.db.connections(), "INSERT conversations_analytics");
        let finish = staging.finish(load, &chunk.spec, &extracted, &rejects, &version, &tenant.privacy);
        Ok(telemetry::traced(span, finish).await?)
    }
}
