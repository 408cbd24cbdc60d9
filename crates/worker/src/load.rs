//! Load: rows into staging, staging into the target, the chunk done, all in one transaction of the target database.

mod bisect;
mod guard;
pub mod row_digest;

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};
use std::sync::LazyLock;
use std::time::Duration;
use tidemark_ledger::impossible::Impossible;
use tidemark_ledger::stored::Stored;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json as JsonText;
use sqlx::{AssertSqlSafe, PgConnection, raw_sql};
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::prefer_lz4;
use tidemark_postgres::guarded::{Guarded, Served};
use tidemark_shared::chunk::{ChunkCounts, ChunkSpec};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{ChunkId, TenantId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::extract::Extracted;
use crate::load::row_digest::Hashing;
use crate::rejects::{Rejects, TooManyRejects};
use crate::row::encode::CopyEncoder;
use crate::row::{columns, encode};
use crate::transform::privacy::Privacy;

/// The session's staging table: made once a connection, emptied by every commit and rollback.
static KEEP_STAGING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS tidemark_staging ({}) ON COMMIT DELETE ROWS",
        columns::staging_definition()
    )
});
/// The transaction's staging table, where a pooler lends the session: another build may be the next to have it, or may
/// have left its own there.
static MAKE_STAGING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DROP TABLE IF EXISTS pg_temp.tidemark_staging; CREATE TEMPORARY TABLE tidemark_staging ({}) ON COMMIT DROP",
        columns::staging_definition()
    )
});
static COPY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "COPY pg_temp.tidemark_staging ({}) FROM STDIN (FORMAT binary)",
        columns::staging_columns()
    )
});
static STATEMENTS: LazyLock<[Statements; 2]> =
    LazyLock::new(|| [Hashing::Records, Hashing::Texts].map(Statements::new));
/// What one COPY takes at most, kept until the target has taken it: a refused one is tried again in halves.
const KEPT_BYTES: usize = 4 << 20;
/// How long a COPY stays open for the next buffer of a slow source.
const KEEP_COPYING: Duration = Duration::from_millis(200);
/// Rows that staging and target still do not agree on after the merge are those that the target has from a newer read.
const COUNT_STALE: &str = "SELECT count(*) FROM pg_temp.tidemark_staging s \
     JOIN conversations_analytics t USING (tenant_id, conversation_id) \
     WHERE t.row_hash <> s.row_hash OR t.source_digest <> s.source_digest OR t.source_deleted_at IS NOT NULL";
/// What a range may have lost; the index answers it.
const LIVE_IN_RANGE: &str = "SELECT conversation_id FROM conversations_analytics \
     WHERE tenant_id = $1 AND conversation_id BETWEEN $2 AND $3 AND source_deleted_at IS NULL";

/// What is written, by how the server hashes rows.
struct Statements {
    merge: String,
    tombstone: String,
}

impl Statements {
    fn new(hashing: Hashing) -> Self {
        let written = [
            "$1::bigint",
            "now()",
            "$2::timestamptz",
            "$3::integer",
            "$4::bigint",
            "$5::integer",
        ];
        let merge = include_str!("load/merge.sql")
            .replace("{columns}", &columns::staging_columns())
            .replace("{updates}", &columns::update_list())
            .replace("{digest}", &hashing.of_new("s", written))
            .replace("{inserted_now}", &hashing.inserted("EXCLUDED.etl_inserted_at"))
            .replace("{inserted_then}", &hashing.inserted("t.etl_inserted_at"))
            .replace("{disowned}", &hashing.disowns_stored("t"));
        // $1 tenant, $2 ids, $3 the source's clock, $4 run, $5 epoch, $6 xmax, $7 in progress, $8 whether this is a repair: a
        // row that is not as a load left it has no version to go by
        let tombstone = format!(
            "UPDATE conversations_analytics t \
             SET source_deleted_at = $3, etl_run_id = $4, etl_updated_at = now(), source_extracted_at = $3, \
                 source_epoch = $5, source_xmax = $6, source_in_progress = $7, row_digest = NULL \
             WHERE t.tenant_id = $1 AND t.conversation_id = ANY($2) AND t.source_deleted_at IS NULL \
               AND (($5, $6, -$7, $3) >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
                    OR ($8 AND {})) \
             RETURNING t.conversation_id, t.inbox_id",
            hashing.disowns_stored("t")
        );
        Self { merge, tombstone }
    }

    fn of(connection: &PgConnection) -> &'static Self {
        match Hashing::of(connection) {
            Hashing::Records => &STATEMENTS[0],
            Hashing::Texts => &STATEMENTS[1],
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("get a connection to the target")]
    Unreachable(#[source] sqlx::Error),
    #[error("{attempted}")]
    Target {
        attempted: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error(transparent)]
    TooManyRejects(#[from] TooManyRejects),
    /// The chunk is somebody else's by now.
    #[error("the lease was lost before the chunk was done")]
    LeaseLost,
    /// The tenant's inboxes changed since the chunk was read, or what may be stored.
    #[error("the tenant's inboxes or its rules for personal data were changed while the chunk was read")]
    Remapped,
    #[error(
        "this run would have marked {gone} of the tenant's {live} conversations deleted, which the source no longer shows: \
         this chunk marks none; look at what the source's login may see, or if they are really gone ask again with \
         `--allow-mass-delete` (tenant {tenant})"
    )]
    MassDelete { tenant: TenantId, gone: i64, live: i64 },
    /// What was about to be written may be older than what another chunk found and had no reason to write.
    #[error("another chunk has read conversations of this one later, and is done")]
    Overtaken,
}

