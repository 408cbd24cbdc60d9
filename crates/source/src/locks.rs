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

use super::shape::Shape;
use super::tables::table_names;
use tidemark_postgres::ident::RelationName;

/// A hash of the columns of these tables, for the parameter with their names. Every transaction reads it: with the LATERAL
/// PostgreSQL looks each table up by index and does not read the whole catalog.
macro_rules! layout {
    ($names:literal) => {
        concat!(
            "SELECT hash_numeric_extended(coalesce(sum(hashoidextended(a.attrelid, hashoidextended(a.atttypid, \
                    hashint2extended(a.attnum, hashnameextended(a.attname, 0))))), 0), 0) \
             FROM (SELECT to_regclass(quote_ident(name)) AS relation FROM unnest(",
            $names,
            "::text[]) AS n (name) OFFSET 0) n CROSS JOIN LATERAL ( \
                 SELECT a.* FROM pg_attribute a \
                 WHERE a.attrelid = n.relation AND a.attnum > 0 AND NOT a.attisdropped OFFSET 0) a"
        )
    };
}
pub(super) use layout;

const LAYOUT: &str = layout!("$1");
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Statements over Chatwoot's tables join them in the order in which they are found by key. To look for a better order among
/// fifteen takes longer than to read a hundred conversations.
const KEEP_JOIN_ORDER: &str = "SET LOCAL join_collapse_limit = 1";
/// A materialized view or foreign table cannot be locked, nor can a table with rights on single columns only.
const LOCKABLE: &str = "SELECT w.name, c.relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT') \
     FROM unnest($1::text[]) AS w (name) JOIN pg_class c ON c.oid = to_regclass(w.name) \
     WHERE has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')";

/// How the statements of a transaction read conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// From one to all: each execution is planned for its values. After a few executions PostgreSQL would otherwise
    /// reuse a generic plan, which assumes arrays of ten.
    Any,
    /// By key, up to hundreds at a time, of a tenant with so many inboxes. Where indexes find the keys and inboxes are few, a
    /// generic plan fits, and is made once a session. To plan for the values takes a fifth of the time of reading 500
    /// conversations, and longer than to read three.
    Keys { inboxes: usize },
}

impl Reads {
    /// A generic plan compares each row with these inboxes one after the other; a plan for the values looks them up.
    const FEW_INBOXES: usize = 100;

    /// `shape` is the last one that is known.
    pub(super) fn plans(self, shape: Option<&Shape>) -> Plans {
        match (self, shape) {
            (Self::Any, _) => Plans::OfValues,
            (Self::Keys { inboxes }, Some(Shape::Tables(tables)))
                if inboxes <= Self::FEW_INBOXES && tables.finds_by_key() =>
            {
                Plans::Generic
            }
            // what is behind a view is not known
            (Self::Keys { .. }, _) => Plans::OfKeys,
        }
    }
}

/// How PostgreSQL plans the statements of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plans {
    /// Once a session.
    Generic,
    /// For the values of each execution.
    OfValues,
    /// The same, for hundreds of keys.
    OfKeys,
}

impl Plans {
    /// PostgreSQL's `plan_cache_mode`.
    pub const fn cache_mode(self) -> &'static str {
        match self {
            Self::Generic => "force_generic_plan",
            Self::OfValues | Self::OfKeys => "force_custom_plan",
        }
    }
}

/// With the default of 4 PostgreSQL reads all of 40,000 contacts for each 500 conversations.
const PREFER_INDEXES: &str = "SET LOCAL random_page_cost = 1.1";

/// The relations that a transaction locks first, and those that cannot be locked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockPlan {
    locked: Vec<String>,
    /// Reading locks them too, but after the snapshot: the caller checks for a rewrite in between.
    pub not_lockable: Vec<String>,
    /// The tables whose layout each transaction reads; none in `view` mode.
    pub tables: Vec<&'static str>,
    /// The layout for which relations were dropped; `None`: none was.
    narrowed_at: Option<i64>,
}

impl LockPlan {
    /// All statements in one message, for one round trip. After a failed read the session rolls back to the savepoint and
    /// keeps the locks.
    pub fn begin(&self, plans: Plans) -> String {
        let mut statements = vec![BEGIN.to_owned()];
        if !self.tables.is_empty() {
            statements.push(KEEP_JOIN_ORDER.to_owned());
            if plans == Plans::OfKeys {
                statements.push(PREFER_INDEXES.to_owned());
            }
        }
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

/// The lock plan of one source. It starts with every relation, and drops those that the source refuses to lock or does not
/// have. When the tables were changed it starts again, since a table that has appeared must be locked too.
#[derive(Debug)]
pub(super) struct TableLocks {
    plan: RwLock<Arc<LockPlan>>,
    view: Option<String>,
}

impl TableLocks {
    /// Locks the tables, or in `view` mode the view, which locks its tables as well.
    pub fn new(view: Option<&RelationName>) -> Self {
        let view = view.map(RelationName::to_string);
        Self {
            plan: RwLock::new(Arc::new(whole(view.as_ref()))),
            view,
        }
    }

    /// Whether a transaction that began with this plan has locked all that it can. Otherwise the tables were changed since
    /// relations were dropped from the plan, and the next plan has all of them again.
    pub fn is_complete(&self, plan: &LockPlan, layout: i64) -> bool {
        if plan.narrowed_at.is_none_or(|at| at == layout) {
            return true;
        }
        self.set(whole(self.view.as_ref()));
        false
    }

    fn set(&self, plan: LockPlan) {
        let mut current = self
            .plan
            .write()
            .expect("no code panics while it holds the lock plan");
        *current = Arc::new(plan);
    }

    pub fn current(&self) -> Arc<LockPlan> {
        let plan = self
            .plan
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
        // before the relations: what changes in between makes the plan start again
        let layout: i64 = sqlx::query_scalar(LAYOUT)
            .bind(&refused.tables)
            .fetch_one(&mut *connection)
            .await?;
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
            tables: refused.tables.clone(),
            narrowed_at: Some(layout),
        };
        if plan.locked == refused.locked && plan.not_lockable == refused.not_lockable {
            // the refusal concerns a table behind a view, of which the login may read only some columns
            plan.not_lockable.append(&mut plan.locked);
        }
        self.set(plan);
        Ok(true)
    }
}

/// The plan that locks everything.
fn whole(view: Option<&String>) -> LockPlan {
    let tables = if view.is_some() { Vec::new() } else { table_names() };
    LockPlan {
        locked: match view {
            Some(view) => vec![view.clone()],
            None => tables.iter().map(|table| (*table).to_owned()).collect(),
        },
        not_lockable: Vec::new(),
        tables,
        narrowed_at: None,
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
            tables: vec!["conversations", "messages", "users"],
            narrowed_at: None,
        };
        assert_eq!(
            plan.begin(Plans::OfValues),
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL join_collapse_limit = 1; \
             LOCK TABLE conversations, messages IN ACCESS SHARE MODE NOWAIT; \
             SELECT FROM users LIMIT 0; SAVEPOINT begun"
        );
    }
}
