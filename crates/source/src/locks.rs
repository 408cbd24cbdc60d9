//! Locking what is read before the snapshot is taken.
//!
//! A transaction that rewrites a table (`ALTER TABLE … TYPE`, `TRUNCATE` and a refill) makes it look empty to every snapshot
//! from before its end. PostgreSQL lets a reader wait for the table's lock and then shows it nothing. So the locks come
//! first, and the snapshot is younger than the last rewrite.
//!
//! The locks are taken with NOWAIT: a session that waits for one table while it holds another could end in a deadlock
//! with a migration of the source, and PostgreSQL might cancel the migration.

use std::sync::{Arc, RwLock};

use sqlx::PgConnection;

use super::tables::TABLES;
use tidemark_postgres::ident::RelationName;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// A materialized or foreign table cannot be locked, nor can a table of which only columns may be read.
const LOCKABLE: &str = "SELECT w.name, c.relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT') \
     FROM unnest($1::text[]) AS w (name) JOIN pg_class c ON c.oid = to_regclass(w.name) \
     WHERE has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')";

/// Which relations are locked at the beginning of a transaction, and which can only be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockPlan {
    locked: Vec<String>,
    /// Reading takes the lock, but after the snapshot: a rewrite in between is looked for.
    pub read: Vec<String>,
}

impl LockPlan {
    /// One message, so one round trip. A statement that cannot read a row goes back to the savepoint and keeps the locks.
    pub fn begin(&self) -> String {
        let mut statements = vec![BEGIN.to_owned()];
        if !self.locked.is_empty() {
            statements.push(format!(
                "LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT",
                self.locked.join(", ")
            ));
        }
        statements.extend(
            self.read
                .iter()
                .map(|relation| format!("SELECT FROM {relation} LIMIT 0")),
        );
        statements.push("SAVEPOINT begun".to_owned());
        statements.join("; ")
    }
}

/// The plan of one source. It starts with everything locked and is narrowed when the source refuses that.
#[derive(Debug)]
pub(super) struct TableLocks(RwLock<Arc<LockPlan>>);

impl TableLocks {
    /// For the tables, or for the view where the source is read through one; a view's tables are locked with it.
    pub fn new(view: Option<&RelationName>) -> Self {
        let locked = match view {
            None => TABLES.iter().map(|(table, _)| (*table).to_owned()).collect(),
            Some(view) => vec![view.to_string()],
        };
        Self(RwLock::new(Arc::new(LockPlan {
            locked,
            read: Vec::new(),
        })))
    }

    pub fn current(&self) -> Arc<LockPlan> {
        let plan = self
            .0
            .read()
            .expect("nobody panics while it holds the plan of locks");
        Arc::clone(&plan)
    }

    /// Plans without what cannot be locked; `false` when nothing is left to change. A relation that does not exist is left
    /// out: the statement that reads it says so.
    ///
    /// # Errors
    /// When the source does not answer.
    pub async fn narrow(
        &self,
        refused: &LockPlan,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        if refused.locked.is_empty() {
            return Ok(false);
        }
        let found: Vec<(String, bool)> = sqlx::query_as(LOCKABLE)
            .bind([refused.locked.as_slice(), refused.read.as_slice()].concat())
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
            read: names(false).collect(),
        };
        if plan == *refused {
            // what hinders is behind a relation: a view whose tables the login may read in part
            plan.read.append(&mut plan.locked);
        }
        let mut current = self
            .0
            .write()
            .expect("nobody panics while it holds the plan of locks");
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
            read: vec!["users".into()],
        };
        assert_eq!(
            plan.begin(),
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             LOCK TABLE conversations, messages IN ACCESS SHARE MODE NOWAIT; \
             SELECT FROM users LIMIT 0; SAVEPOINT begun"
        );
    }
}
