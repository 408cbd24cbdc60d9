//! The pool for ledger and target: its role, its session settings, and the check that this build works with the migrations.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tidemark_net::url::{ServerUrl, server_name};
use tidemark_postgres::connect::{ConnectError, DatabasePooler, KEEPALIVE, prefer_lz4, without_cache};
use tidemark_postgres::connector::BeginSession;
use tidemark_postgres::ident::quote;
use tidemark_postgres::sqlstate::{control_failure_kind, sqlstate};
use tidemark_postgres::{Connector, DbPool, FirstSession, temporary_last};

use crate::encoding::{self, WrongEncoding};
use crate::migrations::{Schema, applied_migrations, schema};

const LABEL: &str = "the analytics database";

/// Settings of a transaction on a session that a pooler lends; a session of our own has the same from its start. They
/// are the role that row-level security applies to, and the settings of [`pool`]. Prepared statements of an earlier
/// user of the server process must go: ours have the same names.
///
/// The `search_path` is that of the role or the database, with the schema of temporary tables last. A temporary table
/// in a lent session must not hide one of our tables.
macro_rules! lent_settings {
    ($role:literal) => {
        concat!(
            "DEALLOCATE ALL; SET LOCAL ROLE ",
            $role,
            "; SET LOCAL search_path = DEFAULT; SELECT ",
            temporary_last!(true),
            "; SET LOCAL TimeZone = 'UTC'; SET LOCAL client_min_messages = 'warning'; SET LOCAL lock_timeout = '30s'; \
             SET LOCAL idle_in_transaction_session_timeout = '15min'; SET LOCAL jit = 'off'"
        )
    };
}

/// The role that a process acts as. Row-level security applies to it, even if the login may bypass it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActAs {
    /// `etl_service`.
    Service,
    /// `console_service`: it may use the console's own tables too, and removes nothing from the audit.
    Console,
    /// `authenticated_users`: it reads one tenant's rows, and writes nothing.
    Dashboard,
}

impl ActAs {
    const fn role(self) -> &'static str {
        match self {
            Self::Service => "etl_service",
            Self::Console => "console_service",
            Self::Dashboard => "authenticated_users",
        }
    }

    const fn take_role(self) -> &'static str {
        match self {
            Self::Service => "SET ROLE etl_service",
            Self::Console => "SET ROLE console_service",
            Self::Dashboard => "SET ROLE authenticated_users",
        }
    }

    const fn lent_settings(self) -> &'static str {
        match self {
            Self::Service => lent_settings!("etl_service"),
            Self::Console => lent_settings!("console_service"),
            Self::Dashboard => lent_settings!("authenticated_users"),
        }
    }
}

const TEMPORARY_LAST: &str = concat!("SELECT ", temporary_last!(false));
/// `invalid_parameter_value`, from SET ROLE.
const NO_SUCH_ROLE: &str = "22023";

/// A setting of our sessions that shows whether a pooler drops settings, and its value.
const LOCK_TIMEOUT: &str = "30s";
const READ_LOCK_TIMEOUT: &str = "SELECT current_setting('lock_timeout')";

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the database at {server} is not migrated: run `tidemark migrate`")]
    NotMigrated { server: String },
    #[error(
        "the database at {server} has migration {version}, which this build does not know and does not work with: run a newer \
         tidemark"
    )]
    TooNew { server: String, version: i64 },
    #[error("the database at {server} cannot be used: {}. Create another one, and migrate it: {}", wrong.problem(), wrong.statement)]
    Encoding { server: String, wrong: WrongEncoding },
    #[error("the login at {server} may not act as {role}: as a superuser run GRANT {role} TO <login>")]
    Role {
        server: String,
        role: &'static str,
        source: sqlx::Error,
    },
}

/// The pool for ledger and target of one process. Every statement runs as `etl_service`, in UTC.
///
/// # Errors
/// When the server cannot be reached, or this build does not work with the migrations of the database.
pub async fn pool(
    url: &ServerUrl,
    role: &str,
    max_connections: u32,
    pooler: DatabasePooler,
) -> Result<DbPool, OpenError> {
    pool_as(ActAs::Service, url, role, max_connections, pooler).await
}

/// [`pool`] with the role that its statements run as.
pub async fn pool_as(
    act_as: ActAs,
    url: &ServerUrl,
    role: &str,
    max_connections: u32,
    pooler: DatabasePooler,
) -> Result<DbPool, OpenError> {
    let label = LABEL;
    let application = format!("tidemark {role}");
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(300));
    match pooler {
        DatabasePooler::None => {
            let connector = Connector::new(url, label, true, move |options| {
                options
                    .application_name(&application)
                    .options([
                        ("TimeZone", "UTC"),
                        // hides "relation exists, skipping"
                        ("client_min_messages", "warning"),
                        ("lock_timeout", LOCK_TIMEOUT),
                        ("idle_in_transaction_session_timeout", "15min"),
                        // compiling takes longer than any of the statements
                        ("jit", "off"),
                        // DbPool begins its transactions with the same level
                        ("default_transaction_isolation", "read committed"),
                    ])
                    .options(KEEPALIVE)
            })?;
            let begin: BeginSession = match act_as {
                ActAs::Service => |connection| begin_session(connection, ActAs::Service, false).boxed(),
                ActAs::Console => |connection| begin_session(connection, ActAs::Console, false).boxed(),
                ActAs::Dashboard => |connection| begin_session(connection, ActAs::Dashboard, false).boxed(),
            };
            // boxed: the future of every command would hold its size
            let mut first = Box::pin(FirstSession::open(connector, pool, begin)).await?;
            check_direct(act_as, first.connection(), url).await?;
            Ok(first.begin().await?)
        }
        DatabasePooler::Transaction => {
            let connector = Connector::new(url, label, true, move |options| {
                without_cache(options.application_name(&application))
            })?;
            check_behind_pooler(act_as, &connector, url).await?;
            Ok(DbPool::behind_pooler(
                Arc::new(connector),
                pool,
                act_as.lent_settings(),
            ))
        }
    }
}

