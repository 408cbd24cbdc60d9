//! Whether a dump by a member of `admin_users` has every row.
//!
//! A login that row-level security binds dumps what the policies show to it, and is not told what they hide. So the backup
//! reads as `admin_users`, whose policies show all rows of all tables.

use sqlx::PgConnection;
use tidemark_runtime::finding::BackupFault;

use crate::statements;
use crate::tables::TABLES;

statements! {
    FIND_HIDDEN = include_str!("backup/find_hidden.sql");
}

/// A table whose rows a dump would lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub problem: BackupFault,
    pub fix: String,
}

/// The tables that members of `admin_users` do not read whole.
pub async fn find_hidden(connection: &mut PgConnection) -> Result<Vec<Hidden>, sqlx::Error> {
    let found: Vec<(String, Vec<String>, String)> = sqlx::query_as(FIND_HIDDEN)
        .bind(TABLES)
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let hidden = found.into_iter().map(|(fault, names, fix)| Hidden {
        problem: BackupFault::of_case(&fault, names).expect("the statement knows the cases and their names"),
        fix,
    });
    Ok(hidden.collect())
}
