//! One claimed chunk: extract, transform, load, done.

use std::panic::resume_unwind;
use std::sync::Arc;

use secrecy::SecretString;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::chunk::ClaimedChunk;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::inbox::Mapping;
use tidemark_postgres::DbPool;
use tidemark_runtime::config::ConfigError;
use tidemark_runtime::telemetry;
use tidemark_shared::chunk::ChunkCounts;
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{ChunkId, TenantId};
use tidemark_shared::run::RunType;
use tidemark_source::{SourceError, Sources};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::compare::Verifier;
use crate::extract::{ExtractError, Extractor};
use crate::load::{LoadError, LoadOf, Staging};
use crate::read_permits::Place;
use crate::rejects::Rejects;
use crate::transform::TenantContext;
use crate::transform::privacy::Privacy;

/// Buffers between extract and load: one is filled while one is copied.
const BUFFERS_BETWEEN: usize = 1;

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error("the lease was lost")]
    LeaseLost,
    #[error(
        "the worker panicked: {0}: this is a fault of the program, please report it with the worker's log"
    )]
    Panicked(String),
    #[error("the worker is shutting down")]
    ShuttingDown,
    #[error("tenant's time zone `{0}` is not known: set tenants.timezone to an IANA name")]
    TimeZone(String),
    #[error(
        "tenant {0} has columns hashed, and there is no key for it here: set TIDEMARK_PRIVACY_KEY, or \
         TIDEMARK_PRIVACY_KEY_FILE, for every worker"
    )]
    PrivacyKey(TenantId),
    #[error(
        "source `{0}` shows no conversation at all, of those that the plan saw: nothing is marked deleted; look at what \
         its login may see"
    )]
    Empty(String),
    #[error("tenant {0} was removed")]
    Removed(TenantId),
    /// A comparison has more to do, but not yet.
    #[error("{0} rows are not the same yet: they are looked at once more when the tenant has been synced")]
    Unsettled(usize),
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
    /// For loads alone: their sessions keep a staging table and large prepared statements.
    loads: DbPool,
    pub sources: Arc<Sources>,
    /// Tenants' keys for hashes are derived from it.
    pub privacy_key: Option<SecretString>,
}

/// What a transform needs to know of the tenant, as the ledger has it at this moment.
pub(crate) fn context(
    tenant: TenantId,
    timezone: &str,
    mapping: &Mapping,
    privacy_key: Option<&SecretString>,
) -> Result<TenantContext, ExecuteError> {
    let forgotten = mapping.forgotten.iter().copied();
    let privacy = Privacy::new(tenant.0, mapping.privacy.clone(), forgotten, privacy_key)
        .map_err(|_| ExecuteError::PrivacyKey(tenant))?;
    Ok(TenantContext {
        tenant_id: tenant.0,
        timezone: timezone
            .parse()
            .map_err(|_| ExecuteError::TimeZone(timezone.to_owned()))?,
        privacy: Arc::new(privacy),
    })
}

impl Executor {
    /// For so many loads at a time.
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

    /// Takes the chunk's rows from the source into the target and completes it. Safe to drop at any point: either all
    /// of it has happened or nothing. Gives its place up when all has been read and only the load is left.
    ///
    /// # Errors
    /// When source or target do not answer or refuse, or the claim was lost.
    pub async fn execute(
        &self,
        id: ChunkId,
        chunk: &ClaimedChunk,
        place: &mut Place,
    ) -> Result<ChunkCounts, ExecuteError> {
        if chunk.run_type == RunType::Verify {
            let verifier = Verifier {
                db: self.db.clone(),
                sources: Arc::clone(&self.sources),
                privacy_key: self.privacy_key.clone(),
                deep: false,
            };
            let span = tracing::info_span!("compare", otel.kind = "client", source = chunk.source);
            // what it puts off is no failure, and the chunk's own span has those
            return verifier.execute(id, chunk).instrument(span).await;
        }
        let source = self.sources.get(&chunk.source)?;
        let mapping = ledger::inbox::mapping(&self.db, chunk.tenant_id).await?;
        let tenant = context(
            chunk.tenant_id,
            &chunk.timezone,
            &mapping,
            self.privacy_key.as_ref(),
        )?;

        // what is known is read first: whatever the source shows afterwards must not be less
        let known = ledger::fence::find(&self.db, source.name()).await?;
        let repairs = chunk.run_type == RunType::Repair;
        let before = if repairs {
            let known_xmax = known.map(|known| (known.epoch, known.highest_xmax));
            ledger::impossible::rows_and_chunks(&self.db, chunk.tenant_id, &chunk.spec, known_xmax).await?
        } else {
            Impossible::default()
        };
        // the snapshot is older than the load's transaction: what it misses, a later chunk brings
        let mut tx = source
            .begin(&format!("run {} chunk {}", id.run_id, id.seq))
            .await?;
        source.check_not_restored(known.map(|known| known.highest_xmax), tx.snapshot().xmax)?;
        let known = ledger::fence::note(&self.db, source.name(), tx.snapshot().xmax).await?;
        let version = SourceVersion {
            epoch: known.epoch,
            snapshot: *tx.snapshot(),
        };
        // a standby is behind: what was read later may well be of its primary
        let impossible = match tx.replay() {
            Some(_) => Impossible::default(),
            None => before.beyond(&version),
        };
        let of = LoadOf {
            chunk: id,
            attempt: chunk.attempt,
            mapping_version: mapping.version,
            repairs,
            inboxes: &mapping.inboxes,
            allows_mass_delete: chunk.allows_mass_delete,
            impossible: &impossible,
        };
        let tolerated = ledger::reject::tolerated(&self.db, chunk.tenant_id, &chunk.spec).await?;
        let rejects = Arc::new(Rejects::new(tolerated));
        let mut staging = Staging::begin(&self.loads, chunk.tenant_id).await?;

        let (sink, buffers) = mpsc::channel(BUFFERS_BETWEEN);
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
            place.give_up();
            tx.finish().await;
            Ok(extracted)
        };
        let span = tracing::info_span!("stage", otel.kind = "client");
        telemetry::describe_database(&span, self.db.connections(), "COPY staging");
        let stage = telemetry::traced(span, {
            let rejects = Arc::clone(&rejects);
            async move {
                let rows = staging.stage(buffers, &rejects).await?;
                Ok::<_, LoadError>((staging, rows))
            }
        });
        // a task of its own, so that one processor encodes while another sends; it ends with this future
        let mut beside = JoinSet::new();
        beside.spawn(stage);
        // when the load ends early the extraction notices a closed channel: the load's error is the cause
        let (extracted, staged) = tokio::join!(read, beside.join_next());
        let staged = staged.expect("one task was spawned");
        let (staging, staged) = staged.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))?;
        let extracted = extracted?;

        let span = tracing::info_span!("load", otel.kind = "client", rows = staged);
        telemetry::describe_database(&span, self.db.connections(), "INSERT conversations_analytics");
        let finish = staging.finish(of, &chunk.spec, &extracted, &rejects, &version, &tenant.privacy);
        Ok(telemetry::traced(span, finish).await?)
    }
}
