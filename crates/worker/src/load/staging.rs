//! The transaction in which a chunk is loaded, and its staging table.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, raw_sql};
use tidemark_ledger::stored::Stored;
use tidemark_postgres::DbPool;
use tidemark_postgres::connect::prefer_lz4;
use tidemark_postgres::guarded::{Backend, Guarded};
use tidemark_shared::chunk::ChunkSpec;
use tidemark_shared::ids::TenantId;
use tokio::sync::mpsc;

use super::copy::stage_buffers;
use super::error::{LoadError, target};
use super::known::KnownRows;
use crate::rejects::Rejects;
use crate::row::columns;
use crate::row::encode::CopyEncoder;

// A page holds most rows uncompressed: what the target stores compressed is then compressed once, by the merge.
/// One staging table per session. Every commit and rollback empties it.
static CREATE_SESSION_STAGING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS tidemark_staging ({}) WITH (toast_tuple_target = 8160) ON COMMIT DELETE ROWS",
        columns::staging_definition()
    )
});
/// One staging table per transaction, behind a pooler: sessions are shared there, and another build's staging table may
/// have other columns.
static CREATE_TRANSACTION_STAGING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DROP TABLE IF EXISTS pg_temp.tidemark_staging; CREATE TEMPORARY TABLE tidemark_staging ({}) \
         WITH (toast_tuple_target = 8160) ON COMMIT DROP",
        columns::staging_definition()
    )
});

/// A transaction of the target database in which one tenant's rows are staged.
#[derive(Debug)]
pub struct Staging {
    pub(super) guarded: Guarded,
    pub(super) tenant: TenantId,
    is_behind_pooler: bool,
    /// Whether this transaction has created its staging table.
    pub(super) has_table: bool,
    pub(super) known: KnownRows,
}

impl Staging {
    /// Begins the transaction, restricted to this tenant's rows.
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
        guarded.set_backend(Backend { pid, since });
        Ok(Self {
            guarded,
            tenant,
            is_behind_pooler: pool.is_behind_pooler(),
            has_table: false,
            known: KnownRows::default(),
        })
    }

    /// Looks up what the target has of the chunk. Rows that it has as they are will not be staged.
    pub async fn look_up(&mut self, spec: &ChunkSpec) -> Result<(), LoadError> {
        self.known = KnownRows::look_up(self.guarded.connection(), self.tenant, spec).await?;
        Ok(())
    }

    /// The transaction's connection, with an empty staging table.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, LoadError> {
        self.create_table().await?;
        Ok(self.guarded.connection())
    }

    /// Creates the staging table on first use: an empty chunk needs none, and emptying it makes the commit slower.
    async fn create_table(&mut self) -> Result<(), LoadError> {
        let connection = self.guarded.connection();
        if !self.has_table {
            let attempted = "create the staging table";
            let staging = if self.is_behind_pooler {
                prefer_lz4(connection, true).await.map_err(target(attempted))?;
                &CREATE_TRANSACTION_STAGING
            } else {
                &CREATE_SESSION_STAGING
            };
            raw_sql(AssertSqlSafe(staging.as_str()))
                .execute(&mut *connection)
                .await
                .map_err(target(attempted))?;
            self.has_table = true;
        }
        Ok(())
    }

    /// Copies buffers into staging until the extraction ends. Rows that staging refuses become rejects. Returns the
    /// number of staged rows.
    pub async fn stage(
        &mut self,
        mut buffers: mpsc::Receiver<CopyEncoder>,
        rejects: &Rejects,
    ) -> Result<i64, LoadError> {
        let mut rows = 0;
        while let Some(mut first) = buffers.recv().await {
            self.known.leave_out(&mut first);
            if first.row_count() == 0 {
                continue;
            }
            self.create_table().await?;
            let (connection, known) = (self.guarded.connection(), &mut self.known);
            rows += stage_buffers(connection, first, &mut buffers, known, rejects).await?;
        }
        Ok(count(rows))
    }

    /// Commits, which also empties staging, and releases the connection.
    pub async fn commit(mut self) -> Result<(), LoadError> {
        sqlx::query("COMMIT")
            .execute(self.guarded.connection())
            .await
            .map_err(target("commit the load"))?;
        self.guarded.release();
        Ok(())
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).expect("a chunk's length fits in 63 bits")
}
