//! The migrations of this build, and those of a database.
//!
//! A release and the next one run side by side, on the tables of either (`migrations/README.md`). The line `works from` at
//! the head of a migration names the oldest release that works with its tables, by a migration which that release has built
//! in. `etl_migration` keeps it, where releases find it that do not know the migration.

use sqlx::migrate::{Migration, Migrator};
use sqlx::{FromRow, PgConnection};

use crate::statements;
use crate::tables::{FUNCTIONS, TABLES, TYPES, VIEWS};

statements! {
    LIST_IN_THE_WAY = include_str!("migrations/list_in_the_way.sql");
    LIST_APPLIED = "SELECT applied.version, mark.works_from \
                    FROM _sqlx_migrations applied LEFT JOIN etl_migration mark USING (version) \
                    WHERE applied.success ORDER BY applied.version";
    // a database of a release without marks
    LIST_UNMARKED = "SELECT version, NULL::bigint AS works_from FROM _sqlx_migrations WHERE success ORDER BY version";
    TABLES_OF_MIGRATIONS = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL, to_regclass('etl_migration') IS NOT NULL";
}

/// Every migration of the ledger and the target, newest last.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Migrations of builds between two releases, which later ones replace. A database may have them: nobody asks for them, and
/// their replacements begin from the tables with them as from those without. They are not changed nor reverted.
///
/// `widen_conversation_dates` made its indexes in a transaction, while loads waited.
pub const WITHDRAWN: [i64; 1] = [20_261_129_224_700];

/// A migration of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Applied {
    pub version: i64,
    /// Releases with this migration or a newer one work with the tables. `None`: only those that have the migration itself.
    pub works_from: Option<i64>,
}

/// Applied migrations, oldest first; none when the table of migrations is missing.
///
/// # Errors
/// When the query fails for another reason.
pub async fn applied_migrations(connection: &mut PgConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let (exists, has_marks): (bool, bool) = sqlx::query_as(TABLES_OF_MIGRATIONS)
        .fetch_one(&mut *connection)
        .await?;
    let list = match (exists, has_marks) {
        (false, _) => return Ok(Vec::new()),
        (true, false) => LIST_UNMARKED,
        (true, true) => LIST_APPLIED,
    };
    let mut applied: Vec<Applied> = sqlx::query_as(list).fetch_all(connection).await?;
    applied.retain(|one| !WITHDRAWN.contains(&one.version));
    Ok(applied)
}

/// Objects of somebody else that the first migrations would meet.
#[derive(Debug, Default)]
pub struct InTheWay {
    pub names: Vec<String>,
    /// Move them to the schema `legacy`, in this order.
    pub statements: Vec<String>,
}

/// Existing objects with names that the migrations need, in the schema where they create theirs.
pub async fn objects_in_the_way(connection: &mut PgConnection) -> Result<InTheWay, sqlx::Error> {
    let relations: Vec<&str> = TABLES.iter().chain(&VIEWS).copied().collect();
    let steps: Vec<(Option<String>, String)> = sqlx::query_as(LIST_IN_THE_WAY)
        .bind(relations)
        .bind(TYPES)
        .bind(FUNCTIONS)
        .fetch_all(connection)
        .await?;
    let mut found = InTheWay::default();
    for (name, statement) in steps {
        found.names.extend(name);
        found.statements.push(statement);
    }
    Ok(found)
}

/// A database's migrations compared with those of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// There are so many that this build does not know, and it works with all of them.
    Newer(usize),
    /// Some are missing.
    Behind,
    /// This build does not know this migration, and does not work with it.
    TooNew(i64),
}

impl Schema {
    /// Whether processes of the build work with the tables.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Current | Self::Newer(_))
    }
}

/// Compares the applied migrations with this build.
#[must_use]
pub fn schema(applied: &[Applied]) -> Schema {
    compare(&MIGRATOR, applied)
}

/// [`schema`] for the migrations of another build.
#[must_use]
pub fn compare(migrator: &Migrator, applied: &[Applied]) -> Schema {
    let newest = newest(migrator);
    let unknown: Vec<&Applied> = applied
        .iter()
        .filter(|one| !migrator.version_exists(one.version))
        .collect();
    let is_beyond = |one: &&&Applied| one.works_from.is_none_or(|from| from > newest);
    if let Some(one) = unknown.iter().find(is_beyond) {
        return Schema::TooNew(one.version);
    }
    let is_missing = |one: &Migration| applied.iter().all(|applied| applied.version != one.version);
    if ups(migrator).any(is_missing) {
        Schema::Behind
    } else if unknown.is_empty() {
        Schema::Current
    } else {
        Schema::Newer(unknown.len())
    }
}

/// The migrations of a build, without their way back.
pub fn ups(migrator: &Migrator) -> impl Iterator<Item = &Migration> {
    migrator.iter().filter(|one| one.migration_type.is_up_migration())
}

/// The version of the newest migration of a build.
#[must_use]
pub fn newest(migrator: &Migrator) -> i64 {
    ups(migrator).map(|one| one.version).max().unwrap_or(0)
}

/// The mark of a migration: its line `-- works from: VERSION`.
#[must_use]
pub fn works_from(sql: &str) -> Option<i64> {
    sql.lines()
        .find_map(|line| line.strip_prefix("-- works from: "))
        .and_then(|version| version.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr;
    use sqlx::migrate::MigrationType;

    use super::*;

    fn build(versions: &[i64]) -> Migrator {
        let one = |version: &i64| {
            let sql = "SELECT 1".into_sql_str();
            Migration::new(*version, "one".into(), MigrationType::ReversibleUp, sql, false)
        };
        Migrator::with_migrations(versions.iter().map(one).collect())
    }

    fn applied(list: &[(i64, Option<i64>)]) -> Vec<Applied> {
        let one = |&(version, works_from): &_| Applied { version, works_from };
        list.iter().map(one).collect()
    }

    #[test]
    fn a_build_works_with_later_migrations_that_say_so() {
        let ours = build(&[1, 2]);
        let with = |later: &[(i64, Option<i64>)]| {
            let all = [&[(1, None), (2, Some(1))], later].concat();
            compare(&ours, &applied(&all))
        };
        assert_eq!(with(&[]), Schema::Current);
        assert_eq!(with(&[(3, Some(1)), (4, Some(2))]), Schema::Newer(2));
        // 4 removes what releases before 3 use
        assert_eq!(with(&[(3, Some(2)), (4, Some(3))]), Schema::TooNew(4));
        assert_eq!(with(&[(3, None)]), Schema::TooNew(3));
        assert_eq!(
            compare(&ours, &applied(&[(1, None), (3, Some(1))])),
            Schema::Behind
        );
        assert_eq!(
            compare(&ours, &applied(&[(1, None), (3, None)])),
            Schema::TooNew(3)
        );
        assert_eq!(compare(&ours, &[]), Schema::Behind);
    }

    #[test]
    fn the_mark_is_a_line_of_its_own() {
        assert_eq!(
            works_from("-- Adds a column.\n-- works from: 20261130\nALTER"),
            Some(20_261_130)
        );
        assert_eq!(works_from("-- it works from: 3\nSELECT 1"), None);
        assert_eq!(works_from("-- works from: the next\nSELECT 1"), None);
    }
}
