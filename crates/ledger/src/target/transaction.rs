//! Transactions in which row-level security shows one tenant's rows.

use sqlx::postgres::PgTransaction;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;

use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

statements! {
    LOCK_FOR_READING = "LOCK TABLE conversations_analytics, etl_withheld_conversation IN ACCESS SHARE MODE";
    SET_TENANT = "SELECT set_config('app.current_tenant_id', $1::integer::text, true)";
}

/// Begins a transaction on one snapshot, in which row-level security shows only this tenant's rows.
pub async fn begin(db: &DbPool, tenant: TenantId) -> DbResult<PgTransaction<'static>> {
    let mut tx = db
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .attempt("begin a transaction")?;
    // before the snapshot is taken: a table that is rewritten later looks empty to an older snapshot
    sqlx::raw_sql(LOCK_FOR_READING)
        .execute(&mut *tx)
        .await
        .attempt("lock the table conversations_analytics for reading")?;
    set_tenant(&mut tx, tenant).await?;
    Ok(tx)
}

/// Makes row-level security show, and let the transaction write, only this tenant's rows from here on.
pub async fn set_tenant(tx: &mut PgTransaction<'_>, tenant: TenantId) -> DbResult<()> {
    sqlx::query(SET_TENANT)
        .bind(Stored(tenant))
        .execute(&mut **tx)
        .await
        .map(drop)
        .attempt("set the tenant of the transaction")
}

/// Begins a transaction in which row-level security shows, and lets it write, only this tenant's rows.
pub(crate) async fn begin_write(db: &DbPool, tenant: TenantId) -> DbResult<PgTransaction<'static>> {
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    set_tenant(&mut tx, tenant).await?;
    Ok(tx)
}
