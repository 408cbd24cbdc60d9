//! `conversation_daily`: sums by day, inbox and agent. The days of changed conversations are computed again from the rows, so
//! no sum can drift from them. The feed of changes names the days.

use std::collections::BTreeSet;

use sqlx::PgExecutor;
use tidemark_postgres::DbPool;
use tidemark_postgres::day::Day;
use tidemark_shared::ids::TenantId;

use crate::stored::Stored;
use crate::target::begin_write;
use crate::{Attempt, DbResult, execute, statements};

statements! {
    LIST_DUE = include_str!("daily/list_due.sql");
    ENSURE = "INSERT INTO conversation_feed (tenant_id) VALUES ($1) ON CONFLICT (tenant_id) DO NOTHING";
    LOCK = "SELECT summarized_to FROM conversation_feed WHERE tenant_id = $1 FOR NO KEY UPDATE SKIP LOCKED";
    NEWEST = "SELECT greatest(f.pruned_to, (SELECT max(c.change_id) FROM conversation_change c WHERE c.tenant_id = $1)) \
              FROM conversation_feed f WHERE f.tenant_id = $1";
    LIST_DAYS = "SELECT DISTINCT conversation_date, previous_date FROM conversation_change \
                 WHERE tenant_id = $1 AND change_id > $2 AND change_id <= $3";
    CLEAR_ALL = "DELETE FROM conversation_daily WHERE tenant_id = $1";
    CLEAR_DAYS = "DELETE FROM conversation_daily WHERE tenant_id = $1 AND conversation_date = ANY($2)";
    SUM_ALL = concat!(include_str!("daily/sum.sql"), "GROUP BY 1, 2, 3, 4");
    SUM_DAYS = concat!(include_str!("daily/sum.sql"), "  AND conversation_date = ANY($2) GROUP BY 1, 2, 3, 4");
    REACHED = "UPDATE conversation_feed SET summarized_to = $2 WHERE tenant_id = $1";
}

/// Tenants whose sums lack changes.
pub async fn list_due(db: impl PgExecutor<'_>) -> DbResult<Vec<TenantId>> {
    let found: Vec<Stored<TenantId>> = sqlx::query_scalar(LIST_DUE)
        .fetch_all(db)
        .await
        .attempt("list tenants whose sums by day lack changes")?;
    Ok(found.into_iter().map(|Stored(tenant)| tenant).collect())
}

/// Computes a tenant's days again that have changed since the last time, or all when there was none. Changes that are committed
/// meanwhile are for the next time. `false`: another process is doing it.
pub async fn refresh(db: &DbPool, tenant: TenantId) -> DbResult<bool> {
    const REFRESH: &str = "compute the sums by day";
    let mut tx = begin_write(db, tenant).await?;
    execute(sqlx::query(ENSURE).bind(Stored(tenant)), &mut tx, REFRESH).await?;
    let locked: Option<Option<i64>> = sqlx::query_scalar(LOCK)
        .bind(Stored(tenant))
        .fetch_optional(&mut *tx)
        .await
        .attempt(REFRESH)?;
    let Some(summarized) = locked else {
        return Ok(false);
    };
    // before the rows are read: what is committed later has a higher number, and its days are computed once more
    let newest: i64 = sqlx::query_scalar(NEWEST)
        .bind(Stored(tenant))
        .fetch_one(&mut *tx)
        .await
        .attempt(REFRESH)?;
    if let Some(summarized) = summarized {
        let found: Vec<(Option<Day>, Option<Day>)> = sqlx::query_as(LIST_DAYS)
            .bind(Stored(tenant))
            .bind(summarized)
            .bind(newest)
            .fetch_all(&mut *tx)
            .await
            .attempt(REFRESH)?;
        let days: BTreeSet<Day> = found
            .into_iter()
            .flat_map(|(now, before)| [now, before])
            .flatten()
            .collect();
        let days: Vec<Day> = days.into_iter().collect();
        for statement in [CLEAR_DAYS, SUM_DAYS] {
            let of_days = sqlx::query(statement).bind(Stored(tenant)).bind(&days);
            execute(of_days, &mut tx, REFRESH).await?;
        }
    } else {
        for statement in [CLEAR_ALL, SUM_ALL] {
            execute(sqlx::query(statement).bind(Stored(tenant)), &mut tx, REFRESH).await?;
        }
    }
    let reached = sqlx::query(REACHED).bind(Stored(tenant)).bind(newest);
    execute(reached, &mut tx, REFRESH).await?;
    tx.commit().await.attempt(REFRESH)?;
    Ok(true)
}

/// [`refresh`] for every tenant that needs it. Returns for how many it was done.
pub async fn refresh_due(db: &DbPool) -> DbResult<usize> {
    let mut refreshed = 0;
    for tenant in list_due(db).await? {
        refreshed += usize::from(refresh(db, tenant).await?);
    }
    Ok(refreshed)
}
