//! The planner's statistics of the target. A tenant's first full run adds rows that the statistics do not know, and
//! until autovacuum comes by, the next plans work with wrong numbers.

use sqlx::{AssertSqlSafe, FromRow};
use tidemark_postgres::DbPool;
use tidemark_postgres::sqlstate::sqlstate;

use crate::{Attempt, DbResult, statements};

statements! {
    FIND_ANALYSIS = include_str!("find_analysis.sql");
}

// the owner's rights belong to the login; a pooler's session takes the role again for the next transaction
const ACT_AS_LOGIN: &str = "SET LOCAL ROLE NONE";
/// `lock_not_available`
const LOCKED: &str = "55P03";

/// What became of the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analysis {
    /// They know the tenants that were loaded.
    NotNeeded,
    Done,
    /// Somebody else analyzes or vacuums the table: see again later.
    Busy,
    /// Neither the role nor the login may run ANALYZE. `doctor` names the statement.
    NotAllowed,
}

#[derive(Debug, FromRow)]
struct Wanted {
    /// With its schema, quoted: the login may have another `search_path` than the role.
    name: String,
    /// Without those of long texts, quoted.
    columns: String,
    by_role: bool,
    by_login: bool,
}

/// Runs ANALYZE on the target when a tenant's first full run needs it and nobody else does it. A transaction of its own:
/// loads and reads go on beside it.
pub async fn analyze_after_first_run(db: &DbPool) -> DbResult<Analysis> {
    let find = || sqlx::query_as::<_, Wanted>(FIND_ANALYSIS);
    // without the lock first: an idle check must not keep autovacuum away
    let Some(wanted) = find()
        .fetch_optional(db)
        .await
        .attempt("check the statistics of the target")?
    else {
        return Ok(Analysis::NotNeeded);
    };
    if !(wanted.by_role || wanted.by_login) {
        return Ok(Analysis::NotAllowed);
    }
    let mut tx = db.begin().await.attempt("begin a transaction")?;
    if !wanted.by_role {
        sqlx::raw_sql(ACT_AS_LOGIN)
            .execute(&mut *tx)
            .await
            .attempt("act as the login")?;
    }
    // the lock that ANALYZE takes: it excludes ANALYZE and VACUUM, and no read or write
    let lock = format!("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT", wanted.name);
    match sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *tx).await {
        Ok(_) => {}
        Err(error) if sqlstate(&error).as_deref() == Some(LOCKED) => return Ok(Analysis::Busy),
        Err(error) => return Err(error).attempt("lock the target against other ANALYZEs"),
    }
    // another process may have done it meanwhile; the role may have rights on the ledger that the login lacks
    let still: Option<Wanted> = find()
        .fetch_optional(db)
        .await
        .attempt("check the statistics of the target")?;
    let Some(Wanted { name, columns, .. }) = still else {
        return Ok(Analysis::NotNeeded);
    };
    let analyze = format!("ANALYZE {name} ({columns})");
    let done = sqlx::raw_sql(AssertSqlSafe(analyze)).execute(&mut *tx).await;
    done.attempt("analyze the target")?;
    tx.commit().await.attempt("analyze the target")?;
    Ok(Analysis::Done)
}
