//! `tenant_login`: database logins that see one tenant. The login of the command creates, grants and drops them; where it may
//! not, nothing is changed and the statements for an administrator are returned.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgTransaction;
use sqlx::{AssertSqlSafe, FromRow, PgExecutor};
use tidemark_postgres::DbPool;
use tidemark_postgres::ident::quote;
use tidemark_postgres::sqlstate::sqlstate;
use tidemark_shared::audit::{Action, Actor};
use tidemark_shared::ids::TenantId;

use crate::audit::{self, Entry};
use crate::stored::Stored;
use crate::{Attempt, DbResult, statements};

/// Marks a login that has no tenant unless it is bound.
const MARK: &str = "bound_users";
const READERS: &str = "authenticated_users";
const WRITERS: &str = "enrichment_writer";

/// The settings of a login that is made here. It can change them; a limit of connections it cannot.
const SETTINGS: [&str; 2] = [
    "statement_timeout = '60s'",
    "idle_in_transaction_session_timeout = '5min'",
];
const CONNECTIONS: u32 = 20;

const INSUFFICIENT_PRIVILEGE: &str = "42501";
const DEPENDENT_OBJECTS: &str = "2BP01";

statements! {
    LIST = include_str!("tenant_login/list.sql");
    INSPECT = include_str!("tenant_login/inspect.sql");
    FIND = "SELECT tenant_id FROM tenant_login WHERE login = $1::name";
    INSERT = "INSERT INTO tenant_login (login, tenant_id, is_made, created_by) VALUES ($1::name, $2, $3, $4) \
              ON CONFLICT (login) DO NOTHING";
    DELETE = "DELETE FROM tenant_login WHERE login = $1::name RETURNING tenant_id, is_made";
    IS_MEMBER = "SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member JOIN pg_roles g ON g.oid = m.roleid \
                                WHERE u.rolname = $1 AND g.rolname = $2)";
    ACT_AS_LOGIN = "SET LOCAL ROLE NONE";
}

/// A login that is bound to a tenant. The field names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct TenantLogin {
    pub login: String,
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    /// The command has made it, and drops it.
    pub is_made: bool,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    /// It may write tables of the schema `enrichment`.
    pub writes_enrichment: bool,
    /// What does not fit on the server.
    pub problem: Option<String>,
}

/// A login of the server.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ServerLogin {
    pub can_log_in: bool,
    /// What it may do that a login of one tenant may not.
    pub powers: Vec<String>,
}

