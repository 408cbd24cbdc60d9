//! Connections to the ledger and target: of the process, or lent by a pooler for a transaction.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransaction, PgTypeInfo};
use sqlx::{
    Connection, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, raw_sql,
};
use tokio::time::timeout;

use crate::sqlstate::control_failure_kind;

/// After waiting for a lock a statement must see the new rows. A role or database may have another default.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// For the question why a pool has no connection.
const EXPLAIN_WITHIN: Duration = Duration::from_secs(2);

/// A connection of this pool.
///
/// # Errors
/// With the server's reason when it has no connection left or is starting.
pub async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    match pool.acquire().await {
        Ok(connection) => Ok(connection),
        Err(error) => Err(explain(pool, error).await),
    }
}

/// The driver repeats a connection that the server refuses because it has none left or is starting, and then reports
/// only that its time has passed. Asks once more to learn the reason.
async fn explain(pool: &PgPool, error: sqlx::Error) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    let options = pool.connect_options();
    match timeout(EXPLAIN_WITHIN, PgConnection::connect_with(&options)).await {
        Ok(Err(reason)) if control_failure_kind(&reason).passes_by_itself() => reason,
        Ok(Ok(connection)) => {
            // the pool's own connections are all in use
            drop(connection.close().await);
            error
        }
        Ok(Err(_)) | Err(_) => error,
    }
}

/// The pool for ledger and target. Each statement on it is a transaction of its own, as on a [`PgPool`].
///
/// A pooler takes preparing and executing a statement for two transactions, and may send them to two server processes.
/// So behind a pooler each statement runs between BEGIN and COMMIT. Each transaction repeats the settings that a
/// session would keep.
#[derive(Debug, Clone)]
pub struct DbPool {
    pool: PgPool,
    /// Behind a pooler: the statements that give a transaction the settings of our own sessions.
    transaction_settings: Option<&'static str>,
}

impl DbPool {
    /// Without a pooler: sessions have role and settings from their start.
    #[must_use]
    pub const fn direct(pool: PgPool) -> Self {
        Self {
            pool,
            transaction_settings: None,
        }
    }

    /// A pooler lends a session for a transaction. The pool must not cache statements.
    #[must_use]
    pub const fn behind_pooler(pool: PgPool, settings: &'static str) -> Self {
        Self {
            pool,
            transaction_settings: Some(settings),
        }
    }

    /// Another pool to the same database, with so many connections.
    #[must_use]
    pub fn sized(&self, max_connections: u32) -> Self {
        self.with_options(self.pool.options().clone().max_connections(max_connections))
    }

    /// Another pool to the same database, with these options.
    #[must_use]
    pub fn with_options(&self, options: PgPoolOptions) -> Self {
        Self {
            pool: options.connect_lazy_with(self.pool.connect_options().as_ref().clone()),
            transaction_settings: self.transaction_settings,
        }
    }

    /// Whether settings of a session last only until the transaction ends.
    #[must_use]
    pub const fn is_behind_pooler(&self) -> bool {
        self.transaction_settings.is_some()
    }

    /// The connections themselves, for metrics and the address. Do not run statements on them.
    #[must_use]
    pub const fn connections(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection can be had, or its settings are refused.
    pub async fn begin(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        self.begin_with(BEGIN).await
    }

    /// Begins a transaction with this statement.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_with(&self, statement: &'static str) -> Result<PgTransaction<'static>, sqlx::Error> {
        let mut tx = match self.pool.begin_with(statement).await {
            Ok(tx) => tx,
            Err(error) => return Err(explain(&self.pool, error).await),
        };
        self.apply_settings(&mut tx).await?;
        Ok(tx)
    }

    /// Begins a transaction on a connection of this pool.
    ///
    /// # Errors
    /// As [`Self::begin`]. The connection must not be used after an error.
    pub async fn begin_on(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        raw_sql(BEGIN).execute(&mut *connection).await?;
        self.apply_settings(connection).await
    }

    async fn apply_settings(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if let Some(settings) = self.transaction_settings {
            raw_sql(settings).execute(connection).await?;
        }
        Ok(())
    }
}

impl<'p> Executor<'p> for &'_ DbPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        if !self.is_behind_pooler() {
            return (&self.pool)
                .fetch_many(query)
                .or_else(move |error| {
                    let pool = pool.pool.clone();
                    async move { Err(explain(&pool, error).await) }
                })
                .boxed();
        }
        async move {
            let mut tx = pool.begin().await?;
            // a caller that reads only the first rows expects the statement to be committed too
            let steps: Vec<_> = (&mut *tx).fetch_many(query).try_collect().await?;
            tx.commit().await?;
            Ok(stream::iter(steps.into_iter().map(Ok)))
        }
        .try_flatten_stream()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        if !self.is_behind_pooler() {
            return (&self.pool)
                .fetch_optional(query)
                .or_else(async move |error| Err(explain(&pool.pool, error).await))
                .boxed();
        }
        async move {
            let mut tx = pool.begin().await?;
            let row = (&mut *tx).fetch_optional(query).await?;
            tx.commit().await?;
            Ok(row)
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move {
            let mut tx = pool.begin().await?;
            (&mut *tx).prepare_with(sql, parameters).await
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move {
            let mut tx = pool.begin().await?;
            (&mut *tx).describe(sql).await
        }
        .boxed()
    }
}
