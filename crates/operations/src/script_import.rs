//! Reads the database of the Python script that Tidemark replaces, in one read-only transaction.
//!
//! These databases were changed by hand, so few columns are required. The other known columns are read where they exist,
//! and unknown columns are listed in the report.

pub mod import;
pub mod load;
pub mod plan;
mod rows;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use tidemark_net::url::{ServerUrl, server_name};
use tidemark_postgres::Connector;
use tidemark_postgres::connect::{ConnectError, KEEPALIVE};
use tidemark_postgres::ident::quote;

pub use self::rows::{RowColumn, RowSelect};

const WHAT: &str = "the old database";

/// The required columns.
const REQUIRED: [(Table, &[&str]); 4] = [
    (Table::Tenants, &["id", "name"]),
    (Table::Inboxes, &["inbox_id", "tenant_id"]),
    (Table::Runs, &["status", "watermark_end"]),
    (Table::Rows, &["tenant_id", "conversation_id", "inbox_id"]),
];

/// Further columns that are read where they exist. Of the rows, all columns of the target are.
const KNOWN: [(Table, &[&str]); 3] = [
    (
        Table::Tenants,
        &["slug", "status", "timezone", "account_id", "deleted_at"],
    ),
    (Table::Inboxes, &["inbox_name", "channel_type", "is_active"]),
    (Table::Runs, &["id", "tenant_id", "started_at", "finished_at"]),
];

/// The tables of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Tenants,
    Inboxes,
    Runs,
    Rows,
}

impl Table {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Inboxes => "inbox_tenant_mapping",
            Self::Runs => "etl_control",
            Self::Rows => "conversations_analytics",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(
        "schema `{schema}` of the old database at {server} lacks {}: name another schema with --schema",
        missing.join(", ")
    )]
    Shape {
        server: String,
        schema: String,
        missing: Vec<String>,
    },
    #[error(
        "the tables in schema `{schema}` at {server} are Tidemark's own: name the old ones with --from and --schema"
    )]
    Own { server: String, schema: String },
    #[error("{attempted} in the old database at {server}{}", hint(source))]
    Query {
        attempted: &'static str,
        server: String,
        source: sqlx::Error,
    },
}

/// The tables are locked before the snapshot and without waiting, for the reasons in `source/locks.rs`: a table that is
/// rewritten in between would look empty. Materialized views and foreign tables cannot be locked.
const LOCKABLE: &str = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind IN ('r', 'p', 'v') ORDER BY c.relname";

/// `row_security = off` turns hidden rows into the error 42501.
fn hint(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("42501") => ": read it as the owner of its tables, or as a superuser",
        Some("55P03") => ": another session changes a table; import again when that session has ended",
        _ => "",
    }
}

/// A tenant of the script.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ScriptTenant {
    pub id: i32,
    pub name: String,
    pub slug: Option<String>,
    /// As the script wrote it.
    pub status: Option<String>,
    pub timezone: Option<String>,
    pub account_id: Option<i32>,
    pub is_deleted: bool,
}

/// An inbox of the script.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ScriptInbox {
    pub inbox_id: i32,
    pub tenant_id: i32,
    pub inbox_name: Option<String>,
    pub channel_type: Option<String>,
    pub is_active: bool,
}

/// A time as the script wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptTime {
    /// Without a time zone; the import has an option for it.
    Naive(NaiveDateTime),
    Instant(DateTime<Utc>),
}

/// The end of the script's last successful run of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptWatermark {
    /// `None`: the script kept one watermark for all tenants.
    pub tenant_id: Option<i32>,
    pub watermark_end: ScriptTime,
}

/// Has one of both times, depending on the column's type.
#[derive(Debug, sqlx::FromRow)]
struct RunEnd {
    tenant_id: Option<i32>,
    naive: Option<NaiveDateTime>,
    instant: Option<DateTime<Utc>>,
}

/// A column that is not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IgnoredColumn {
    pub table: &'static str,
    pub column: String,
    pub type_name: String,
}

/// A column of the script's tables.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    type_name: String,
}

/// A read-only transaction on the old database.
#[derive(Debug)]
pub struct ScriptDatabase {
    connection: PgConnection,
    server: String,
    schema: String,
    columns: BTreeMap<Table, Vec<Column>>,
}

