//! Database logins that see one tenant, whatever SQL they send.

use secrecy::{ExposeSecret, SecretString};
use tidemark_ledger as ledger;
use tidemark_ledger::tenant_login::{AddAnswer, NewLogin, RemoveAnswer, TenantLogin};
use tidemark_postgres::DbPool;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::TenantId;

use crate::error::OperationResult;
use crate::refusal::{LoginNameFault, Refusal};
use crate::tenants;

/// PostgreSQL cuts a longer name silently.
const NAME_MAX: usize = 63;
/// As for users of the console.
const PASSWORD_MIN: usize = 12;

/// What to do with a login.
#[derive(Debug, Clone, Copy)]
pub struct LoginRequest<'a> {
    pub name: &'a str,
    pub tenant: TenantId,
    pub writes_enrichment: bool,
}

/// Whether the login has to be made, which takes a password. Fails when it may not be bound.
pub async fn is_new(db: &DbPool, request: LoginRequest<'_>) -> OperationResult<bool> {
    if let Some(fault) = name_fault(request.name) {
        return Err(Refusal::LoginName(fault).into());
    }
    tenants::load(db, request.tenant).await?;
    let Some(found) = ledger::tenant_login::find_on_server(db, request.name).await? else {
        return Ok(true);
    };
    if !found.powers.is_empty() {
        let refusal = Refusal::LoginHasPowers {
            login: request.name.to_owned(),
            powers: found.powers,
        };
        return Err(refusal.into());
    }
    if !found.can_log_in {
        return Err(Refusal::LoginMayNotLogIn(request.name.to_owned()).into());
    }
    Ok(false)
}

fn name_fault(name: &str) -> Option<LoginNameFault> {
    Some(match name {
        "" => LoginNameFault::Empty,
        name if name.len() > NAME_MAX => LoginNameFault::Long,
        name if name.chars().any(char::is_control) => LoginNameFault::Control,
        name if name.starts_with("pg_") => LoginNameFault::Reserved,
        "public" | "none" | "session_user" | "current_user" | "current_role" => LoginNameFault::Keyword,
        _ => return None,
    })
}

/// Makes the login if `password` is given, and binds it. Returns whether it was made.
///
/// # Errors
/// [`Refusal::LoginNeedsAdministrator`] with the statements for an administrator, when the login of this command may not do so.
pub async fn add(
    db: &DbPool,
    actor: &Actor,
    request: LoginRequest<'_>,
    password: Option<&SecretString>,
) -> OperationResult<bool> {
    let verifier = match password {
        Some(password) => Some(verifier(password)?),
        None => None,
    };
    let new = NewLogin {
        name: request.name,
        tenant: request.tenant,
        writes_enrichment: request.writes_enrichment,
        verifier: verifier.as_ref().map(ExposeSecret::expose_secret),
    };
    match ledger::tenant_login::add(db, actor, new).await? {
        AddAnswer::Bound { is_made } => Ok(is_made),
        AddAnswer::Taken(tenant) => Err(Refusal::LoginTaken {
            login: request.name.to_owned(),
            tenant,
        }
        .into()),
        AddAnswer::NotAllowed(statements) => Err(Refusal::LoginNeedsAdministrator {
            adds: true,
            statements,
        }
        .into()),
    }
}

/// The SCRAM verifier of a password. The server gets no password, so no log of statements has one.
fn verifier(password: &SecretString) -> OperationResult<SecretString> {
    let text = password.expose_secret();
    if text.chars().count() < PASSWORD_MIN {
        return Err(Refusal::PasswordShort(PASSWORD_MIN).into());
    }
    if text.contains('\0') {
        return Err(Refusal::PasswordHasNul.into());
    }
    Ok(postgres_protocol::password::scram_sha_256(text.as_bytes()).into())
}

/// All bound logins, or those of one tenant.
pub async fn list(db: &DbPool, tenant: Option<TenantId>) -> OperationResult<Vec<TenantLogin>> {
    if let Some(tenant) = tenant {
        tenants::load(db, tenant).await?;
    }
    Ok(ledger::tenant_login::list(db, tenant).await?)
}

/// Unbinds a login, takes its rights, and drops it if it was made by [`add`]. Returns whether it is gone from the server.
///
/// # Errors
/// [`Refusal::LoginNeedsAdministrator`] with the statements for an administrator, when the login of this command may not do so.
pub async fn remove(db: &DbPool, actor: &Actor, name: &str) -> OperationResult<bool> {
    match ledger::tenant_login::remove(db, actor, name).await? {
        RemoveAnswer::Removed { is_dropped, .. } => Ok(is_dropped),
        RemoveAnswer::Unknown => Err(Refusal::UnknownLogin(name.to_owned()).into()),
        RemoveAnswer::NotAllowed(statements) => Err(Refusal::LoginNeedsAdministrator {
            adds: false,
            statements,
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_something_else_is_refused() {
        for name in ["", "pg_read_all_data", "public", "none", "a\nb", &"x".repeat(64)] {
            assert!(name_fault(name).is_some(), "{name}");
        }
        for name in ["isaac", "São Paulo", "a\"b;c", "Ana'); DROP TABLE x; --"] {
            assert_eq!(name_fault(name), None);
        }
    }

    #[test]
    fn the_server_gets_a_verifier_and_no_password() {
        let password = SecretString::from("correct horse battery");
        let made = verifier(&password).unwrap();
        assert!(made.expose_secret().starts_with("SCRAM-SHA-256$4096:"));
        assert!(verifier(&SecretString::from("short")).is_err());
    }
}
