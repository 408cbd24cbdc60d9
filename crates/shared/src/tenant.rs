//! A tenant: its source and its settings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::ids::TenantId;
use crate::privacy::PrivacyPolicy;

/// The smallest and the largest number of keys per chunk. The ledger checks the same bounds.
pub const CHUNK_SIZE_MIN: i32 = 1;
pub const CHUNK_SIZE_MAX: i32 = 50_000;
/// The most chunks of a tenant that may be queued or running at once.
pub const MAX_IN_FLIGHT_MAX: i32 = 1000;
/// The shortest and the longest time between two syncs, or two comparisons, of a tenant.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
pub const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    Active,
    /// Not scheduled; requested runs are refused.
    Suspended,
    Cancelled,
    /// Treated like active.
    Trial,
}

impl TenantStatus {
    pub const ALL: [Self; 4] = [Self::Active, Self::Suspended, Self::Cancelled, Self::Trial];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Trial => "trial",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub slug: String,
    pub status: TenantStatus,
    /// Name of a configured source.
    pub source: String,
    /// Chatwoot account, when known.
    pub account_id: Option<i32>,
    /// Whether a plan maps new inboxes of the account to this tenant.
    pub discover: bool,
    /// IANA name of the zone of the calendar columns.
    pub timezone: String,
    #[serde(with = "humantime_text")]
    pub sync_interval: Duration,
    /// How far before the watermark a plan searches again, for rows whose timestamps were set long before they were
    /// written.
    #[serde(with = "humantime_text")]
    pub lookback: Duration,
    /// Keys per chunk.
    pub chunk_size: i32,
    /// Chunks of this tenant that may be queued or running at once.
    pub max_in_flight: i32,
    /// Pause between two comparisons with the source; `None`: only on request.
    #[serde(with = "optional_humantime_text")]
    pub verify_interval: Option<Duration>,
    pub mapping_version: i64,
    /// The policy for personal data.
    pub privacy: PrivacyPolicy,
    pub paused_at: Option<DateTime<Utc>>,
    pub pause_reason: Option<String>,
}

impl Tenant {
    /// The account whose new inboxes a plan maps to this tenant.
    #[must_use]
    pub const fn discovered_account(&self) -> Option<i32> {
        if self.discover { self.account_id } else { None }
    }

    /// Whether new work may be planned for this tenant.
    #[must_use]
    pub const fn may_run(&self) -> bool {
        self.paused_at.is_none() && matches!(self.status, TenantStatus::Active | TenantStatus::Trial)
    }
}

mod optional_humantime_text {
    use std::time::Duration;

    pub fn serialize<S: serde::Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::humantime_text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }
}

mod humantime_text {
    use std::time::Duration;

    pub fn serialize<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }
}