fn target(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> LoadError {
    move |source| LoadError::Target { attempted, source }
}

/// Which chunk is loaded, under which claim.
#[derive(Debug, Clone, Copy)]
pub struct LoadOf<'a> {
    pub chunk: ChunkId,
    pub attempt: i32,
    /// Version of the mapping that the chunk was read under.
    pub mapping_version: i64,
    /// Every row is written anew, whatever the target has: somebody else may have changed it.
    pub repairs: bool,
    /// The inboxes of that mapping.
    pub inboxes: &'a [i32],
    /// The request says that many conversations may be gone.
    pub allows_mass_delete: bool,
    /// What this source cannot have given, for a repair: it is taken for older than any read.
    pub impossible: &'a Impossible,
}

/// Conversations whose rows a merge wrote.
#[derive(Debug, Default)]
struct Merged {
    inserted: Vec<i64>,
    updated: Vec<i64>,
}

impl Merged {
    fn add(&mut self, other: Self) {
        self.inserted.extend(other.inserted);
        self.updated.extend(other.updated);
    }
}

/// A transaction of the target in which one tenant's rows are staged.
#[derive(Debug)]
pub struct Staging {
    guarded: Guarded,
    tenant: TenantId,
    is_behind_pooler: bool,
    /// Whether this transaction has its staging table.
    has_table: bool,
}

impl Staging {
    /// Begins the transaction, for this tenant's rows only, with an empty staging table as soon as one is needed.
    ///
    /// # Errors
    /// When the target does not answer.
    pub async fn begin(pool: &DbPool, tenant: TenantId) -> Result<Self, LoadError> {
        let mut guarded = Guarded::acquire(pool).await.map_err(LoadError::Unreachable)?;
        let connection = guarded.connection();
        pool.begin_on(connection).await.map_err(LoadError::Unreachable)?;
        let (pid, since, _): (i32, DateTime<Utc>, String) = sqlx::query_as(
            "SELECT pg_backend_pid(), now(), set_config('app.current_tenant_id', $1::integer::text, true)",
        )
        .bind(Stored(tenant))
        .fetch_one(connection)
        .await
        .map_err(target("begin the load"))?;
        guarded.serve_by(Served { pid, since });
        Ok(Self {
            guarded,
            tenant,
            is_behind_pooler: pool.is_behind_pooler(),
            has_table: false,
        })
    }

