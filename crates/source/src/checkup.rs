//! The check-up of a source: one read-only session with a time limit on each statement.

mod cost;
mod fence;
mod indexes;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::error::SourceError;
use super::shape::Shape;
use super::source::Source;
use super::tables::table_names;
use super::view::ViewShape;
use tidemark_postgres::connect;
use tidemark_postgres::connect::{ClockReading, SSL_MODE};
use tidemark_postgres::ident::{RelationName, quote};
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Check, Finding, Found, Lack, SourceFound, encryption_finding};

/// For each statement, so that a check-up puts little load on the server.
const STATEMENT_TIMEOUT: &str = "5s";
/// Size in bytes from which on a table's indexes and statistics matter.
const LARGE: i64 = 32 << 20;
/// PostgreSQL 13 added `pg_current_snapshot()` and the hash functions that digests use.
const OLDEST_VERSION: i32 = 130_000;

/// What the ledger and the settings know about the source.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownState {
    /// The highest `xmax` seen so far.
    pub highest_xmax: Option<i64>,
    /// The fence at the producer's last sample, and the time of that sample.
    pub fence_at: Option<DateTime<Utc>>,
    pub sampled_at: Option<DateTime<Utc>>,
    /// Whether every plan compares digests.
    pub digests_every_plan: bool,
}

impl Source {
    /// Checks everything that syncs depend on. Sets `clock` when the source's clock can be read.
    pub async fn check_up(
        &self,
        known: KnownState,
        clock: &mut Option<ClockReading>,
        findings: &mut Vec<Finding>,
    ) {
        let settings = |options: PgConnectOptions| {
            options
                .application_name("tidemark doctor")
                .options([("statement_timeout", STATEMENT_TIMEOUT), ("lock_timeout", "2s")])
        };
        let mut connection = match self.connector.probe_with(settings).await {
            Ok(connection) => connection,
            Err(error) => {
                findings.push(Finding::error(Check::Connection, Found::Connect(Arc::new(error))));
                return;
            }
        };
        findings.push(encryption_finding(self.exposure(), SSL_MODE));
        *clock = connect::read_clock(&mut connection).await.ok();
        if let Err(error) = self.run_checks(&mut connection, known, findings).await {
            findings.push(Finding::error(Check::Connection, Found::Failed(report(&error))));
        }
        drop(connection.close().await);
    }

