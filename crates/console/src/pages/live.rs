//! Pages whose content follows the ledger, by the path that a tab names for its stream.

use std::collections::BTreeMap;

use maud::Markup;
use tidemark_shared::ids::{RunId, TenantId};

use super::tenants::Filter;
use super::{bulk, fleet, overview, run, runs, sources, tenant, tenants};
use crate::auth::who::Who;
use crate::context::Cx;
use crate::watch::trends::Trend;
use crate::watch::watcher::Look;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LivePage {
    Overview,
    Tenants(Filter),
    Tenant(TenantId),
    Runs,
    Run(RunId),
    Sources,
    Fleet,
    Bulk(i64),
}

impl LivePage {
    /// `None` where the page has no live part, or is about a tenant that this author does not see.
    pub fn parse(page: &str, who: &Who) -> Option<Self> {
        let (path, query) = page.split_once('?').unwrap_or((page, ""));
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => Some(Self::Overview),
            ["tenants"] => Some(Self::Tenants(Filter::of(&query))),
            ["tenants", id] => {
                let id = id.parse().ok()?;
                who.sees(id).then_some(Self::Tenant(id))
            }
            ["runs"] => Some(Self::Runs),
            ["runs", id] => Some(Self::Run(id.parse().ok()?)),
            ["bulk", id] => Some(Self::Bulk(id.parse().ok()?)),
            ["sources"] => Some(Self::Sources),
            ["fleet"] => Some(Self::Fleet),
            _ => None,
        }
    }

    /// The run whose chunks the page shows.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Run(run) => Some(*run),
            _ => None,
        }
    }

    pub const fn has_charts(&self) -> bool {
        matches!(self, Self::Overview | Self::Sources)
    }

    /// What the page shows beside the look.
    pub async fn trend(&self, cx: &Cx, look: &Look) -> Trend {
        match self {
            Self::Tenants(filter) => tenants::trend(cx, look, filter).await,
            _ => Trend::default(),
        }
    }

    /// `None` where the look is not about this page yet: it was taken before anybody looked at the run.
    pub fn render(&self, cx: &Cx, look: &Look, trend: &Trend) -> Option<Markup> {
        let snapshot = &look.snapshot;
        Some(match self {
            Self::Overview => overview::content(cx, snapshot),
            Self::Tenants(filter) => tenants::content(cx, snapshot, filter, trend),
            Self::Tenant(id) => tenant::live(cx, snapshot, *id),
            Self::Runs => runs::live(cx, snapshot),
            Self::Run(id) => match snapshot.runs.get(id) {
                Some(view) if cx.who.as_ref().is_some_and(|who| who.sees(view.report.tenant_id)) => {
                    run::live(cx, snapshot, view)
                }
                _ => return None,
            },
            Self::Bulk(id) => {
                let job = snapshot.jobs.get(id)?;
                let who = cx.who.as_ref()?;
                if !job.tenants.iter().all(|tenant| who.sees(*tenant)) {
                    return None;
                }
                bulk::live(cx, snapshot, &job.view)
            }
            Self::Sources => sources::content(cx, snapshot),
            Self::Fleet => fleet::content(cx, snapshot),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_by_its_path() {
        let who = Who::local();
        assert_eq!(LivePage::parse("/", &who), Some(LivePage::Overview));
        assert_eq!(
            LivePage::parse("/runs/18?x=1", &who),
            Some(LivePage::Run(RunId(18)))
        );
        assert_eq!(
            LivePage::parse("/tenants/4", &who),
            Some(LivePage::Tenant(TenantId(4)))
        );
        for none in [
            "/nowhere",
            "/runs/x",
            "/tenants/1/conversations/2",
            "//evil",
            "/runs/1/2",
        ] {
            assert!(
                !matches!(LivePage::parse(none, &who), Some(LivePage::Run(_))),
                "{none}"
            );
        }
    }
}
