//! Pools of connections: of the process, or lent by a pooler for a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransaction, PgTypeInfo};
use sqlx::{
    Connection, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, Transaction,
    raw_sql,
};
use tokio::time::timeout;

use crate::connector::{BeginSession, Connector};
use crate::returns::Returns;
use crate::sqlstate::control_failure_kind;

/// After waiting for a lock a statement must see the new rows. A role or database may have another default.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// For the question why a pool has no connection.
const EXPLAIN_WITHIN: Duration = Duration::from_secs(2);

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

/// A pool, for ledger and target or for a source. Each statement on it is a transaction of its own, as on a [`PgPool`].
///
/// A pooler takes preparing and executing a statement for two transactions, and may send them to two server processes.
/// So behind a pooler each statement runs between BEGIN and COMMIT. Each transaction repeats the settings that a
/// session would keep.
#[derive(Debug, Clone)]
pub struct DbPool {
    pool: PgPool,
    /// Finds the host and the password of new connections; `None`: they never change.
    connector: Option<Arc<Connector>>,
    begin: Option<BeginSession>,
    returns: Arc<Returns>,
    /// The state of the connector that the pool's options belong to.
    applied: Arc<AtomicU64>,
    /// Behind a pooler: the statements that give a transaction the settings of our own sessions.
    transaction_settings: Option<&'static str>,
}

impl DbPool {
    /// A pool of somebody else: its connections are opened as it says.
    #[must_use]
    pub fn direct(pool: PgPool) -> Self {
        Self {
            pool,
            connector: None,
            begin: None,
            returns: Arc::default(),
            applied: Arc::default(),
            transaction_settings: None,
        }
    }

    /// Without a pooler: sessions have role and settings from their start. Opens no connection yet.
    #[must_use]
    pub fn lazy(connector: Arc<Connector>, options: PgPoolOptions, begin: Option<BeginSession>) -> Self {
        Self::beginning(connector, options, begin, &Arc::new(AtomicBool::new(true)))
    }

    /// A pool whose sessions begin while `begins`.
    pub(crate) fn beginning(
        connector: Arc<Connector>,
        options: PgPoolOptions,
        begin: Option<BeginSession>,
        begins: &Arc<AtomicBool>,
    ) -> Self {
        let returns = Arc::default();
        let pool = connector.lazy_pool(options, begin, begins, &returns);
        Self {
            begin,
            returns,
            ..Self::direct(pool).with_connector(connector)
        }
    }

    /// A pooler lends a session for a transaction. The connector must not cache statements.
    #[must_use]
    pub fn behind_pooler(connector: Arc<Connector>, options: PgPoolOptions, settings: &'static str) -> Self {
        Self {
            transaction_settings: Some(settings),
            ..Self::lazy(connector, options, None)
        }
    }

    fn with_connector(self, connector: Arc<Connector>) -> Self {
        Self {
            connector: Some(connector),
            ..self
        }
    }

    /// Another pool to the same database, with so many connections.
    #[must_use]
    pub fn sized(&self, max_connections: u32) -> Self {
        self.sized_with(max_connections, self.begin)
    }

    /// Another pool to the same database, with so many connections whose sessions begin like this.
    #[must_use]
    pub fn sized_with(&self, max_connections: u32, begin: Option<BeginSession>) -> Self {
        let options = self.pool.options().clone().max_connections(max_connections);
        let other = match &self.connector {
            Some(connector) => Self::lazy(Arc::clone(connector), options, begin),
            None => Self::direct(options.connect_lazy_with(self.pool.connect_options().as_ref().clone())),
        };
        Self {
            transaction_settings: self.transaction_settings,
            ..other
        }
    }

    /// A connection to the host that the URL leads to now.
    ///
    /// # Errors
    /// When no connection can be had, with the server's reason when it has none left or is starting.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.returns.wait(&self.pool).await;
        let acquired = match &self.connector {
            Some(connector) => connector.acquire(&self.pool, &self.applied).await,
            None => self.pool.acquire().await,
        };
        match acquired {
            Ok(connection) => Ok(connection),
            Err(error) => Err(Box::pin(explain(&self.pool, error)).await),
        }
    }

    /// A connection that has not begun, as [`FirstSession`](crate::FirstSession) needs it.
    pub(crate) async fn acquire_first(
        &self,
        connector: &Connector,
    ) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        connector.acquire(&self.pool, &self.applied).await
    }

    /// How long the first statements of its first session took.
    pub(crate) fn began(&self, took: Duration) {
        self.returns.connected(took);
    }

    /// Ends when sessions are opened on another server or with another password than at this call. It may never end.
    #[must_use]
    pub fn changed(&self) -> BoxFuture<'static, ()> {
        match &self.connector {
            Some(connector) => connector.changed().boxed(),
            None => std::future::pending().boxed(),
        }
    }

    /// Whether settings of a session last only until the transaction ends.
    #[must_use]
    pub const fn is_behind_pooler(&self) -> bool {
        self.transaction_settings.is_some()
    }

    /// The connections themselves, for metrics and the address. Do not run statements on them: the driver's pool does not
    /// look for another host.
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
        let statement = SqlStr::from_static(statement);
        let mut tx = Transaction::begin(self.acquire().await?, Some(statement)).await?;
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
            return try_stream! {
                let mut connection = pool.acquire().await?;
                let mut steps = (&mut *connection).fetch_many(query);
                while let Some(step) = steps.try_next().await? {
                    yield step;
                }
            }
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
            return async move {
                let mut connection = pool.acquire().await?;
                (&mut *connection).fetch_optional(query).await
            }
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
