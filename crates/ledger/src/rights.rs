//! Rights that a login needs to migrate. Roles belong to the server, and not every login may create them.

use sqlx::PgConnection;

use crate::{Attempt, DbResult, statements};

statements! {
    LIST_MISSING = include_str!("rights/list_missing.sql");
    FOREIGN_OWNER = "SELECT pg_get_userbyid(relowner)::text FROM pg_class \
                     WHERE oid = to_regclass('tenants') AND NOT pg_has_role(relowner, 'USAGE')";
}

/// The statements that an administrator must run before this login may migrate; empty when it may.
pub async fn list_missing(connection: &mut PgConnection) -> DbResult<Vec<String>> {
    sqlx::query_scalar(LIST_MISSING)
        .fetch_all(connection)
        .await
        .attempt("read the rights of this login")
}

/// The owner of the tables, when this login may not change them.
pub async fn foreign_owner(connection: &mut PgConnection) -> DbResult<Option<String>> {
    sqlx::query_scalar(FOREIGN_OWNER)
        .fetch_optional(connection)
        .await
        .attempt("read the owner of the tables")
}
