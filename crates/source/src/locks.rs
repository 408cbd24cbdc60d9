//! Locks on the tables, taken before the snapshot.
//!
//! A transaction that rewrites a table (`ALTER TABLE … TYPE`, `TRUNCATE` and a refill) makes the table look empty to every
//! snapshot taken before its commit. A reader waits for the table's lock and then sees no rows. So the locks come first, and
//! the snapshot is newer than the last rewrite.
//!
//! The locks are taken with NOWAIT. A session that waits for one table while it holds another can deadlock with a migration
//! of the source, and PostgreSQL might cancel the migration.

use std::sync::{Arc, RwLock};

use sqlx::PgConnection;

use super::tables::TABLES;
use tidemark_postgres::ident::RelationName;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// A materialized view or foreign table cannot be locked, nor can a table with rights on single columns only.
const LOCKABLE: &str = "SELECT w.name, c.relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT') \
     FROM unnest($1::text[]) AS w (name) JOIN pg_class c ON c.oid = to_regclass(w.name) \
     WHERE has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')";

/// The relations that a transaction locks first, and those that cannot be locked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockPlan {
    locked: Vec<String>,
    /// Reading locks them too, but after the snapshot: the caller checks for a rewrite in between.
    pub not_lockable: Vec<String>,
}

impl LockPlan {
    /// All statements in one message, for one round trip. After a failed read the session rolls back to the savepoint and
    /// keeps the locks.
    pub fn begin(&self) -> String {
        let mut statements = vec![BEGIN.to_owned()];
        if !self.locked.is_empty() {
            statements.push(format!(
                "LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT",
                self.locked.join(", ")
            ));
        }
        statements.extend(
            self.not_lockable
                .iter()
                .map(|relation| format!("SELECT FROM {relation} LIMIT 0")),
        );
        statements.push("SAVEPOINT begun".to_owned());
        statements.join("; ")
    }
}

/// The lock plan of one source. It starts with every relation, and drops those that the source refuses to lock.
#[derive(Debug)]
pub(super) struct TableLocks(RwLock<Arc<LockPlan>>);

impl TableLocks {
    /// Locks the tables, or in `view` mode the view, which locks its tables as well.
    pub fn new(view: Option<&RelationName>) -> Self {
        let locked = match view {
            None => TABLES.iter().map(|(table, _)| (*table).to_owned()).collect(),
            Some(view) => vec![view.to_string()],
        };
        Self(RwLock::new(Arc::new(LockPlan {
            locked,
            not_lockable: Vec::new(),
        })))
    }

    pub fn current(&self) -> Arc<LockPlan> {
        let plan = self
            .0
            .read()
            .expect("no code panics while it holds the lock plan");
        Arc::clone(&plan)
    }

    /// Removes the relations that cannot be locked from the plan; `false` when none is left to remove. A relation that does
    /// not exist is dropped: the statement that reads it reports the error.
    pub async fn narrow(
        &self,
        refused: &LockPlan,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        if refused.locked.is_empty() {
            return Ok(false);
        }
        let found: Vec<(String, bool)> = sqlx::query_as(LOCKABLE)
            .bind([refused.locked.as_slice(), refused.not_lockable.as_slice()].concat())
            .fetch_all(connection)
            .await?;
        let names = |lockable: bool| {
            found
                .iter()
                .filter(move |(_, is_lockable)| *is_lockable == lockable)
                .map(|(name, _)| name.clone())
        };
        let mut plan = LockPlan {
            locked: names(true).collect(),
            not_lockable: names(false).collect(),
        };
        if plan == *refused {
            // the refusal concerns a table behind a view, of which the login may read only some columns
            plan.not_lockable.append(&mut plan.locked);
        }
        let mut current = self
            .0
            .write()
            .expect("no code panics while it holds the lock plan");
        *current = Arc::new(plan);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_locked_without_waiting_before_anything_is_read() {
        let plan = LockPlan {
            locked: vec!["conversations".into(), "messages".into()],
            not_lockable: vec!["users".into()],
        };
        assert_eq!(
            plan.begin(),
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             LOCK TABLE conversations, messages IN ACCESS SHARE MODE NOWAIT; \
             SELECT FROM users LIMIT 0; SAVEPOINT begun"
        );
    }
}