    async fn run_checks(
        &self,
        connection: &mut PgConnection,
        known: KnownState,
        findings: &mut Vec<Finding>,
    ) -> Result<(), SourceError> {
        let is_standby = self.check_session(connection, findings).await?;
        self.check_encoding(connection, findings).await?;
        self.check_fence(connection, known, is_standby, findings).await;
        let shape = match self.check_catalog(connection).await {
            Ok(shape) => shape,
            Err(SourceError::Schema { missing, .. }) => {
                self.report_missing(connection, &missing, findings).await?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        findings.push(Finding::ok(
            Check::Rights,
            match &shape {
                Shape::Tables(_) => SourceFound::TablesReadable,
                Shape::View(view) => SourceFound::ViewReadable(view.relation()),
            },
        ));
        let warned = match &shape {
            Shape::Tables(tables) => {
                findings.push(Finding::ok(Check::Chatwoot, tables.describe_versions()));
                Check::Columns
            }
            Shape::View(_) => Check::View,
        };
        let warnings = shape.warnings().into_iter();
        findings.extend(warnings.map(|found| Finding::warning(warned, found)));
        if let Some(shape) = shape.view() {
            match self.missing_keys(connection, shape, None).await {
                Ok(missing) => findings.extend(missing.map(|found| Finding::warning(Check::View, found))),
                Err(error) => findings.push(Finding::not_checked(Check::View, report(&error))),
            }
        }
        self.check_rows(connection, findings).await;
        self.check_indexes(connection, &shape, known, findings).await;
        self.check_statistics(connection, is_standby, findings).await;
        if let Some(shape) = shape.view() {
            self.check_view_cost(connection, shape, findings).await;
        }
        Ok(())
    }

    /// Checks version, login and settings; returns whether the source is a hot standby.
    async fn check_session(
        &self,
        connection: &mut PgConnection,
        findings: &mut Vec<Finding>,
    ) -> Result<bool, SourceError> {
        let row: (i32, String, String, bool, bool, bool, bool, String) = sqlx::query_as(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_version'), \
                    current_setting('TimeZone'), current_setting('transaction_read_only')::boolean, \
                    r.rolsuper, pg_has_role('pg_read_all_stats', 'MEMBER'), pg_is_in_recovery(), current_user::text \
             FROM pg_roles r WHERE r.rolname = current_user",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(self.query_error("read the session's settings"))?;
        let (number, version, timezone, read_only, is_superuser, sees_all, is_standby, login) = row;
        findings.push(if number < OLDEST_VERSION {
            Finding::error(Check::Version, SourceFound::TooOld(version))
        } else {
            let standby = is_standby;
            Finding::ok(Check::Version, Found::Postgres { version, standby })
        });
        // every session sets both, but a pooler may drop them
        if timezone != "UTC" || !read_only {
            findings.push(Finding::error(
                Check::Session,
                SourceFound::SettingsDropped {
                    zone: timezone,
                    read_only,
                },
            ));
        }
        if is_superuser {
            findings.push(
                Finding::warning(Check::Login, SourceFound::Superuser(login.clone()))
                .todo(format!(
                    "CREATE ROLE tidemark_reader LOGIN PASSWORD '…'; {}GRANT SELECT ON {} TO tidemark_reader;",
                    self.schema().map_or_else(String::new, |schema| {
                        format!("GRANT USAGE ON SCHEMA {schema} TO tidemark_reader; ")
                    }),
                    self.relations(connection).await?.join(", ")
                )),
            );
        }
        if !sees_all && !is_standby {
            findings.push(
                Finding::skipped(Check::Login, SourceFound::SeesNotAll)
                    .todo(format!("GRANT pg_read_all_stats TO {};", quote(&login))),
            );
        }
        Ok(is_standby)
    }

    /// The server converts texts of every encoding to UTF8, but not bytes of which it does not know the encoding.
    async fn check_encoding(
        &self,
        connection: &mut PgConnection,
        findings: &mut Vec<Finding>,
    ) -> Result<(), SourceError> {
        let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
            .fetch_one(connection)
            .await
            .map_err(self.query_error("read the encoding"))?;
        findings.push(if encoding == "SQL_ASCII" {
            Finding::warning(Check::Encoding, SourceFound::SqlAscii)
        } else {
            Finding::ok(Check::Encoding, SourceFound::Encoding(encoding))
        });
        Ok(())
    }

    /// The view, or the tables that are there.
    async fn relations(&self, connection: &mut PgConnection) -> Result<Vec<String>, SourceError> {
        if let Some(view) = self.view() {
            return Ok(vec![view.to_string()]);
        }
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT n.name FROM unnest($1::text[]) WITH ORDINALITY AS n (name, position) \
             WHERE to_regclass(quote_ident(n.name)) IS NOT NULL ORDER BY n.position",
        )
        .bind(table_names())
        .fetch_all(connection)
        .await
        .map_err(self.query_error("look up its tables"))?;
        Ok(tables.iter().map(|table| self.in_schema(table)).collect())
    }

    async fn report_missing(
        &self,
        connection: &mut PgConnection,
        missing: &[Lack],
        findings: &mut Vec<Finding>,
    ) -> Result<(), SourceError> {
        let login: String = sqlx::query_scalar("SELECT quote_ident(current_user)")
            .fetch_one(&mut *connection)
            .await
            .map_err(self.query_error("read the session's settings"))?;
        let mut finding = Finding::error(Check::Rights, SourceFound::Lacks(missing.to_vec()));
        let denied: Vec<String> = match self.view() {
            Some(view) => missing
                .iter()
                .any(|what| matches!(what, Lack::Right(_) | Lack::RightToColumn(_)))
                .then(|| view.to_string())
                .into_iter()
                .collect(),
            None => missing
                .iter()
                .filter_map(|what| match what {
                    Lack::Right(table) => Some(self.in_schema(table)),
                    _ => None,
                })
                .collect(),
        };
        if !denied.is_empty() {
            finding = finding.todo(format!("GRANT SELECT ON {} TO {login};", denied.join(", ")));
        }
        if denied.is_empty() {
            let is_elsewhere = missing.iter().any(|what| {
                matches!(what, Lack::View(_)) || *what == Lack::Table("conversations".to_owned())
            });
            let todo = match is_elsewhere {
                true => self.where_to_look(connection, &login).await?,
                false => "tidemark config check   # is it the right database and schema?".to_owned(),
            };
            finding = finding.todo(todo);
        }
        findings.push(finding);
        Ok(())
    }

    /// What to do when tables or the view are missing: they may be in another schema, or the login may not use the schema.
    async fn where_to_look(&self, connection: &mut PgConnection, login: &str) -> Result<String, SourceError> {
        let wanted = self.view().map_or("conversations", RelationName::name);
        let (is_usable, elsewhere): (bool, Vec<String>) = sqlx::query_as(
            "SELECT coalesce(has_schema_privilege(to_regnamespace($2)::oid, 'USAGE'), true), \
                    ARRAY(SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                          WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
                            AND n.nspname <> ALL(current_schemas(true)) ORDER BY 1)",
        )
        .bind(wanted)
        .bind(self.schema())
        .fetch_one(connection)
        .await
        .map_err(self.query_error("look for its tables in other schemas"))?;
        Ok(match (is_usable, elsewhere.first(), self.schema()) {
            (false, _, Some(schema)) => format!("GRANT USAGE ON SCHEMA {schema} TO {login};"),
            (_, Some(schema), _) => format!(
                "set sources.{}.schema to \"{schema}\" (TIDEMARK_SOURCE_SCHEMA)   # {wanted} is in that schema",
                self.name()
            ),
            _ => "tidemark config check   # is it the right database and schema?".to_owned(),
        })
    }

    /// Rows that the login cannot see count as deleted.
    async fn check_rows(&self, connection: &mut PgConnection, findings: &mut Vec<Finding>) {
        match self.has_any_conversation(connection).await {
            Ok(true) => {}
            Ok(false) => findings.push(Finding::warning(Check::Rows, SourceFound::ShowsNothing)),
            Err(error) => findings.push(Finding::not_checked(Check::Rows, report(&error))),
        }
        if self.view().is_some() {
            return;
        }
        let hidden: Result<Vec<String>, _> = sqlx::query_scalar(
            "SELECT t.name FROM unnest($1::text[]) AS t (name) \
             WHERE row_security_active(to_regclass(quote_ident(t.name))::oid) ORDER BY 1",
        )
        .bind(table_names())
        .fetch_all(connection)
        .await;
        match hidden {
            Ok(hidden) if hidden.is_empty() => {}
            Ok(hidden) => findings.push(
                Finding::warning(Check::Rows, SourceFound::RowsHidden(hidden)).todo(
                    "ALTER ROLE … BYPASSRLS;   -- for this login, or add a policy that shows it every row",
                ),
            ),
            Err(error) => findings.push(Finding::not_checked(Check::Rows, report(&error))),
        }
    }

    /// The relation's size in bytes, if it exists and is large.
    async fn large_size(
        &self,
        connection: &mut PgConnection,
        relation: &RelationName,
    ) -> Result<Option<i64>, sqlx::Error> {
        let size: Option<i64> = sqlx::query_scalar("SELECT pg_relation_size(to_regclass($1))")
            .bind(relation.to_string())
            .fetch_one(connection)
            .await?;
        Ok(size.filter(|size| *size >= LARGE))
    }
}

/// A table's name for the catalog.
fn relation(table: &str) -> RelationName {
    table.parse().expect("Chatwoot's table names are valid names")
}

/// The plan, as EXPLAIN's one row of JSON.
async fn explain(connection: &mut PgConnection, statement: &str) -> Result<serde_json::Value, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {statement}")))
        .fetch_one(connection)
        .await
}

/// Reads the view's row of the conversation `k.id`.
fn one_of_view(shape: &ViewShape) -> String {
    format!(
        "SELECT {} FROM {} v WHERE v.conversation_id = k.id ORDER BY {} LIMIT 1",
        shape.select_list(),
        shape.relation(),
        shape.newest_first()
    )
}
