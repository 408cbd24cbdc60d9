//! Problems with the isolation of tenants, and with a backup of all rows. The statements that find them name the case, and the
//! roles, tables and policies that its sentence needs, quoted as the server quotes them.

/// Declares the cases of a statement: the name that it gives to the case, and the sentence with the names in their order.
macro_rules! cases {
    ($(#[$doc:meta])* $enum:ident { $($variant:ident ($($name:ident),*) = $case:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub enum $enum {
            $(#[error($text)] $variant { $($name: String),* },)*
        }

        impl $enum {
            /// The case of this name; `None`: there is no such case, or it has other names.
            #[must_use]
            pub fn of_case(case: &str, names: Vec<String>) -> Option<Self> {
                let mut names = names.into_iter();
                match case {
                    $($case => Some(Self::$variant { $($name: names.next()?),* }),)*
                    _ => None,
                }
            }
        }
    };
}

cases! {
    /// Why tenants are not kept apart.
    IsolationFault {
        LoginIsSuperuser(login) = "login_is_superuser", "the login {login} is a superuser: row-level security does not apply to it";
        LoginBypasses(login) = "login_bypasses", "the login {login} has BYPASSRLS";
        LoginCanBecome(login, role) = "login_can_become", "the login {login} can become {role}: row-level security does not apply to that role";
        RoleIsSuperuser(role) = "role_is_superuser", "the role {role} is a superuser";
        RoleBypasses(role) = "role_bypasses", "the role {role} has BYPASSRLS";
        RoleSeesMore(role, of) = "role_sees_more", "{role} is a member of {of}, which sees more than one tenant";
        Off(table) = "off", "row-level security is off on {table}";
        NotForced(table, owner) = "not_forced", "row-level security is not forced on {table}: it does not apply to the owner {owner}";
        ForeignPolicy(policy, table) = "foreign_policy", "the policy {policy} on {table} gives roles access that no migration gives them";
        TenantIsSet(value) = "tenant_is_set", "app.current_tenant_id is {value} before anybody sets it: a session that does not set it acts for that tenant";
        ViewShowsAll(view) = "view_shows_all", "the view {view} shows the rows of every tenant to every role that may read it";
        BoundBypasses(login) = "bound_bypasses", "the login {login} is bound to a tenant, and row-level security does not apply to it";
        BoundCanBecome(login, role) = "bound_can_become", "the login {login} is bound to a tenant, and can become {role}, which sees more than that tenant";
        OffBeside(table) = "off_beside", "row-level security is off on {table}, beside the tenants' conversations";
        TenantsMayWrite(table) = "tenants_may_write", "authenticated_users may write {table}";
        TenantsMayCreate(schema) = "tenants_may_create", "authenticated_users may create objects in the schema {schema}, next to the tables of the ledger";
        GroupMayLogIn(role) = "group_may_log_in", "the role {role} may log in, and whoever has its password acts with its rights";
        LoginMayGrant(login) = "login_may_grant", "the login {login} has CREATEROLE, and before PostgreSQL 16 may grant itself nearly every role";
        SeenWithoutTenant() = "seen_without_tenant", "a probe across tenants succeeded: rows are seen without a tenant";
        SeenWithNoNumber() = "seen_with_no_number", "a probe across tenants succeeded: rows are seen with a tenant that is no number";
        OthersSeen() = "others_seen", "a probe across tenants succeeded: rows of other tenants are seen";
        WrittenForOther() = "written_for_other", "a probe across tenants succeeded: a row can be written for another tenant";
        RowSeenWithoutTenant() = "row_seen_without_tenant", "a probe across tenants succeeded: a row is seen without its tenant";
        OthersRowSeen() = "others_row_seen", "a probe across tenants succeeded: another tenant's row is seen";
        OthersRowChanged() = "others_row_changed", "a probe across tenants succeeded: another tenant's row can be changed";
        OthersRowDeleted() = "others_row_deleted", "a probe across tenants succeeded: another tenant's row can be deleted";
        RowGivenAway() = "row_given_away", "a probe across tenants succeeded: a row can be given to another tenant";
    }
}

cases! {
    /// Why a dump by a member of `admin_users` would lack rows.
    BackupFault {
        NoPolicy(table) = "no_policy", "no policy shows all rows of {table} to admin_users: a dump by one of its members lacks rows";
        Restrictive(policy, table) = "restrictive", "the restrictive policy {policy} hides rows of {table} from admin_users: a dump by one of its members may lack them";
        NotReadable(table) = "not_readable", "admin_users may not read {table}: a dump by one of its members fails";
    }
}