    /// The transaction's connection, with a staging table: an empty chunk needs none, and emptying it costs every commit.
    ///
    /// # Errors
    /// When the target does not answer.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, LoadError> {
        let connection = self.guarded.connection();
        if !self.has_table {
            let attempted = "make the staging table";
            let staging = if self.is_behind_pooler {
                prefer_lz4(connection, true).await.map_err(target(attempted))?;
                &MAKE_STAGING
            } else {
                &KEEP_STAGING
            };
            raw_sql(AssertSqlSafe(staging.as_str()))
                .execute(&mut *connection)
                .await
                .map_err(target(attempted))?;
            self.has_table = true;
        }
        Ok(connection)
    }

    /// Copies buffers into staging, as they come, until the extraction ends; rows that staging refuses are rejected.
    /// Returns how many rows it took.
    ///
    /// # Errors
    /// When the target does not answer, or refuses too many rows.
    pub async fn stage(
        &mut self,
        mut buffers: mpsc::Receiver<CopyEncoder>,
        rejects: &Rejects,
    ) -> Result<i64, LoadError> {
        let mut rows = 0;
        while let Some(first) = buffers.recv().await {
            rows += bisect::copy_on(self.connection().await?, first, &mut buffers, rejects).await?;
        }
        Ok(count(rows))
    }

    /// Lays the one conversation that is staged beside the tenant's row: whether there is one on either side, the values of
    /// both, and which differ.
    ///
    /// # Errors
    /// When the target does not answer.
    pub async fn beside(
        &mut self,
        statement: &'static str,
        conversation: i64,
    ) -> Result<(bool, bool, Vec<Value>, Vec<Value>, Vec<bool>), LoadError> {
        let (staged, stored, there, here, differs): (_, _, JsonText<Vec<Value>>, JsonText<Vec<Value>>, _) =
            sqlx::query_as(statement)
                .bind(Stored(self.tenant))
                .bind(conversation)
                .fetch_one(self.connection().await?)
                .await
                .map_err(target("lay the conversation beside its row"))?;
        Ok((staged, stored, there.0, here.0, differs))
    }

    /// Ends the transaction and gives its connection back; staging is empty again.
    ///
    /// # Errors
    /// When the target does not answer; nothing is written then.
    pub async fn end(mut self) -> Result<(), LoadError> {
        sqlx::query("COMMIT")
            .execute(self.guarded.connection())
            .await
            .map_err(target("commit the load"))?;
        self.guarded.release();
        Ok(())
    }

    /// Merges staging into the target, marks what is gone, completes the chunk and commits; rows that the target
    /// refuses join the rejects.
    ///
    /// # Errors
    /// When the target refuses too many rows or does not answer, the lease was lost, the inboxes were mapped anew, or
    /// another chunk has read the same later; nothing is written then.
    pub async fn finish(
        mut self,
        of: LoadOf<'_>,
        spec: &ChunkSpec,
        extracted: &Extracted,
        rejects: &Rejects,
        version: &SourceVersion,
        privacy: &Privacy,
    ) -> Result<ChunkCounts, LoadError> {
        let connection = self.guarded.connection();
        bisect::hurry(connection).await?;
        ledger::impossible::disown_rows(connection, self.tenant, of.impossible).await?;
        let merged = if self.has_table {
            bisect::merge(connection, of, version, rejects).await?
        } else {
            Merged::default()
        };
        // from here on the tenant's loads go one after the other: see "Reads that overlap" in docs/design/overlap.md
        if ledger::inbox::lock_version(&mut *connection, self.tenant).await? != of.mapping_version {
            return Err(LoadError::Remapped);
        }
        ledger::impossible::disown_chunks(connection, of.impossible).await?;
        let withheld = if privacy.forgets() {
            ledger::privacy::withhold(connection, self.tenant, spec, &extracted.withheld, version).await?
        } else {
            ledger::privacy::WithheldRows::default()
        };
        let marked = tombstone(connection, self.tenant, of, spec, extracted, version).await?;
        let is_mapped = |inbox: &Option<i32>| inbox.is_some_and(|inbox| of.inboxes.contains(&inbox));
        // rows of another source say nothing of what this one shows
        let guarded = marked
            .iter()
            .filter(|(id, inbox)| is_mapped(inbox) && !of.impossible.has_row(*id))
            .count();
        guard::refuse_mass_delete(connection, self.tenant, of, count(guarded)).await?;
        let deleted: Vec<i64> = marked.into_iter().map(|(id, _)| id).collect();
        ledger::privacy::strip(connection, self.tenant, privacy.policy(), Some(&deleted)).await?;
        let rejects = rejects.take();
        let resolved = ledger::reject::record(connection, self.tenant, of.chunk, spec, &rejects).await?;
        let rejected_ids: Vec<i64> = rejects.iter().map(|reject| reject.conversation_id).collect();
        ledger::privacy::strip_rejected(connection, self.tenant, privacy.policy(), &rejected_ids).await?;
        let written = [
            &merged.inserted,
            &merged.updated,
            &deleted,
            &resolved,
            &withheld.removed,
            &withheld.changed,
        ];
        refuse_overtaken(connection, self.tenant, of, version, written).await?;

        ledger::sender::record(&mut *connection, self.tenant, extracted.senders.iter()).await?;
        let (inserted, updated) = (count(merged.inserted.len()), count(merged.updated.len()));
        let deleted = count(deleted.len() + withheld.removed.len());
        let (found, rejected) = (count(extracted.found.len()), count(rejects.len()));
        let loaded = found - rejected;
        let stale = if inserted + updated == loaded {
            0
        } else {
            count_stale(connection).await?
        };
        let counts = ChunkCounts {
            extracted: found,
            inserted,
            updated,
            unchanged: loaded - inserted - updated - stale,
            stale,
            deleted,
            rejected,
            // for the target there is nothing of what is withheld
            gone: count(extracted.withheld.len())
                + match spec {
                    ChunkSpec::Keys { .. } => count(extracted.gone.len()),
                    ChunkSpec::KeyRange { .. } => deleted,
                },
        };
        if !ledger::chunk::complete(connection, of.chunk, of.attempt, &counts, Some(version)).await? {
            return Err(LoadError::LeaseLost);
        }
        self.end().await?;
        Ok(counts)
    }
}