impl ScriptDatabase {
    /// Begins a read-only transaction and checks the tables.
    ///
    /// # Errors
    /// When the server cannot be reached, or the schema lacks a required table or column.
    pub async fn open(url: &ServerUrl, schema: &str) -> Result<Self, ScriptError> {
        let server = server_name(url);
        let connector = Connector::new(url, WHAT, false, |options| {
            options
                .application_name("tidemark import-legacy")
                .options([
                    ("TimeZone", "UTC"),
                    ("DateStyle", "ISO, MDY"),
                    ("default_transaction_read_only", "on"),
                    // fail where a policy would hide rows
                    ("row_security", "off"),
                    ("lock_timeout", "10s"),
                ])
                .options(KEEPALIVE)
        })?;
        let connection = connector.probe().await?;
        let mut legacy = Self {
            connection,
            server,
            schema: schema.to_owned(),
            columns: BTreeMap::new(),
        };
        legacy.begin().await?;
        Ok(legacy)
    }

    async fn begin(&mut self) -> Result<(), ScriptError> {
        let lockable: Vec<String> = sqlx::query_scalar(LOCKABLE)
            .bind(&self.schema)
            .bind(REQUIRED.map(|(table, _)| table.name()))
            .fetch_all(&mut self.connection)
            .await
            .map_err(query(&self.server, "look up the tables"))?;
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut self.connection)
            .await
            .map_err(query(&self.server, "begin a transaction"))?;
        if !lockable.is_empty() {
            let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", lockable.join(", "));
            sqlx::query(AssertSqlSafe(lock))
                .execute(&mut self.connection)
                .await
                .map_err(query(&self.server, "lock the tables for reading"))?;
        }
        let found: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped \
             ORDER BY c.relname, a.attnum",
        )
        .bind(&self.schema)
        .fetch_all(&mut self.connection)
        .await
        .map_err(query(&self.server, "look up the tables"))?;
        for (table, _) in REQUIRED {
            let columns = found.iter().filter(|(name, ..)| name == table.name());
            self.columns.insert(
                table,
                columns
                    .map(|(_, name, type_name)| Column {
                        name: name.clone(),
                        type_name: type_name.clone(),
                    })
                    .collect(),
            );
        }
        self.check()
    }

    fn check(&self) -> Result<(), ScriptError> {
        if self.has(Table::Runs, "planning_until") || self.has(Table::Rows, "source_digest") {
            return Err(ScriptError::Own {
                server: self.server.clone(),
                schema: self.schema.clone(),
            });
        }
        let mut missing = Vec::new();
        for (table, columns) in REQUIRED {
            if self.columns[&table].is_empty() {
                missing.push(format!("table {}", table.name()));
                continue;
            }
            let absent = columns.iter().filter(|column| !self.has(table, column));
            missing.extend(absent.map(|column| format!("column {}.{column}", table.name())));
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(ScriptError::Shape {
            server: self.server.clone(),
            schema: self.schema.clone(),
            missing,
        })
    }

    /// Host, port and database, for people.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The tenants in ascending order.
    pub async fn tenants(&mut self) -> Result<Vec<ScriptTenant>, ScriptError> {
        let table = Table::Tenants;
        let statement = format!(
            "SELECT id::integer AS id, name::text AS name, {} AS slug, {} AS status, {} AS timezone, {} AS account_id, \
                    {} AS is_deleted FROM {} WHERE id IS NOT NULL ORDER BY id",
            self.optional(table, "slug", "text"),
            self.optional(table, "status", "text"),
            self.optional(table, "timezone", "text"),
            self.optional(table, "account_id", "integer"),
            match self.has(table, "deleted_at") {
                true => "deleted_at IS NOT NULL",
                false => "false",
            },
            self.relation(table),
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(&mut self.connection)
            .await
            .map_err(query(&self.server, "list the tenants"))
    }

    /// The inboxes in ascending order.
    pub async fn inboxes(&mut self) -> Result<Vec<ScriptInbox>, ScriptError> {
        let table = Table::Inboxes;
        let statement = format!(
            "SELECT inbox_id::integer AS inbox_id, tenant_id::integer AS tenant_id, {} AS inbox_name, {} AS channel_type, \
                    {} AS is_active FROM {} WHERE inbox_id IS NOT NULL AND tenant_id IS NOT NULL ORDER BY 1, 2",
            self.optional(table, "inbox_name", "text"),
            self.optional(table, "channel_type", "text"),
            match self.has(table, "is_active") {
                true => "coalesce(is_active::boolean, true)",
                false => "true",
            },
            self.relation(table),
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(&mut self.connection)
            .await
            .map_err(query(&self.server, "list the inboxes"))
    }

    /// The end of the last successful run of each tenant. Runs without an end are ignored.
    pub async fn watermarks(&mut self) -> Result<Vec<ScriptWatermark>, ScriptError> {
        let table = Table::Runs;
        let tenant = self.optional(table, "tenant_id", "integer");
        // newest first, by those of these columns that exist
        let newest: Vec<String> = ["id", "finished_at", "started_at", "watermark_end"]
            .iter()
            .filter(|column| self.has(table, column))
            .map(|column| format!("{} DESC NULLS LAST", quote(column)))
            .collect();
        let (naive, instant) = match self.type_of(table, "watermark_end") {
            Some("timestamp with time zone") => ("NULL::timestamp", "watermark_end"),
            _ => ("watermark_end::timestamp", "NULL::timestamptz"),
        };
        let statement = format!(
            "SELECT DISTINCT ON ({tenant}) {tenant} AS tenant_id, {naive} AS naive, {instant} AS instant FROM {} \
             WHERE lower(status::text) = 'success' AND isfinite(watermark_end) ORDER BY {tenant}, {}",
            self.relation(table),
            newest.join(", "),
        );
        let ends: Vec<RunEnd> = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(&mut self.connection)
            .await
            .map_err(query(&self.server, "read the ends of the last runs"))?;
        let watermark = |end: RunEnd| {
            let written = end.naive.map(ScriptTime::Naive);
            Some(ScriptWatermark {
                tenant_id: end.tenant_id,
                watermark_end: written.or(end.instant.map(ScriptTime::Instant))?,
            })
        };
        Ok(ends.into_iter().filter_map(watermark).collect())
    }

    /// Whether a run of the script is under way.
    pub async fn is_running(&mut self) -> Result<bool, ScriptError> {
        let statement = format!(
            "SELECT EXISTS (SELECT FROM {} WHERE lower(status::text) = 'running')",
            self.relation(Table::Runs)
        );
        sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut self.connection)
            .await
            .map_err(query(&self.server, "look for a run under way"))
    }

    /// Columns of the control tables that are not imported.
    #[must_use]
    pub fn ignored(&self) -> Vec<IgnoredColumn> {
        let mut ignored = Vec::new();
        for (table, known) in KNOWN {
            let required = REQUIRED
                .iter()
                .filter(|(of, _)| *of == table)
                .flat_map(|(_, columns)| columns.iter());
            let taken: Vec<&str> = known.iter().chain(required).copied().collect();
            let others = self.columns[&table].iter();
            ignored.extend(
                others
                    .filter(|found| !taken.contains(&found.name.as_str()))
                    .map(|found| found.ignored(table)),
            );
        }
        ignored
    }

    /// Ends the transaction; nothing was written in it.
    pub async fn close(mut self) {
        // nothing was written, so an error here changes nothing
        drop(sqlx::query("ROLLBACK").execute(&mut self.connection).await);
        drop(self.connection.close().await);
    }

    fn relation(&self, table: Table) -> String {
        format!("{}.{}", quote(&self.schema), quote(table.name()))
    }

    fn type_of(&self, table: Table, column: &str) -> Option<&str> {
        let found = self.columns[&table].iter().find(|found| found.name == column);
        found.map(|found| found.type_name.as_str())
    }

    fn has(&self, table: Table, column: &str) -> bool {
        self.type_of(table, column).is_some()
    }

    /// The column cast to this type, or NULL where it does not exist.
    fn optional(&self, table: Table, column: &str, sql_type: &str) -> String {
        match self.has(table, column) {
            true => format!("{}::{sql_type}", quote(column)),
            false => format!("NULL::{sql_type}"),
        }
    }
}

impl Column {
    fn ignored(&self, table: Table) -> IgnoredColumn {
        IgnoredColumn {
            table: table.name(),
            column: self.name.clone(),
            type_name: self.type_name.clone(),
        }
    }
}

fn query(server: &str, attempted: &'static str) -> impl FnOnce(sqlx::Error) -> ScriptError {
    let server = server.to_owned();
    move |source| ScriptError::Query {
        attempted,
        server,
        source,
    }
}
