//! Databases on the server: finds, creates and drops samples.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, query_scalar, raw_sql};
use tidemark_shared::chatwoot::Version;

/// A sample's database has a comment that begins with this. It can be read without connecting to that database.
const MARK: &str = "tidemark sample";
/// Stands between the mark and the version of Chatwoot. A sample without it is unfinished, or was made before samples had
/// versions.
const OF_VERSION: &str = " of Chatwoot ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseState {
    Missing,
    Sample,
    /// Not a sample: it must never be changed.
    Foreign,
}

/// The database that a URL names, and its server.
pub struct Target {
    pub name: String,
    options: PgConnectOptions,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .context("read the URL of the sample")?
            .application_name("chatwoot-sample");
        let Some(name) = options.get_database().map(str::to_owned) else {
            bail!("the URL of the sample names no database: end it with /name");
        };
        Ok(Self { name, options })
    }

    /// Options for connecting to the sample itself.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    pub async fn connect(&self) -> Result<PgConnection> {
        self.options
            .connect()
            .await
            .with_context(|| format!("connect to database {}", self.name))
    }

    /// Connects to the sample. Refuses a database that is not a sample.
    pub async fn connect_to_sample(&self) -> Result<PgConnection> {
        let mut conn = self.connect().await?;
        match self.state(&mut conn).await? {
            DatabaseState::Sample => Ok(conn),
            DatabaseState::Missing | DatabaseState::Foreign => {
                bail!(
                    "database {} was not made by `sample create`: it is left alone",
                    self.name
                )
            }
        }
    }

    /// Connects to the database `postgres` of the same server, to create and drop databases.
    pub async fn connect_to_server(&self) -> Result<PgConnection> {
        let options = self.options.clone().database("postgres");
        options
            .connect()
            .await
            .context("connect to database postgres on the sample's server")
    }

    /// The state of the database with this name.
    pub async fn state(&self, conn: &mut PgConnection) -> Result<DatabaseState> {
        let comment: Option<String> = query_scalar(
            "SELECT COALESCE(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1",
        )
        .bind(&self.name)
        .fetch_optional(conn)
        .await
        .with_context(|| format!("look for database {}", self.name))?;
        Ok(match comment {
            None => DatabaseState::Missing,
            Some(comment) if comment.starts_with(MARK) => DatabaseState::Sample,
            Some(_) => DatabaseState::Foreign,
        })
    }

    /// Creates the database and marks it while it is empty, so that an unfinished sample can be dropped as well.
    pub async fn create(&self, server: &mut PgConnection) -> Result<()> {
        let name = quoted(&self.name);
        // only template0 allows UTF8 with any default encoding
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        raw_sql(AssertSqlSafe(create))
            .execute(&mut *server)
            .await
            .with_context(|| format!("create database {}", self.name))?;
        self.mark(server, None).await
    }

    /// The version of Chatwoot that the sample says it has.
    pub async fn version(&self, conn: &mut PgConnection) -> Result<Option<Version>> {
        let comment: Option<String> = query_scalar(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()",
        )
        .fetch_one(conn)
        .await
        .context("read the sample's version")?;
        Ok(comment.as_deref().and_then(version_of))
    }

    /// Marks a database as a sample. It may then be changed and dropped. With a version it is finished.
    pub async fn mark(&self, server: &mut PgConnection, version: Option<Version>) -> Result<()> {
        let version = version.map_or(String::new(), |version| format!("{OF_VERSION}{version}"));
        let mark = format!("COMMENT ON DATABASE {} IS '{MARK}{version}'", quoted(&self.name));
        raw_sql(AssertSqlSafe(mark))
            .execute(server)
            .await
            .with_context(|| format!("mark database {} as a sample", self.name))?;
        Ok(())
    }

    /// Whether the database contains no objects.
    pub async fn is_empty(&self) -> Result<bool> {
        let mut conn = self.connect().await?;
        query_scalar(
            "SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')",
        )
        .fetch_one(&mut conn)
        .await
        .with_context(|| format!("read the catalog of database {}", self.name))
    }

    /// Drops the database and ends its sessions. The caller has checked that it is a sample.
    pub async fn drop(&self, server: &mut PgConnection) -> Result<()> {
        let statement = format!("DROP DATABASE {} WITH (FORCE)", quoted(&self.name));
        raw_sql(AssertSqlSafe(statement))
            .execute(server)
            .await
            .with_context(|| format!("drop database {}", self.name))?;
        Ok(())
    }
}

/// Whether the database named in the URL exists and is a sample, finished or not.
pub async fn is_sample(url: &str) -> Result<bool> {
    let target = Target::parse(url)?;
    let mut server = target.connect_to_server().await?;
    Ok(matches!(target.state(&mut server).await?, DatabaseState::Sample))
}

/// Drops the sample named in the URL and ends its sessions. A missing database is not an error.
///
/// # Errors
/// When the database is not marked as a sample, or the server refuses.
pub async fn drop_sample(url: &str) -> Result<()> {
    let target = Target::parse(url)?;
    let mut server = target.connect_to_server().await?;
    match target.state(&mut server).await? {
        DatabaseState::Missing => Ok(()),
        DatabaseState::Sample => target.drop(&mut server).await,
        DatabaseState::Foreign => bail!(
            "database {} was not made by `sample create`: it is not dropped",
            target.name
        ),
    }
}

/// The version of Chatwoot in a sample's comment.
pub fn version_of(comment: &str) -> Option<Version> {
    comment.strip_prefix(MARK)?.strip_prefix(OF_VERSION)?.parse().ok()
}

/// Whether PostgreSQL ended a statement to end a deadlock.
pub fn is_deadlock(error: &anyhow::Error) -> bool {
    let code = error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(DatabaseError::code);
    code.as_deref() == Some("40P01")
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
