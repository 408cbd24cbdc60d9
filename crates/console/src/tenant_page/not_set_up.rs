//! What stands in the place of a tenant's page that has no database. Operators read what to set, and tenants whom to tell.

use maud::{Markup, html};

use super::pool::NoTenantPages;
use crate::auth::who::Right;
use crate::context::Cx;
use crate::html::layout::{Section, page as whole_page};
use crate::html::parts::code_line;

const STATEMENTS: [&str; 2] = [
    "CREATE ROLE tidemark_pages LOGIN PASSWORD '…';",
    "GRANT authenticated_users TO tidemark_pages;",
];

pub fn page(cx: &Cx, why: &NoTenantPages) -> Markup {
    let visit = &cx.t.visit;
    let (title, text) = match why {
        NoTenantPages::Away(error) => {
            tracing::warn!(error, "tenants' pages have no database");
            (visit.away, visit.away_text)
        }
        NoTenantPages::Wrong(error) => {
            tracing::warn!(error, "tenants' pages have no database");
            (visit.not_set, visit.not_set_tenant)
        }
        NoTenantPages::NotSet => (visit.not_set, visit.not_set_tenant),
    };
    let is_operator = cx.may(Right::View);
    let body = html! {
        header.head { h1 { (title) } }
        div.empty data-again[matches!(why, NoTenantPages::Away(_))] {
            @match why {
                NoTenantPages::Wrong(error) if is_operator => { p { (error) } }
                NoTenantPages::NotSet if is_operator => {
                    p { (visit.not_set_operator) }
                    @for statement in STATEMENTS { (code_line(cx, statement)) }
                }
                _ => { p { (text) } }
            }
        }
    };
    whole_page(cx, Section::None, title, &body)
}
