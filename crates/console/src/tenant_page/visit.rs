//! One request to a tenant's page: who looks, at whose rows, as of when.

use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_ledger::tenant_page::{Look, Standing};
use tidemark_shared::audit::Action;
use tidemark_shared::ids::TenantId;

use super::filters::{Asked, Query};
use super::numbers::State;
use crate::auth::who::{Role, Who};
use crate::context::{Cx, Visiting};
use crate::error::{PageError, PageResult};
use crate::i18n::Language;
use crate::preferences::Zone;

pub struct Visit {
    pub cx: Cx,
    pub who: Who,
    pub tenant: TenantId,
    pub look: Look,
    pub standing: Standing,
    pub state: State,
    /// The path of the tenant's page, as links name it.
    pub path: String,
}

/// Zones in which Portuguese is expected.
const BRAZIL: [&str; 17] = [
    "America/Araguaina",
    "America/Bahia",
    "America/Belem",
    "America/Boa_Vista",
    "America/Campo_Grande",
    "America/Cuiaba",
    "America/Eirunepe",
    "America/Fortaleza",
    "America/Maceio",
    "America/Manaus",
    "America/Noronha",
    "America/Porto_Acre",
    "America/Porto_Velho",
    "America/Recife",
    "America/Rio_Branco",
    "America/Santarem",
    "America/Sao_Paulo",
];

fn is_in_brazil(timezone: &str) -> bool {
    BRAZIL.contains(&timezone) || timezone.starts_with("Brazil/")
}

impl Visit {
    /// The tenant is that of the session. An operator's session has several, and the path says which of them; another tenant's
    /// path is not found.
    pub async fn open(cx: Cx, slug: &str) -> PageResult<Self> {
        let who = cx.who.clone().ok_or(PageError::NotFound)?;
        let named = ledger::tenant::find_by_slug(&cx.console.db, slug).await?;
        let (named, mapping_version) = named.ok_or(PageError::NotFound)?;
        let tenant = who.own_tenant().unwrap_or(named);
        if tenant != named || !who.sees(tenant) {
            return Err(PageError::NotFound);
        }
        let pool = cx
            .console
            .tenant_pages
            .pool()
            .await
            .map_err(PageError::NoTenantPages)?;
        // after the version was read: numbers that are kept under it are never older
        let mut look = Look::begin(&pool, tenant).await?;
        let standing = look.standing().await?.ok_or(PageError::NotFound)?;
        let state = State {
            newest_run_at: standing.newest_run_at,
            mapping_version,
        };
        let path = cx.links.visit(slug);
        let mut cx = cx.about(&standing.timezone).at(standing.now);
        cx.preferences.zone = Zone::Tenant;
        if who.role == Role::Tenant && !cx.preferences.has_chosen_language && is_in_brazil(&standing.timezone)
        {
            cx = cx.speaking(Language::Portuguese);
        }
        cx.visiting = Some(Visiting {
            name: standing.name.clone(),
            path: path.clone(),
            tenant,
        });
        Ok(Self {
            cx,
            who,
            tenant,
            look,
            standing,
            state,
            path,
        })
    }

    pub fn asked(&self, query: &Query) -> PageResult<Asked> {
        Asked::parse(query, self.standing.today)
    }

    /// Whether values of conversations may be shown: to the tenant's own people always, to operators if they ask for them and have
    /// the right. Their look is recorded before they see anything.
    pub async fn reveal(&self, asked: bool, subject: &str) -> PageResult<bool> {
        if self.who.role == Role::Tenant {
            return Ok(true);
        }
        if !asked {
            return Ok(false);
        }
        if !self.who.sees_values() {
            return Err(PageError::Refused(self.cx.t.common.needs_values.to_owned()));
        }
        let entry = Entry::new(Action::ValuesShow)
            .tenant(self.tenant)
            .subject(subject);
        ledger::audit::record(&self.cx.console.db, &self.who.actor(), &entry).await?;
        Ok(true)
    }

    /// Whether to offer to show values.
    pub fn may_ask_for_values(&self) -> bool {
        self.who.role != Role::Tenant && self.who.sees_values()
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn every_zone_of_brazil_exists_and_no_other_counts() {
        for zone in BRAZIL {
            assert!(zone.parse::<Tz>().is_ok(), "{zone}");
        }
        assert!(
            is_in_brazil("Brazil/East")
                && !is_in_brazil("America/Argentina/Buenos_Aires")
                && !is_in_brazil("UTC")
        );
    }
}
