//! A person or program that asks, its role, and its tenants.

use std::collections::BTreeSet;

use tidemark_ledger::console::token::ConsoleToken;
use tidemark_ledger::console::user::ConsoleUser;
use tidemark_shared::audit::Actor;
use tidemark_shared::ids::TenantId;

/// In ascending order of what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks at the page of its one tenant, and at nothing else.
    Tenant,
    /// Looks at everything of its tenants, and changes nothing.
    Viewer,
    /// Syncs, retries, pauses, resumes, verifies and repairs.
    Operator,
    /// Also removes, forgets, moves watermarks, changes settings, users and tokens.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Tenant, Self::Viewer, Self::Operator, Self::Admin];
    /// Roles of people and programs that run Tidemark.
    pub const OPERATORS: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nobody has to be signed in.
    Public,
    /// Looks at the page of a tenant that it sees.
    Visit,
    View,
    Operate,
    Administer,
}

impl Right {
    /// The lowest role that has it.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Public | Self::Visit => Role::Tenant,
            Self::View => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Administer => Role::Admin,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everybody on this machine, without a sign-in.
    Local,
    /// Signed in with a password.
    Session,
    /// Named by a proxy.
    Proxy,
    /// A program with a token.
    Token,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub name: String,
    pub role: Role,
    /// `None`: every tenant.
    tenants: Option<BTreeSet<TenantId>>,
    sees_values: bool,
    pub kind: Kind,
    /// The peer of the connection.
    origin: Option<String>,
}

impl Who {
    pub fn local() -> Self {
        Self {
            name: "local".to_owned(),
            role: Role::Admin,
            tenants: None,
            sees_values: true,
            kind: Kind::Local,
            origin: None,
        }
    }

    /// `None` where the ledger has a role that this version does not know: such a user may do nothing.
    pub fn of_user(user: ConsoleUser, kind: Kind) -> Option<Self> {
        let who = Self {
            role: Role::parse(&user.role)?,
            name: user.name,
            tenants: scope(user.tenants),
            sees_values: user.sees_values,
            kind,
            origin: None,
        };
        let is_whole = who.role != Role::Tenant || who.own_tenant().is_some();
        is_whole.then_some(who)
    }

    pub fn of_token(token: ConsoleToken) -> Option<Self> {
        Some(Self {
            role: Role::parse(&token.role).filter(|role| *role != Role::Tenant)?,
            name: token.name,
            tenants: scope(token.tenants),
            sees_values: false,
            kind: Kind::Token,
            origin: None,
        })
    }

    /// The tenant of a user with the role `tenant`.
    pub fn own_tenant(&self) -> Option<TenantId> {
        let tenants = self.tenants.as_ref().filter(|_| self.role == Role::Tenant)?;
        tenants.first().copied().filter(|_| tenants.len() == 1)
    }

    pub fn may(&self, right: Right) -> bool {
        self.role >= right.role()
    }

    pub fn sees(&self, tenant: TenantId) -> bool {
        self.tenants
            .as_ref()
            .is_none_or(|tenants| tenants.contains(&tenant))
    }

    /// Whether it sees every tenant, and so also what belongs to none.
    pub const fn sees_all(&self) -> bool {
        self.tenants.is_none()
    }

    /// The tenants that it sees; `None`: all.
    pub fn scope(&self) -> Option<Vec<TenantId>> {
        Some(self.tenants.as_ref()?.iter().copied().collect())
    }

    pub const fn sees_values(&self) -> bool {
        self.sees_values
    }

    /// The author of changes, for the ledger's records.
    pub fn actor(&self) -> Actor {
        match self.kind {
            Kind::Token => Actor::token(&self.name, self.origin.clone()),
            _ => Actor::console(&self.name, self.origin.clone()),
        }
    }

    /// The same, asking from this address.
    pub fn from(mut self, origin: Option<String>) -> Self {
        self.origin = origin;
        self
    }
}

fn scope(tenants: Option<Vec<i32>>) -> Option<BTreeSet<TenantId>> {
    Some(tenants?.into_iter().map(TenantId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_what_lower_roles_may() {
        let may = |role| {
            let who = Who { role, ..Who::local() };
            [Right::Visit, Right::View, Right::Operate, Right::Administer].map(|right| who.may(right))
        };
        assert_eq!(may(Role::Tenant), [true, false, false, false]);
        assert_eq!(may(Role::Viewer), [true, true, false, false]);
        assert_eq!(may(Role::Operator), [true, true, true, false]);
        assert_eq!(may(Role::Admin), [true, true, true, true]);
    }

    #[test]
    fn an_empty_scope_sees_no_tenant() {
        let none = Who {
            tenants: scope(Some(Vec::new())),
            ..Who::local()
        };
        assert!(!none.sees(TenantId(1)) && !none.sees_all());
    }

    #[test]
    fn a_user_of_a_tenant_has_exactly_one() {
        let of = |tenants| {
            let user = ConsoleUser {
                name: "isaac".to_owned(),
                role: "tenant".to_owned(),
                tenants,
                sees_values: false,
                has_password: true,
                created_at: chrono::DateTime::UNIX_EPOCH,
                changed_at: chrono::DateTime::UNIX_EPOCH,
            };
            Who::of_user(user, Kind::Session).and_then(|who| who.own_tenant())
        };
        assert_eq!(of(Some(vec![7])), Some(TenantId(7)));
        assert_eq!([of(None), of(Some(Vec::new())), of(Some(vec![1, 2]))], [None; 3]);
    }
}