async fn check_direct(
    act_as: ActAs,
    connection: &mut PgConnection,
    url: &ServerUrl,
) -> Result<(), OpenError> {
    let (label, server) = (LABEL, server_name(url));
    let lock_timeout: String = sqlx::query_scalar(READ_LOCK_TIMEOUT)
        .fetch_one(&mut *connection)
        .await
        .map_err(|source| ConnectError::Unreachable {
            label,
            server: server.clone(),
            source,
        })?;
    if lock_timeout != LOCK_TIMEOUT {
        return Err(ConnectError::Pooler { label, server }.into());
    }
    check_role(connection, act_as, act_as.take_role(), label, url).await?;
    check_database(connection, act_as, label, url).await
}

async fn check_behind_pooler(act_as: ActAs, connector: &Connector, url: &ServerUrl) -> Result<(), OpenError> {
    let label = LABEL;
    let mut connection = connector.probe_pooler().await?;
    check_role(&mut connection, act_as, act_as.lent_settings(), label, url).await?;
    check_database(&mut connection, act_as, label, url).await?;
    drop(connection.close().await);
    Ok(())
}

/// A dashboard may not read which migrations there are. The pool of the process has been checked.
async fn check_database(
    connection: &mut PgConnection,
    act_as: ActAs,
    label: &'static str,
    url: &ServerUrl,
) -> Result<(), OpenError> {
    if act_as == ActAs::Dashboard {
        return Ok(());
    }
    check_encoding(connection, label, url).await?;
    check_migrated(connection, label, url).await
}

async fn check_role(
    connection: &mut PgConnection,
    act_as: ActAs,
    statement: &'static str,
    label: &'static str,
    url: &ServerUrl,
) -> Result<(), OpenError> {
    let taken = raw_sql(statement).execute(connection).await;
    taken.map(drop).map_err(|source| {
        unreachable_or(source, label, url, |server, source| {
            // the first migration creates the role
            if sqlstate(&source).as_deref() == Some(NO_SUCH_ROLE) {
                OpenError::NotMigrated { server }
            } else {
                OpenError::Role {
                    server,
                    role: act_as.role(),
                    source,
                }
            }
        })
    })
}

/// Lets the login act as this role, if it may do so by itself. It gets no rights that it has not already: a login that may grant a
/// role may also take it.
pub async fn grant_to_login(act_as: ActAs, url: &ServerUrl) -> bool {
    let Ok(connector) = Connector::new(url, LABEL, true, |options| options) else {
        return false;
    };
    let Ok(mut connection) = connector.probe().await else {
        return false;
    };
    let grant = format!("GRANT {} TO CURRENT_USER", quote(act_as.role()));
    raw_sql(AssertSqlSafe(grant))
        .execute(&mut connection)
        .await
        .is_ok()
}

/// Another pool to the same database, for loads. Stored values are compressed by lz4, where the server supports it and
/// no pooler is used.
#[must_use]
pub fn pool_for_loads(pool: &DbPool, max_connections: u32) -> DbPool {
    let begin: BeginSession = |connection| begin_session(connection, ActAs::Service, true).boxed();
    pool.sized_with(max_connections, (!pool.is_behind_pooler()).then_some(begin))
}

/// First statements of a session of our own. Only loads ask for lz4: the question takes longer than most statements.
async fn begin_session(
    connection: &mut PgConnection,
    act_as: ActAs,
    is_for_loads: bool,
) -> Result<(), sqlx::Error> {
    raw_sql(act_as.take_role()).execute(&mut *connection).await?;
    raw_sql(TEMPORARY_LAST).execute(&mut *connection).await?;
    if is_for_loads {
        prefer_lz4(connection, false).await?;
    }
    Ok(())
}

/// The server may disappear between the login and a statement.
fn unreachable_or(
    source: sqlx::Error,
    label: &'static str,
    url: &ServerUrl,
    refused: impl FnOnce(String, sqlx::Error) -> OpenError,
) -> OpenError {
    let server = server_name(url);
    if control_failure_kind(&source).passes_by_itself() {
        ConnectError::Unreachable {
            label,
            server,
            source,
        }
        .into()
    } else {
        refused(server, source)
    }
}

async fn check_encoding(
    connection: &mut PgConnection,
    label: &'static str,
    url: &ServerUrl,
) -> Result<(), OpenError> {
    let server = server_name(url);
    match encoding::find_wrong(connection).await {
        Ok(None) => Ok(()),
        Ok(Some(wrong)) => Err(OpenError::Encoding { server, wrong }),
        Err(source) => Err(ConnectError::Unreachable {
            label,
            server,
            source,
        }
        .into()),
    }
}

async fn check_migrated(
    connection: &mut PgConnection,
    label: &'static str,
    url: &ServerUrl,
) -> Result<(), OpenError> {
    let server = server_name(url);
    let applied = applied_migrations(connection).await.map_err(|source| {
        unreachable_or(source, label, url, |server, _| OpenError::NotMigrated { server })
    })?;
    match schema(&applied) {
        Schema::Current | Schema::Newer(_) => Ok(()),
        Schema::Behind => Err(OpenError::NotMigrated { server }),
        Schema::TooNew(version) => Err(OpenError::TooNew { server, version }),
    }
}
