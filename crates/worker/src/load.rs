//! Load: rows into staging, staging into the target, the chunk done, all in one transaction of the target database.

mod bisect;
pub mod columns;
pub mod encode;
pub mod legacy;
pub mod value;

use std::ops::{Range, RangeInclusive};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, raw_sql};
use tidemark_shared::chunk::{ChunkCounts, ChunkSpec};
use tidemark_shared::db::DbPool;
use tidemark_shared::db::connect::prefer_lz4;
use tidemark_shared::db::guarded::{Guarded, Served};
use tidemark_shared::db::{self, DbError};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::{ChunkId, TenantId};
use tokio::sync::mpsc;

use self::encode::CopyEncoder;
use crate::extract::Extracted;
use crate::rejects::{Rejects, TooManyRejects};

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
static MERGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("load/merge.sql")
        .replace("{columns}", &columns::staging_columns())
        .replace("{updates}", &columns::update_list())
});
/// Rows that staging and target still do not agree on after the merge are those that the target has from a newer read.
const COUNT_STALE: &str = "SELECT count(*) FROM pg_temp.tidemark_staging s \
     JOIN conversations_analytics t USING (tenant_id, conversation_id) \
     WHERE t.row_hash <> s.row_hash OR t.source_digest <> s.source_digest OR t.source_deleted_at IS NOT NULL";
const TOMBSTONE_KEYS: &str = "UPDATE conversations_analytics t \
     SET source_deleted_at = $3, etl_run_id = $4, etl_updated_at = now(), source_extracted_at = $3, \
         source_epoch = $5, source_xmax = $6, source_in_progress = $7 \
     WHERE t.tenant_id = $1 AND t.conversation_id = ANY($2) AND t.source_deleted_at IS NULL \
       AND ($5, $6, -$7, $3) >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
     RETURNING t.conversation_id";
const TOMBSTONE_RANGE: &str = "UPDATE conversations_analytics t \
     SET source_deleted_at = $3, etl_run_id = $4, etl_updated_at = now(), source_extracted_at = $3, \
         source_epoch = $5, source_xmax = $6, source_in_progress = $7 \
     WHERE t.tenant_id = $1 AND t.conversation_id BETWEEN $8 AND $9 AND t.source_deleted_at IS NULL \
       AND NOT EXISTS (SELECT FROM unnest($2::bigint[]) AS found (id) WHERE found.id = t.conversation_id) \
       AND ($5, $6, -$7, $3) >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
     RETURNING t.conversation_id";

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
    /// The tenant's inboxes changed since the chunk was read.
    #[error("the tenant's inboxes were mapped anew while the chunk was read")]
    Remapped,
    /// What was about to be written may be older than what another chunk found and had no reason to write.
    #[error("another chunk has read conversations of this one later, and is done")]
    Overtaken,
}

