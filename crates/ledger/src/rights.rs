//! What a login lacks before it may migrate: roles belong to the server, and not everybody may make them.

use sqlx::PgConnection;

use super::{Attempt, DbResult, statements};

statements! {
    // since PostgreSQL 16 CREATEROLE gives only what one has made oneself, and a member may not always become the role
    LACKING = "WITH me AS (SELECT *, current_setting('server_version_num')::integer >= 160000 AS is_16 \
                           FROM pg_roles WHERE rolname = current_user), \
                    wanted (position, role) AS (VALUES (1, 'etl_service'), (2, 'authenticated_users'), (3, 'admin_users')), \
                    lacking (position, statement) AS ( \
                        SELECT position, format('CREATE ROLE %I NOLOGIN;', role) FROM wanted, me \
                        WHERE NOT (rolsuper OR rolcreaterole) \
                          AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) \
                        UNION ALL \
                        SELECT 4, format('GRANT etl_service TO %I;', me.rolname) \
                        FROM me LEFT JOIN pg_roles r ON r.rolname = 'etl_service' \
                        WHERE NOT me.rolsuper AND CASE WHEN r.oid IS NULL THEN NOT me.rolcreaterole \
                            ELSE NOT pg_has_role(me.oid, r.oid, CASE WHEN is_16 THEN 'SET' ELSE 'MEMBER' END) \
                                 AND NOT pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION') \
                                 AND (is_16 OR NOT me.rolcreaterole) END \
                        UNION ALL \
                        SELECT 5, format('GRANT CREATE ON SCHEMA %I TO %I;', current_schema(), rolname) \
                        FROM me WHERE NOT has_schema_privilege(current_schema(), 'CREATE')) \
               SELECT statement FROM lacking ORDER BY position";
    FOREIGN_OWNER = "SELECT pg_get_userbyid(relowner)::text FROM pg_class \
                     WHERE oid = to_regclass('tenants') AND NOT pg_has_role(relowner, 'USAGE')";
}

/// The statements that an administrator has to run before this login may migrate; none when it may.
///
/// # Errors
/// When the database does not answer.
pub async fn lacking(connection: &mut PgConnection) -> DbResult<Vec<String>> {
    sqlx::query_scalar(LACKING)
        .fetch_all(connection)
        .await
        .attempt("read what this login may do")
}

/// Whose the tables are, when this login may not change them.
///
/// # Errors
/// When the database does not answer.
pub async fn foreign_owner(connection: &mut PgConnection) -> DbResult<Option<String>> {
    sqlx::query_scalar(FOREIGN_OWNER)
        .fetch_optional(connection)
        .await
        .attempt("read whose the tables are")
}
