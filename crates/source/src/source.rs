//! A source database and its connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::Semaphore;

use super::error::SourceError;
use super::locks::TableLocks;
use super::shape::KnownShape;
use tidemark_net::tls::Exposure;
use tidemark_net::url::server_name;
use tidemark_postgres::connect;
use tidemark_postgres::connect::{ConnectError, KEEPALIVE};
use tidemark_postgres::ident::{RelationName, SchemaName};
use tidemark_postgres::{Connector, DbPool};
use tidemark_runtime::config::{ConfigError, Settings, SourceMode, SourceSettings};

/// A source that does not accept a connection within this time counts as unavailable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One configured source with its connections. They are opened on first use.
#[derive(Debug)]
pub struct Source {
    name: String,
    pub(super) server: String,
    /// Set in `view` mode.
    view: Option<RelationName>,
    schema: Option<SchemaName>,
    pub(super) locks: TableLocks,
    pub(super) known_shape: KnownShape,
    max_in_flight: i32,
    pub(super) connector: Arc<Connector>,
    db: DbPool,
    /// One for each transaction. Waiting for a permit does not mean that the source failed.
    pub(super) permits: Arc<Semaphore>,
}

impl Source {
    fn new(name: &str, settings: &SourceSettings, role: &str) -> Result<Option<Self>, ConnectError> {
        let Some(url) = &settings.url else { return Ok(None) };
        let statement_timeout = format!("{}ms", settings.statement_timeout.as_millis());
        let application = format!("tidemark {role}");
        let search_path = settings
            .schema
            .as_ref()
            .map(|schema| format!("{schema}, pg_temp"));
        let connector = Connector::new(url, "the source", false, move |options| {
            let options = options
                .application_name(&application)
                .options([
                    ("TimeZone", "UTC"),
                    ("default_transaction_read_only", "on"),
                    ("statement_timeout", statement_timeout.as_str()),
                    ("lock_timeout", "10s"),
                    // limits how long a worker that hangs keeps the snapshot open
                    ("idle_in_transaction_session_timeout", "5min"),
                    // JIT would compile the plan of a large view again for every chunk
                    ("jit", "off"),
                ])
                .options(KEEPALIVE);
            match &search_path {
                // without the schema of temporary tables at the end, PostgreSQL would put it first
                Some(search_path) => options.options([("search_path", search_path)]),
                None => options,
            }
        })?;
        let connector = Arc::new(connector);
        let view = match settings.mode {
            SourceMode::Tables => None,
            SourceMode::View => settings.view.clone(),
        };
        Ok(Some(Self {
            name: name.to_owned(),
            server: server_name(url),
            locks: TableLocks::new(view.as_ref()),
            known_shape: KnownShape::default(),
            view,
            schema: settings.schema.clone(),
            max_in_flight: settings.max_in_flight,
            db: DbPool::lazy(
                Arc::clone(&connector),
                PgPoolOptions::new()
                    .max_connections(settings.max_connections)
                    // covers only connecting: tasks wait for a free connection at the semaphore
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .idle_timeout(Duration::from_secs(60)),
                None,
            ),
            connector,
            // one connection is left for short statements outside transactions
            permits: Arc::new(Semaphore::new(
                usize::try_from(settings.max_connections)
                    .unwrap_or(1)
                    .saturating_sub(1)
                    .max(1),
            )),
        }))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hosts, ports and database, for display.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The view that the source is read through; `None` when its tables are read.
    #[must_use]
    pub const fn view(&self) -> Option<&RelationName> {
        self.view.as_ref()
    }

    /// The schema that its tables or its view are in, as SQL text; `None`: the server's search path finds them.
    #[must_use]
    pub fn schema(&self) -> Option<String> {
        self.schema.as_ref().map(SchemaName::to_string)
    }

    /// A table of Chatwoot as an administrator of the source writes it.
    pub(super) fn in_schema(&self, table: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{table}"),
            None => table.to_owned(),
        }
    }

    /// The connections, for statements outside [`super::session::SourceTx`].
    #[must_use]
    pub const fn db(&self) -> &DbPool {
        &self.db
    }

    /// The connections themselves, for metrics and the address.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        self.db.connections()
    }

    /// Whether others could read or change the traffic.
    #[must_use]
    pub fn exposure(&self) -> Option<Exposure> {
        self.connector.exposure()
    }

    pub(super) fn unreachable(&self, source: sqlx::Error) -> SourceError {
        if let Some(fault) = connect::tls_fault(&source) {
            return SourceError::Connect(ConnectError::Tls {
                label: "the source",
                server: self.server.clone(),
                fault,
                source,
            });
        }
        SourceError::Unreachable {
            name: self.name.clone(),
            server: self.server.clone(),
            source,
        }
    }

    /// Whether the source shows any conversation of any tenant. When it shows none, a right was probably revoked or the view
    /// is empty: it is unlikely that every conversation was deleted.
    pub async fn has_any_conversation(&self, connection: &mut PgConnection) -> Result<bool, SourceError> {
        let relation = self
            .view
            .as_ref()
            .map_or_else(|| "conversations".to_owned(), RelationName::to_string);
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT FROM {relation})")))
            .fetch_one(connection)
            .await
            .map_err(self.query_error("look for any conversation"))
    }

    /// Adds to a driver error the attempted action and the server.
    pub fn query_error(&self, attempted: &'static str) -> impl FnOnce(sqlx::Error) -> SourceError + '_ {
        move |source| SourceError::Query {
            attempted,
            name: self.name.clone(),
            server: self.server.clone(),
            source,
        }
    }
}

/// The configured sources, by name.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    by_name: BTreeMap<String, Arc<Source>>,
}

impl Sources {
    /// Reads the settings without connecting. `role` becomes part of the sessions' `application_name`.
    pub fn new(settings: &Settings, role: &str) -> Result<Self, ConnectError> {
        let mut by_name = BTreeMap::new();
        for (name, source) in &settings.sources {
            if let Some(source) = Source::new(name, source, role)? {
                by_name.insert(name.clone(), Arc::new(source));
            }
        }
        Ok(Self { by_name })
    }

    pub fn get(&self, name: &str) -> Result<&Arc<Source>, ConfigError> {
        self.by_name
            .get(name)
            .ok_or_else(|| ConfigError::UnknownSource(name.to_owned()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.by_name.values()
    }

    /// Each source's name and the number of its chunks that may be queued or running.
    #[must_use]
    pub fn limits(&self) -> Vec<(String, i32)> {
        self.by_name
            .values()
            .map(|source| (source.name.clone(), source.max_in_flight))
            .collect()
    }
}
