//! The first session of a pool, for a check before it begins. A connection of its own for the check would cost one session more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, Postgres};
use tokio::time::sleep;

use crate::connector::{BeginSession, Connector};
use crate::error::ConnectError;
use crate::pool::DbPool;

/// When the pool takes longer for a session, another one is opened without it: the driver's pool tries again where it should say
/// what is wrong.
const PATIENCE: Duration = Duration::from_millis(200);

/// A session that waits to be checked, and its pool.
#[derive(Debug)]
pub struct FirstSession {
    connector: Arc<Connector>,
    options: PgPoolOptions,
    begin: BeginSession,
    session: Session,
}

#[derive(Debug)]
enum Session {
    Pooled {
        pool: DbPool,
        connection: PoolConnection<Postgres>,
        /// Whether sessions of the pool begin by themselves.
        begins: Arc<AtomicBool>,
    },
    Single(PgConnection),
}

impl FirstSession {
    /// Opens the session.
    ///
    /// # Errors
    /// With the server's name and the reason.
    pub async fn open(
        connector: Connector,
        options: PgPoolOptions,
        begin: BeginSession,
    ) -> Result<Self, ConnectError> {
        let (connector, begins) = (Arc::new(connector), Arc::new(AtomicBool::new(false)));
        let pool = DbPool::beginning(Arc::clone(&connector), options.clone(), Some(begin), &begins);
        let session = tokio::select! {
            Ok(connection) = pool.acquire_first(&connector) => Session::Pooled { pool: pool.clone(), connection, begins },
            opened = sleep(PATIENCE).then(|()| connector.probe()) => Session::Single(opened?),
        };
        Ok(Self {
            connector,
            options,
            begin,
            session,
        })
    }

    /// The session, before the first statements that every session of the pool begins with.
    pub fn connection(&mut self) -> &mut PgConnection {
        match &mut self.session {
            Session::Pooled { connection, .. } => connection,
            Session::Single(connection) => connection,
        }
    }

    /// The pool, after the check.
    ///
    /// # Errors
    /// When the first statements of the session fail.
    pub async fn begin(self) -> Result<DbPool, ConnectError> {
        match self.session {
            Session::Pooled {
                pool,
                mut connection,
                begins,
            } => {
                let began = Instant::now();
                (self.begin)(&mut connection)
                    .await
                    .map_err(|error| self.connector.unreachable(error))?;
                pool.began(began.elapsed());
                begins.store(true, Ordering::Release);
                Ok(pool)
            }
            Session::Single(connection) => {
                // the check is complete; an error while closing changes nothing
                drop(connection.close().await);
                Ok(DbPool::lazy(self.connector, self.options, Some(self.begin)))
            }
        }
    }
}
