//! Connections to the ledger and target, of a process's own or through a pooler that lends one for a transaction.

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream};
use sqlx::postgres::{PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransaction, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, raw_sql};

use super::connect::begin_session;
use super::temporary_last;

/// What a session of our own has for good, a transaction of a lent one has for its length: the role that row-level
/// security binds, and the settings of [`super::connect`]. Statements of whoever had the server's process before would be
/// in the way of ours, which have the same names.
///
/// The `search_path` is that of the role or the database, with the schema of temporary tables last: a table that somebody
/// has made in a lent session must not stand in for one of ours.
pub(super) const SETTINGS: &str = concat!(
    "DEALLOCATE ALL; SET LOCAL ROLE etl_service; SET LOCAL search_path = DEFAULT; SELECT ",
    temporary_last!(true),
    "; SET LOCAL TimeZone = 'UTC'; SET LOCAL client_min_messages = 'warning'; SET LOCAL lock_timeout = '30s'; \
     SET LOCAL idle_in_transaction_session_timeout = '15min'; SET LOCAL jit = 'off'"
);

/// The ledger's transitions wait for each other's locks and then look again: a role or a database may have another default.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The pool for ledger and target. Statements on it are each a transaction of their own, as on a [`PgPool`].
///
/// Behind a pooler the two halves of a statement, to prepare and to execute it, are two transactions to the pooler and
/// may reach two servers' processes; so each statement is put between BEGIN and COMMIT there, and everything that a
/// session would keep is said anew in each transaction.
#[derive(Debug, Clone)]
pub struct DbPool {
    pool: PgPool,
    behind_pooler: bool,
}

impl DbPool {
    /// Sessions are ours: role and settings are theirs from the start.
    #[must_use]
    pub const fn direct(pool: PgPool) -> Self {
        Self {
            pool,
            behind_pooler: false,
        }
    }

    /// A pooler lends a session for a transaction. The pool must not cache statements.
    #[must_use]
    pub const fn behind_pooler(pool: PgPool) -> Self {
        Self {
            pool,
            behind_pooler: true,
        }
    }

    /// Another pool to the same database, of so many connections.
    #[must_use]
    pub fn apart(&self, max_connections: u32) -> Self {
        self.with(self.pool.options().clone().max_connections(max_connections))
    }

    /// The same for rows that are stored: compressed by lz4, where the server can and a session can be told so.
    #[must_use]
    pub fn for_loads(&self, max_connections: u32) -> Self {
        let mut options = self.pool.options().clone().max_connections(max_connections);
        if !self.behind_pooler {
            options = options.after_connect(|connection, _| begin_session(connection, true).boxed());
        }
        self.with(options)
    }

    fn with(&self, options: PgPoolOptions) -> Self {
        Self {
            pool: options.connect_lazy_with(self.pool.connect_options().as_ref().clone()),
            behind_pooler: self.behind_pooler,
        }
    }

    /// Whether what a session is told holds only until the transaction ends.
    #[must_use]
    pub const fn is_behind_pooler(&self) -> bool {
        self.behind_pooler
    }

    /// For its numbers and its address. Statements do not go this way.
    #[must_use]
    pub const fn connections(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection can be had, or the login may not act as `etl_service`.
    pub async fn begin(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        self.begin_with(BEGIN).await
    }

    /// Begins a transaction by this statement.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_with(&self, statement: &'static str) -> Result<PgTransaction<'static>, sqlx::Error> {
        let mut tx = self.pool.begin_with(statement).await?;
        self.tell(&mut tx).await?;
        Ok(tx)
    }

    /// Begins a transaction on a connection of this pool.
    ///
    /// # Errors
    /// As [`Self::begin`]. The connection is not to be used any more then.
    pub async fn begin_on(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        raw_sql(BEGIN).execute(&mut *connection).await?;
        self.tell(connection).await
    }

    async fn tell(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.behind_pooler {
            raw_sql(SETTINGS).execute(connection).await?;
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
        if !self.behind_pooler {
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
        if !self.behind_pooler {
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