async fn copy(
    connection: &mut PgConnection,
    buffer: &CopyEncoder,
    rows: Range<usize>,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(COPY.as_str()).await?;
    for part in [encode::HEADER, buffer.rows(rows), encode::TRAILER] {
        copy.send(part).await?;
    }
    copy.finish().await.map(drop)
}

/// One COPY of the buffer `kept` and of those that follow it soon, until together they have `KEPT_BYTES`; they join the
/// first one in `kept`. The target works on each as it comes.
async fn copy_on(
    connection: &mut PgConnection,
    kept: &mut Vec<CopyEncoder>,
    buffers: &mut mpsc::Receiver<CopyEncoder>,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(COPY.as_str()).await?;
    copy.send(encode::HEADER).await?;
    let mut bytes = 0;
    for buffer in &*kept {
        copy.send(buffer.rows(0..buffer.row_count())).await?;
        bytes += buffer.byte_count();
    }
    while bytes < KEPT_BYTES
        && let Ok(Some(buffer)) = timeout(KEEP_COPYING, buffers.recv()).await
    {
        copy.send(buffer.rows(0..buffer.row_count())).await?;
        bytes += buffer.byte_count();
        kept.push(buffer);
    }
    copy.send(encode::TRAILER).await?;
    copy.finish().await.map(drop)
}

async fn merge(
    connection: &mut PgConnection,
    of: LoadOf<'_>,
    version: &SourceVersion,
    conversations: RangeInclusive<i64>,
) -> Result<Merged, sqlx::Error> {
    let merge = Statements::of(connection).merge.as_str();
    let written: Vec<(i64, bool)> = sqlx::query_as(AssertSqlSafe(merge))
        .bind(Stored(of.chunk.run_id))
        .bind(version.snapshot.clock)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(conversations.start())
        .bind(conversations.end())
        .bind(of.repairs)
        .fetch_all(connection)
        .await?;
    let mut merged = Merged::default();
    for (id, is_new) in written {
        if is_new {
            merged.inserted.push(id);
        } else {
            merged.updated.push(id);
        }
    }
    Ok(merged)
}

async fn count_stale(connection: &mut PgConnection) -> Result<i64, LoadError> {
    sqlx::query_scalar(COUNT_STALE)
        .fetch_one(connection)
        .await
        .map_err(target("count stale rows"))
}

/// Marks what is gone; returns what it marked, each with its inbox.
async fn tombstone(
    connection: &mut PgConnection,
    tenant: TenantId,
    of: LoadOf<'_>,
    spec: &ChunkSpec,
    extracted: &Extracted,
    version: &SourceVersion,
) -> Result<Vec<(i64, Option<i32>)>, LoadError> {
    let gone = match spec {
        ChunkSpec::Keys { .. } => Cow::Borrowed(&extracted.gone),
        ChunkSpec::KeyRange { lo, hi } => {
            let mut live: Vec<i64> = sqlx::query_scalar(LIVE_IN_RANGE)
                .bind(Stored(tenant))
                .bind(lo)
                .bind(hi)
                .fetch_all(&mut *connection)
                .await
                .map_err(target("look for deleted rows"))?;
            live.retain(|id| extracted.found.binary_search(id).is_err());
            Cow::Owned(live)
        }
    };
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let statement = Statements::of(connection).tombstone.as_str();
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(Stored(tenant))
        .bind(gone.as_ref())
        .bind(version.snapshot.clock)
        .bind(Stored(of.chunk.run_id))
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(of.repairs)
        .fetch_all(connection)
        .await
        .map_err(target("mark deleted rows"))
}

/// Refuses when a chunk that was read later, and is done, covers a conversation of which this one has written something.
async fn refuse_overtaken(
    connection: &mut PgConnection,
    tenant: TenantId,
    of: LoadOf<'_>,
    version: &SourceVersion,
    written: [&Vec<i64>; 6],
) -> Result<(), LoadError> {
    if written.iter().all(|ids| ids.is_empty()) {
        return Ok(());
    }
    let later = ledger::chunk::read_later(connection, tenant, of.chunk.run_id, version).await?;
    let overtaken = written
        .into_iter()
        .flatten()
        .any(|id| later.iter().any(|spec| spec.covers(*id)));
    if overtaken {
        Err(LoadError::Overtaken)
    } else {
        Ok(())
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).expect("a chunk's length fits in 63 bits")
}
