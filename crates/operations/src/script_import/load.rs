//! Imports the script's rows as they are. They count as unverified, so anything that is read from the source replaces them.
//!
//! Their hash and digest are zero, and their version is older than any other.

use std::sync::LazyLock;

use super::{RowColumn, RowSelect, ScriptDatabase, ScriptError};
use futures::StreamExt;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgTransaction;
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_ledger::change::{Change, ChangeKind};
use tidemark_postgres::day::Day;
use tidemark_shared::ids::TenantId;

use tidemark_worker::row::columns::{COLUMNS, staging_definition};

/// The script's own times follow the content columns.
static CREATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "CREATE TEMPORARY TABLE tidemark_legacy ({}, inserted_at timestamptz, updated_at timestamptz) ON COMMIT DROP",
        staging_definition()
    )
});
static COPY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "COPY pg_temp.tidemark_legacy ({}, inserted_at, updated_at) FROM STDIN",
        content()
    )
});
static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO conversations_analytics ({0}, row_hash, source_digest, etl_run_id, etl_inserted_at, etl_updated_at, \
                                              source_extracted_at, source_epoch, source_xmax, source_in_progress) \
         SELECT {0}, decode(repeat('00', 16), 'hex'), 0, 0, coalesce(inserted_at, now()), coalesce(updated_at, now()), \
                coalesce(updated_at, inserted_at, 'epoch'), 0, 0, 0 \
         FROM pg_temp.tidemark_legacy ORDER BY conversation_id ON CONFLICT DO NOTHING RETURNING conversation_id, conversation_date",
        content()
    )
});

#[derive(Debug, thiserror::Error)]
pub enum RowImportError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Ledger(#[from] DbError),
    #[error("read a row of the old database")]
    Row(#[source] sqlx::Error),
    #[error("{attempted}")]
    Target {
        attempted: &'static str,
        #[source]
        source: sqlx::Error,
    },
}

fn target(attempted: &'static str) -> impl FnOnce(sqlx::Error) -> RowImportError {
    move |source| RowImportError::Target { attempted, source }
}

fn content() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    names.join(", ")
}

/// The target's columns; `not_null` names those that refuse NULL.
#[must_use]
pub fn row_columns(not_null: &[String]) -> Vec<RowColumn<'static>> {
    COLUMNS
        .iter()
        .map(|column| RowColumn {
            name: column.name,
            sql_type: column.sql_type,
            is_nullable: !not_null.iter().any(|name| name == column.name),
        })
        .collect()
}

/// Copies a tenant's rows of these inboxes into the target, in the caller's transaction; existing rows stay. Returns the
/// number of copied rows. Memory has their ids and one buffer of the connection.
pub async fn import_rows(
    tx: &mut PgTransaction<'_>,
    legacy: &mut ScriptDatabase,
    (old_tenant, tenant): (i32, TenantId),
    inboxes: &[i32],
    timezone: &'static str,
) -> Result<u64, RowImportError> {
    ledger::target::set_tenant(tx, tenant).await?;
    let not_null = ledger::target::not_null_columns(&mut **tx).await?;
    let columns = row_columns(&not_null);
    sqlx::query(AssertSqlSafe(CREATE.as_str()))
        .execute(&mut **tx)
        .await
        .map_err(target("create the staging table"))?;
    let select = RowSelect {
        columns: &columns,
        old_tenant,
        tenant: tenant.0,
        inboxes,
        timezone,
    };
    let mut rows = legacy.copy_rows(&select).await?;
    let mut copy = tx.copy_in_raw(&COPY).await.map_err(target("copy the rows"))?;
    while let Some(part) = rows.next().await {
        copy.send(part.map_err(RowImportError::Row)?)
            .await
            .map_err(target("copy the rows"))?;
    }
    copy.finish().await.map_err(target("copy the rows"))?;
    drop(rows);
    let inserted: Vec<(i64, Option<Day>)> = sqlx::query_as(AssertSqlSafe(INSERT.as_str()))
        .fetch_all(&mut **tx)
        .await
        .map_err(target("insert the rows"))?;
    let changes: Vec<Change> = inserted
        .into_iter()
        .map(|(id, date)| Change::whole(id, ChangeKind::Inserted, date))
        .collect();
    ledger::change::record(tx, tenant, &changes).await?;
    Ok(u64::try_from(changes.len()).expect("rows of a tenant fit in 64 bits"))
}
