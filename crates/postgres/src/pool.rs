//! Connections to the ledger and target, of a process's own or through a pooler that lends one for a transaction.

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream};
use sqlx::postgres::{PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransaction, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, raw_sql};

/// Whoever waits for another's lock looks again after it. A role or a database may have another default.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The pool for ledger and target. Statements on it are each a transaction of their own, as on a [`PgPool`].
///
/// Behind a pooler the two halves of a statement, to prepare and to execute it, are two transactions to the pooler and
/// may reach two servers' processes; so each statement is put between BEGIN and COMMIT there, and everything that a
/// session would keep is said anew in each transaction.
#[derive(Debug, Clone)]
pub struct DbPool {
    pool: PgPool,
    /// Behind a pooler: the statements that begin a transaction with what a session of our own has from its start.
    transaction_settings: Option<&'static str>,
}

impl DbPool {
    /// Sessions are ours: role and settings are theirs from the start.
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

    /// Another pool to the same database, of so many connections.
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

    /// Whether what a session is told holds only until the transaction ends.
    #[must_use]
    pub const fn is_behind_pooler(&self) -> bool {
        self.transaction_settings.is_some()
    }

    /// For its numbers and its address. Statements do not go this way.
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

    /// Begins a transaction by this statement.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_with(&self, statement: &'static str) -> Result<PgTransaction<'static>, sqlx::Error> {
        let mut tx = self.pool.begin_with(statement).await?;
        self.apply_settings(&mut tx).await?;
        Ok(tx)
    }

    /// Begins a transaction on a connection of this pool.
    ///
    /// # Errors
    /// As [`Self::begin`]. The connection is not to be used any more then.
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
        if !self.is_behind_pooler() {
            return (&self.pool).fetch_many(query);
        }
        let pool = self.clone();
        async move {
            let mut tx = pool.begin().await?;
            // whoever reads only the first rows has the statement committed all the same
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
        if !self.is_behind_pooler() {
            return (&self.pool).fetch_optional(query);
        }
        let pool = self.clone();
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
