//! Which tenants a list or an action takes.

use tidemark_shared::held_by::BlockerKind;
use tidemark_shared::tenant::Tenant;

use super::TenantOverview;

/// A state that tenants are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantState {
    Late,
    Failing,
    Paused,
    Never,
    Rejects,
    Attention,
}

impl TenantState {
    pub const ALL: [Self; 6] = [
        Self::Late,
        Self::Failing,
        Self::Paused,
        Self::Never,
        Self::Rejects,
        Self::Attention,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Never => "never",
            Self::Rejects => "rejects",
            Self::Attention => "attention",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    fn takes(self, tenant: &TenantOverview, has_rejects: bool) -> bool {
        match self {
            Self::Late => tenant.late,
            Self::Failing => tenant.consecutive_failures > 0,
            Self::Paused => tenant.is_paused(),
            Self::Never => tenant.watermark.is_none(),
            Self::Rejects => has_rejects,
            Self::Attention => tenant.late || tenant.blocker.is_some() || has_rejects,
        }
    }
}

/// What has to hold of a tenant; the default takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantFilter {
    pub state: Option<TenantState>,
    pub source: Option<String>,
    /// A part of the name or slug, or the whole id.
    pub text: Option<String>,
}

impl TenantFilter {
    #[must_use]
    pub fn takes(&self, tenant: &TenantOverview, about: Option<&Tenant>, has_rejects: bool) -> bool {
        let has_text = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            tenant.name.to_lowercase().contains(&wanted)
                || about.is_some_and(|about| about.slug.contains(&wanted))
                || tenant.tenant_id.to_string() == wanted
        };
        let has_source = |source: &String| about.is_some_and(|about| about.source == *source);
        self.state.is_none_or(|state| state.takes(tenant, has_rejects))
            && self.source.as_ref().is_none_or(has_source)
            && self.text.as_ref().is_none_or(has_text)
    }
}

impl TenantOverview {
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let kind = self.blocker.as_ref().map(|blocker| blocker.kind);
        kind == Some(BlockerKind::Paused)
    }
}
