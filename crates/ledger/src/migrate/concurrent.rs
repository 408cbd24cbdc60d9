//! Indexes that are made and dropped beside everybody.
//!
//! PostgreSQL makes no index of a partitioned table CONCURRENTLY. There the index of the table is made empty, which takes no
//! time, then one of each partition CONCURRENTLY, and each is attached. The last one makes the index valid. What is there
//! already is left as it is, so this goes on where it was stopped.

use sqlx::{AssertSqlSafe, FromRow, PgConnection, raw_sql};

use super::waiting::{Outcome, Watched};
use crate::statements;

statements! {
    LIST_PARTITIONS = include_str!("list_partitions.sql");
    IS_PARTITIONED = "SELECT coalesce((SELECT relkind IN ('p', 'I') FROM pg_class WHERE oid = to_regclass($1)), false)";
    IS_INVALID = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)";
}

/// An index that is made CONCURRENTLY waits for the transactions of the moment, and nobody waits for it.
const PATIENT: &str = "SET lock_timeout = '30min'; SET statement_timeout = 0";

/// The one statement of a migration that is no transaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement<'a> {
    Create(Create<'a>),
    /// The name of the index.
    Drop(&'a str),
}

/// `CREATE [UNIQUE] INDEX CONCURRENTLY IF NOT EXISTS name ON table (columns) …`
#[derive(Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// `CREATE INDEX` or `CREATE UNIQUE INDEX`
    verb: &'a str,
    name: &'a str,
    table: &'a str,
    /// From the columns on.
    rest: &'a str,
}

/// The next word of a text, and what follows.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(|letter: char| letter.is_whitespace() || letter == '(')?;
    Some((&text[..end], &text[end..]))
}

impl<'a> Statement<'a> {
    /// Reads a migration; `None` if it is another statement. Comments stand before the statement alone.
    #[must_use]
    pub fn read(sql: &'a str) -> Option<Self> {
        let mut text = sql.trim();
        while text.starts_with("--") {
            text = text.split_once('\n')?.1.trim_start();
        }
        let text = text.trim_end_matches([';', '\n', ' ']);
        if let Some(name) = text.strip_prefix("DROP INDEX CONCURRENTLY IF EXISTS ") {
            return Some(Self::Drop(name.trim()));
        }
        let (verb, after) = text.split_once(" CONCURRENTLY IF NOT EXISTS")?;
        let (name, after) = word(after)?;
        let (on, after) = word(after)?;
        let (table, rest) = word(after)?;
        let is_create = ["CREATE INDEX", "CREATE UNIQUE INDEX"].contains(&verb) && on == "ON";
        is_create.then_some(Self::Create(Create {
            verb,
            name,
            table,
            rest,
        }))
    }

    /// Whether the table has partitions, so that PostgreSQL does not do it CONCURRENTLY.
    pub async fn is_of_partitions(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let relation = match self {
            Self::Create(create) => create.table,
            Self::Drop(name) => name,
        };
        sqlx::query_scalar(IS_PARTITIONED)
            .bind(relation)
            .fetch_one(connection)
            .await
    }

    /// Prepares what PostgreSQL does CONCURRENTLY by itself. An index that is not complete serves no query, and `IF NOT EXISTS`
    /// would leave it at that.
    pub async fn prepare(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        raw_sql(PATIENT).execute(&mut *connection).await?;
        match self {
            Self::Create(create) => drop_invalid(connection, create.name).await,
            Self::Drop(_) => Ok(()),
        }
    }

    /// Does the same on a table with partitions.
    pub async fn on_partitions(
        &self,
        connection: &mut PgConnection,
        watched: &mut Watched<'_>,
    ) -> Result<Outcome, sqlx::Error> {
        match self {
            Self::Create(create) => create.on_partitions(connection, watched).await,
            Self::Drop(name) => {
                let drop = format!("DROP INDEX IF EXISTS {name}");
                watched.execute(connection, drop).await
            }
        }
    }
}

/// A partition, or the table itself, as names that SQL takes.
#[derive(Debug, FromRow)]
struct Partition {
    relation: String,
    /// Has rows, and no partitions of its own.
    is_leaf: bool,
    /// Its part of the index, whether it exists or not.
    index: String,
    index_exists: bool,
    /// The index that this one is attached to in the end; `None` for the table itself.
    parent_index: Option<String>,
    is_attached: bool,
}

impl Create<'_> {
    async fn on_partitions(
        &self,
        connection: &mut PgConnection,
        watched: &mut Watched<'_>,
    ) -> Result<Outcome, sqlx::Error> {
        let Self { verb, rest, .. } = self;
        let statement = |part: &Partition, how: &str, only: &str| {
            let Partition { relation, index, .. } = part;
            format!("{verb} {how} IF NOT EXISTS {index} ON {only} {relation} {rest}")
        };
        // from the table down
        for part in self.parts(connection).await? {
            if !part.is_leaf && !part.index_exists {
                let empty = statement(&part, "", "ONLY");
                if watched.execute(connection, empty).await? == Outcome::Locked {
                    return Ok(Outcome::Locked);
                }
            }
        }
        for part in self.parts(connection).await? {
            if part.is_leaf && !part.is_attached {
                raw_sql(PATIENT).execute(&mut *connection).await?;
                drop_invalid(connection, &part.index).await?;
                let whole = statement(&part, "CONCURRENTLY", "");
                raw_sql(AssertSqlSafe(whole)).execute(&mut *connection).await?;
            }
        }
        for part in self.parts(connection).await?.iter().rev() {
            if let (false, Some(parent)) = (part.is_attached, &part.parent_index) {
                let attach = format!("ALTER INDEX {parent} ATTACH PARTITION {}", part.index);
                if watched.execute(connection, attach).await? == Outcome::Locked {
                    return Ok(Outcome::Locked);
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// The table and its partitions, from the top down.
    async fn parts(&self, connection: &mut PgConnection) -> Result<Vec<Partition>, sqlx::Error> {
        sqlx::query_as(LIST_PARTITIONS)
            .bind(self.table)
            .bind(self.name)
            .fetch_all(connection)
            .await
    }
}

async fn drop_invalid(connection: &mut PgConnection, index: &str) -> Result<(), sqlx::Error> {
    let is_invalid: bool = sqlx::query_scalar(IS_INVALID)
        .bind(index)
        .fetch_one(&mut *connection)
        .await?;
    if is_invalid {
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {index}");
        raw_sql(AssertSqlSafe(drop)).execute(connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_of_a_migration_is_read_from_its_text() {
        let sql = "-- no-transaction\n-- CREATE INDEX CONCURRENTLY IF NOT EXISTS not_this ON\n\
                   CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS\n    one_idx ON etl_chunk(run_id)\n  WHERE seq = 1;\n";
        let expected = Create {
            verb: "CREATE UNIQUE INDEX",
            name: "one_idx",
            table: "etl_chunk",
            rest: "(run_id)\n  WHERE seq = 1",
        };
        assert_eq!(Statement::read(sql), Some(Statement::Create(expected)));
        let drop = "-- no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS one_idx;\n";
        assert_eq!(Statement::read(drop), Some(Statement::Drop("one_idx")));
        assert_eq!(
            Statement::read("CREATE INDEX one_idx ON etl_chunk (run_id);"),
            None
        );
    }

    #[test]
    fn every_migration_without_a_transaction_has_a_statement_that_is_read() {
        let alone = crate::MIGRATOR.iter().filter(|one| one.no_tx);
        for one in alone {
            assert!(Statement::read(one.sql.as_str()).is_some(), "{}", one.version);
        }
    }
}