fn target(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> LoadError {
    move |source| LoadError::Target { attempted, source }
}

/// Which chunk is loaded, under which claim.
#[derive(Debug, Clone, Copy)]
pub struct LoadOf {
    pub chunk: ChunkId,
    pub attempt: i32,
    /// Version of the mapping that the chunk was read under.
    pub mapping_version: i64,
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
}

impl Staging {
    /// Begins the transaction, for this tenant's rows only, with an empty staging table.
    ///
    /// # Errors
    /// When the target does not answer.
    pub async fn begin(pool: &DbPool, tenant: TenantId) -> Result<Self, LoadError> {
        let mut guarded = Guarded::acquire(pool).await.map_err(LoadError::Unreachable)?;
        let connection = guarded.connection();
        pool.begin_on(connection).await.map_err(LoadError::Unreachable)?;
        let served = Self::enter(pool, connection, tenant)
            .await
            .map_err(target("begin the load"))?;
        guarded.serve_by(served);
        Ok(Self { guarded, tenant })
    }

    async fn enter(
        pool: &DbPool,
        connection: &mut PgConnection,
        tenant: TenantId,
    ) -> Result<Served, sqlx::Error> {
        let (pid, since, _): (i32, DateTime<Utc>, String) = sqlx::query_as(
            "SELECT pg_backend_pid(), now(), set_config('app.current_tenant_id', $1::integer::text, true)",
        )
        .bind(tenant)
        .fetch_one(&mut *connection)
        .await?;
        let staging = if pool.is_behind_pooler() {
            prefer_lz4(connection, true).await?;
            &MAKE_STAGING
        } else {
            &KEEP_STAGING
        };
        raw_sql(AssertSqlSafe(staging.as_str()))
            .execute(connection)
            .await?;
        Ok(Served { pid, since })
    }

    /// Copies buffers into staging until the extraction ends; rows that staging refuses are rejected. Returns how many
    /// rows it took.
    ///
    /// # Errors
    /// When the target does not answer, or refuses too many rows.
    pub async fn stage(
        &mut self,
        mut buffers: mpsc::Receiver<CopyEncoder>,
        rejects: &Rejects,
    ) -> Result<i64, LoadError> {
        let mut rows = 0;
        while let Some(buffer) = buffers.recv().await {
            rows += bisect::copy(self.guarded.connection(), &buffer, rejects).await?;
        }
        Ok(count(rows))
    }

    /// Runs verification's statement over staging and the tenant's rows in `lo..=hi`.
    ///
    /// # Errors
    /// When the target does not answer.
    pub async fn compare(
        &mut self,
        statement: &'static str,
        lo: i64,
        hi: i64,
    ) -> Result<(i64, i64, i64, i64, i64), LoadError> {
        sqlx::query_as(statement)
            .bind(self.tenant)
            .bind(lo)
            .bind(hi)
            .fetch_one(self.guarded.connection())
            .await
            .map_err(target("compare staging with the target"))
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
        of: LoadOf,
        spec: &ChunkSpec,
        extracted: &Extracted,
        rejects: Rejects,
        version: &SourceVersion,
    ) -> Result<ChunkCounts, LoadError> {
        let connection = self.guarded.connection();
        let merged = bisect::merge(connection, of, version, &rejects).await?;
        // from here on the tenant's loads go one after the other: see "Reads that overlap" in docs/ARCHITECTURE.md
        if db::inbox::lock_version(&mut *connection, self.tenant).await? != of.mapping_version {
            return Err(LoadError::Remapped);
        }
        let deleted = tombstone(connection, self.tenant, of, spec, extracted, version).await?;
        let rejects = rejects.into_list();
        let resolved = db::reject::record(connection, self.tenant, of.chunk, spec, &rejects).await?;
        let written = [&merged.inserted, &merged.updated, &deleted, &resolved];
        refuse_overtaken(connection, self.tenant, of, version, written).await?;

        let (inserted, updated) = (count(merged.inserted.len()), count(merged.updated.len()));
        let deleted = count(deleted.len());
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
            gone: match spec {
                ChunkSpec::Keys { .. } => count(extracted.gone.len()),
                ChunkSpec::KeyRange { .. } => deleted,
            },
        };
        if !db::chunk::complete(connection, of.chunk, of.attempt, &counts, version).await? {
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
    for part in buffer.copy(rows) {
        copy.send(part).await?;
    }
    copy.finish().await.map(drop)
}

async fn merge(
    connection: &mut PgConnection,
    of: LoadOf,
    version: &SourceVersion,
    conversations: RangeInclusive<i64>,
) -> Result<Merged, sqlx::Error> {
    let written: Vec<(i64, bool)> = sqlx::query_as(AssertSqlSafe(MERGE.as_str()))
        .bind(of.chunk.run_id)
        .bind(version.snapshot.clock)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress)
        .bind(conversations.start())
        .bind(conversations.end())
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

/// Marks what is gone; returns what it marked.
async fn tombstone(
    connection: &mut PgConnection,
    tenant: TenantId,
    of: LoadOf,
    spec: &ChunkSpec,
    extracted: &Extracted,
    version: &SourceVersion,
) -> Result<Vec<i64>, LoadError> {
    let (statement, ids, range) = match spec {
        ChunkSpec::Keys { .. } if extracted.gone.is_empty() => return Ok(Vec::new()),
        ChunkSpec::Keys { .. } => (TOMBSTONE_KEYS, &extracted.gone, None),
        ChunkSpec::KeyRange { lo, hi } => (TOMBSTONE_RANGE, &extracted.found, Some((*lo, *hi))),
    };
    let mut query = sqlx::query_scalar(statement)
        .bind(tenant)
        .bind(ids)
        .bind(version.snapshot.clock)
        .bind(of.chunk.run_id)
        .bind(version.epoch)
        .bind(version.snapshot.xmax)
        .bind(version.snapshot.in_progress);
    if let Some((lo, hi)) = range {
        query = query.bind(lo).bind(hi);
    }
    query
        .fetch_all(connection)
        .await
        .map_err(target("mark deleted rows"))
}

/// Refuses when a chunk that was read later, and is done, covers a conversation of which this one has written something.
async fn refuse_overtaken(
    connection: &mut PgConnection,
    tenant: TenantId,
    of: LoadOf,
    version: &SourceVersion,
    written: [&Vec<i64>; 4],
) -> Result<(), LoadError> {
    if written.iter().all(|ids| ids.is_empty()) {
        return Ok(());
    }
    let later = db::chunk::read_later(connection, tenant, of.chunk.run_id, version).await?;
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
