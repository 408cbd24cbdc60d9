//! What a tenant's page reads of the target. Its statements run as a member of `authenticated_users`, and row-level security
//! shows them one tenant's rows.

pub mod numbers;
pub mod rows;

use std::ops::DerefMut;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgTransaction;
use sqlx::{AssertSqlSafe, FromRow};
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tokio::time::timeout;

use crate::stored::Stored;
use crate::target::transaction::set_tenant;
use crate::{Attempt, DbResult, statements};

statements! {
    LOAD_STANDING = include_str!("tenant_page/load_standing.sql");
    FIND_POWER = include_str!("tenant_page/find_power.sql");
    EXPORT_SNAPSHOT = "SELECT pg_export_snapshot()";
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A table that is rewritten later would look empty to an older snapshot, so the lock comes first. Sorts of a year's rows fit
/// into this memory.
const LIMIT: &str = "SET LOCAL statement_timeout = '5s'; SET LOCAL work_mem = '32MB'; \
                     LOCK TABLE conversations_analytics IN ACCESS SHARE MODE";

/// How long a second session is waited for, so that pages that have one each never wait for each other.
const SECOND_WITHIN: Duration = Duration::from_millis(100);

/// One look of a tenant's page: one snapshot, read only, and this tenant's rows alone.
pub struct Look {
    tx: PgTransaction<'static>,
    tenant: TenantId,
    db: DbPool,
}

/// What the login of this pool may do beyond reading one tenant's rows; `None`: nothing.
pub async fn find_power(db: &DbPool) -> DbResult<Option<String>> {
    sqlx::query_scalar(FIND_POWER)
        .fetch_optional(db)
        .await
        .attempt("check the login for tenants' pages")
}

/// Whose page it is, and how fresh its rows are.
#[derive(Debug, Clone, FromRow)]
pub struct Standing {
    pub name: String,
    pub timezone: String,
    pub now: DateTime<Utc>,
    /// The day that it is at the tenant.
    pub today: NaiveDate,
    /// Everything before this instant is in the rows.
    pub watermark: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    /// When the newest run ended: the rows are the same until the next one.
    pub newest_run_at: Option<DateTime<Utc>>,
}

/// What of a tenant's conversations is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// First day, and last day, in the tenant's zone.
    pub first: NaiveDate,
    pub last: NaiveDate,
    pub inbox: Option<i32>,
    /// 0: without a team.
    pub team: Option<i64>,
    /// 0: nobody is assigned.
    pub agent: Option<i32>,
    pub channel: Option<String>,
}

impl Filter {
    /// The same days, and everything in them.
    #[must_use]
    pub const fn everything(first: NaiveDate, last: NaiveDate) -> Self {
        Self {
            first,
            last,
            inbox: None,
            team: None,
            agent: None,
            channel: None,
        }
    }
}

impl Look {
    /// `tenant` is the one of the session that asks.
    ///
    /// # Errors
    /// When the database cannot be reached, or the login may not read there.
    pub async fn begin(db: &DbPool, tenant: TenantId) -> DbResult<Self> {
        let tx = db
            .begin_with(BEGIN)
            .await
            .attempt("begin a look at the tenant's rows")?;
        Self::limited(tx, tenant, db).await
    }

    async fn limited(mut tx: PgTransaction<'static>, tenant: TenantId, db: &DbPool) -> DbResult<Self> {
        sqlx::raw_sql(LIMIT)
            .execute(&mut *tx)
            .await
            .attempt("limit the look at the tenant's rows")?;
        set_tenant(&mut tx, tenant).await?;
        let db = db.clone();
        Ok(Self { tx, tenant, db })
    }

    /// A second look at the same snapshot, for statements side by side. `None`: there is no session for it now, and they run one
    /// after the other. Where the reason is a fault of the database, the next of them reports it.
    pub async fn beside(&mut self) -> Option<Self> {
        // its transactions begin with a query, and a snapshot can be shared only before
        if self.db.is_behind_pooler() {
            return None;
        }
        timeout(SECOND_WITHIN, self.begin_beside()).await.ok()?.ok()
    }

    async fn begin_beside(&mut self) -> DbResult<Self> {
        let snapshot: String = sqlx::query_scalar(EXPORT_SNAPSHOT)
            .fetch_one(self.tx.deref_mut())
            .await
            .attempt("export the snapshot")?;
        let mut tx = self
            .db
            .begin_with(BEGIN)
            .await
            .attempt("begin a second look at the tenant's rows")?;
        // a parameter is not allowed there, and the server made this text of digits and hyphens
        sqlx::raw_sql(AssertSqlSafe(format!("SET TRANSACTION SNAPSHOT '{snapshot}'")))
            .execute(&mut *tx)
            .await
            .attempt("share the snapshot")?;
        Self::limited(tx, self.tenant, &self.db).await
    }

    /// `None` where there is no such tenant.
    pub async fn standing(&mut self) -> DbResult<Option<Standing>> {
        sqlx::query_as(LOAD_STANDING)
            .bind(Stored(self.tenant))
            .fetch_optional(self.tx.deref_mut())
            .await
            .attempt("load the tenant's name and freshness")
    }
}