/// A login that is to be bound.
#[derive(Debug, Clone, Copy)]
pub struct NewLogin<'a> {
    pub name: &'a str,
    pub tenant: TenantId,
    pub writes_enrichment: bool,
    /// For a login that does not exist yet.
    pub verifier: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddAnswer {
    /// Whether the login is new on the server.
    Bound { is_made: bool },
    /// It is bound to another tenant.
    Taken(TenantId),
    /// Nothing was changed. An administrator runs these statements, and the command again.
    NotAllowed(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoveAnswer {
    Removed {
        tenant: TenantId,
        /// The login is gone from the server.
        is_dropped: bool,
    },
    /// No tenant has a login of this name.
    Unknown,
    /// Nothing was changed. An administrator runs these statements, and the command again.
    NotAllowed(Vec<String>),
}

/// All bound logins, or those of one tenant.
pub async fn list(db: impl PgExecutor<'_>, tenant: Option<TenantId>) -> DbResult<Vec<TenantLogin>> {
    sqlx::query_as(LIST)
        .bind(tenant.map(Stored))
        .fetch_all(db)
        .await
        .attempt("list the logins of tenants")
}

/// The server's login of this name.
pub async fn find_on_server(db: impl PgExecutor<'_>, name: &str) -> DbResult<Option<ServerLogin>> {
    sqlx::query_as(INSPECT)
        .bind(name)
        .fetch_optional(db)
        .await
        .attempt("find the login")
}

/// Binds a login to a tenant, in one transaction. A login that is not there is made with `verifier`. It has no tenant before
/// it is bound.
pub async fn add(db: &DbPool, actor: &Actor, new: NewLogin<'_>) -> DbResult<AddAnswer> {
    const ADD: &str = "bind the login";
    let mut tx = db.begin().await.attempt(ADD)?;
    let bound: Option<Stored<TenantId>> = sqlx::query_scalar(FIND)
        .bind(new.name)
        .fetch_optional(&mut *tx)
        .await
        .attempt(ADD)?;
    if let Some(Stored(other)) = bound
        && other != new.tenant
    {
        return Ok(AddAnswer::Taken(other));
    }
    let is_made = new.verifier.is_some();
    let login = quote(new.name);
    let mut statements = Vec::new();
    if is_made {
        statements.push(format!(
            "CREATE ROLE {login} LOGIN PASSWORD '…' CONNECTION LIMIT {CONNECTIONS};"
        ));
        let read_only = (!new.writes_enrichment).then_some("default_transaction_read_only = on");
        for setting in SETTINGS.into_iter().chain(read_only) {
            statements.push(format!("ALTER ROLE {login} SET {setting};"));
        }
    }
    // the mark comes first: a reader without it could set any tenant
    for group in [MARK, READERS]
        .into_iter()
        .chain(new.writes_enrichment.then_some(WRITERS))
    {
        if is_made || !is_member(&mut tx, new.name, group).await? {
            statements.push(format!("GRANT {group} TO {login};"));
        }
    }
    let as_login = statements.iter().map(|text| match new.verifier {
        Some(verifier) => text.replace('…', verifier),
        None => text.clone(),
    });
    if !run_as_login(&mut tx, as_login).await? {
        return Ok(AddAnswer::NotAllowed(statements));
    }
    sqlx::query(INSERT)
        .bind(new.name)
        .bind(Stored(new.tenant))
        .bind(is_made)
        .bind(actor.as_str())
        .execute(&mut *tx)
        .await
        .attempt(ADD)?;
    let entry = Entry::new(Action::LoginAdd)
        .tenant(new.tenant)
        .subject(format!("login {}", new.name))
        .after(json!({"is_made": is_made, "writes_enrichment": new.writes_enrichment}));
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt(ADD)?;
    Ok(AddAnswer::Bound { is_made })
}

/// Unbinds a login and takes its rights, in one transaction. A login that was made here is dropped, unless objects depend on
/// it. While it has rights it stays bound.
pub async fn remove(db: &DbPool, actor: &Actor, name: &str) -> DbResult<RemoveAnswer> {
    const REMOVE: &str = "remove the login";
    let mut tx = db.begin().await.attempt(REMOVE)?;
    let removed: Option<(Stored<TenantId>, bool)> = sqlx::query_as(DELETE)
        .bind(name)
        .fetch_optional(&mut *tx)
        .await
        .attempt(REMOVE)?;
    let Some((Stored(tenant), is_made)) = removed else {
        return Ok(RemoveAnswer::Unknown);
    };
    let login = quote(name);
    let mut statements = Vec::new();
    for group in [READERS, WRITERS, MARK] {
        if is_member(&mut tx, name, group).await? {
            statements.push(format!("REVOKE {group} FROM {login};"));
        }
    }
    let has_rights = !statements.is_empty();
    if has_rights {
        let is_allowed = run_as_login(&mut tx, statements.iter().cloned()).await?;
        // a REVOKE of somebody else's GRANT is only a warning
        let is_member = is_allowed && {
            let mut left = false;
            for group in [READERS, WRITERS, MARK] {
                left |= is_member(&mut tx, name, group).await?;
            }
            left
        };
        if !is_allowed || is_member {
            return Ok(RemoveAnswer::NotAllowed(statements));
        }
    }
    let exists = find_on_server(&mut *tx, name).await?.is_some();
    let is_dropped = exists && is_made && run_as_login(&mut tx, [format!("DROP ROLE {login}")]).await?;
    let entry = Entry::new(Action::LoginRemove)
        .tenant(tenant)
        .subject(format!("login {name}"))
        .before(json!({"is_made": is_made}))
        .after(json!({"is_dropped": is_dropped}));
    audit::record(&mut *tx, actor, &entry).await?;
    tx.commit().await.attempt(REMOVE)?;
    Ok(RemoveAnswer::Removed {
        tenant,
        is_dropped: is_dropped || !exists,
    })
}

async fn is_member(tx: &mut PgTransaction<'_>, login: &str, group: &str) -> DbResult<bool> {
    sqlx::query_scalar(IS_MEMBER)
        .bind(login)
        .bind(group)
        .fetch_one(&mut **tx)
        .await
        .attempt("read the groups of the login")
}

/// Runs statements with the rights of the login and not of the role that the pool acts as. `false`: the login may not, or the
/// role has objects, and nothing of it was done.
async fn run_as_login(
    tx: &mut PgTransaction<'_>,
    statements: impl IntoIterator<Item = String>,
) -> DbResult<bool> {
    use sqlx::Connection;
    const RUN: &str = "change the login on the server";
    let acting: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&mut **tx)
        .await
        .attempt(RUN)?;
    let mut part = tx.begin().await.attempt(RUN)?;
    sqlx::query(ACT_AS_LOGIN).execute(&mut *part).await.attempt(RUN)?;
    for statement in statements {
        match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *part).await {
            Ok(_) => {}
            Err(error)
                if matches!(
                    sqlstate(&error).as_deref(),
                    Some(INSUFFICIENT_PRIVILEGE | DEPENDENT_OBJECTS)
                ) =>
            {
                part.rollback().await.attempt(RUN)?;
                return Ok(false);
            }
            Err(error) => return Err(error).attempt(RUN),
        }
    }
    sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {}", quote(&acting))))
        .execute(&mut *part)
        .await
        .attempt(RUN)?;
    part.commit().await.attempt(RUN)?;
    Ok(true)
}
