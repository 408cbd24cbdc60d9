//! Decides what to import, before anything is written. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use tidemark_ledger::tenant::NewTenant;
use tidemark_shared::ids::TenantId;
use tidemark_shared::inbox::Inbox;
use tidemark_shared::privacy::PrivacyPolicy;
use tidemark_shared::tenant::{Tenant, TenantStatus};

use super::{ScriptInbox, ScriptTenant, ScriptTime, ScriptWatermark};
use crate::error::OperationResult;
use crate::refusal::Refusal;
use crate::tenants::slug;

/// The tenants, inboxes and watermarks of the script.
pub struct ScriptState {
    pub tenants: Vec<ScriptTenant>,
    pub inboxes: Vec<ScriptInbox>,
    pub watermarks: Vec<ScriptWatermark>,
}

/// The existing tenants and inboxes in Tidemark.
pub struct LedgerState {
    pub tenants: Vec<Tenant>,
    pub removed: Vec<TenantId>,
    /// The owners of the script's inboxes.
    pub owners: Vec<(i32, TenantId)>,
    /// The source's clock.
    pub clock: DateTime<Utc>,
}

/// The options of the import that the plan depends on.
pub struct ImportRules {
    pub ids: BTreeMap<i32, TenantId>,
    /// Of `watermark_end`.
    pub watermark_timezone: Tz,
    pub tenant_timezone: Option<Tz>,
    pub overlap: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportState {
    New,
    Imported,
    /// Tidemark has the tenant already; it stays as it is.
    Exists,
    /// Nothing to import.
    Skipped,
    Clash,
}

/// The import of one tenant; the field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct TenantImport {
    pub old_id: i32,
    pub tenant_id: TenantId,
    pub name: String,
    pub slug: String,
    pub status: TenantStatus,
    pub timezone: String,
    pub account_id: Option<i32>,
    /// Whether plans map new inboxes of the account. Inboxes that were not active in the script stay unmapped.
    #[serde(skip)]
    pub discover: bool,
    pub inboxes: Vec<Inbox>,
    /// End of the last successful run, as the script wrote it.
    pub watermark_end: Option<String>,
    /// Start of the first sync; `None`: it takes everything.
    pub watermark: Option<DateTime<Utc>>,
    pub rows: i64,
    /// Rows that are not imported, because their inboxes are not the tenant's.
    pub rows_left: i64,
    pub state: ImportState,
    pub notes: Vec<String>,
}

impl TenantImport {
    pub fn inbox_ids(&self) -> Vec<i32> {
        self.inboxes.iter().map(|inbox| inbox.id).collect()
    }

    pub fn new_tenant(&self, source: &str) -> NewTenant {
        NewTenant {
            verify_interval: None,
            discover: self.discover,
            id: self.tenant_id,
            name: self.name.clone(),
            slug: self.slug.clone(),
            source: source.to_owned(),
            account_id: self.account_id,
            timezone: self.timezone.clone(),
            chunk_size: None,
            max_in_flight: None,
            sync_interval: None,
            privacy: PrivacyPolicy::default(),
        }
    }

    fn conflict(&mut self, why: String) {
        self.state = ImportState::Clash;
        self.notes.push(why);
    }
}

/// Decides on every tenant, in the order of the script's ids.
pub fn plan(
    script: ScriptState,
    ledger: &LedgerState,
    rules: &ImportRules,
) -> OperationResult<Vec<TenantImport>> {
    let known: Vec<i32> = script.tenants.iter().map(|tenant| tenant.id).collect();
    if let Some(unknown) = rules.ids.keys().find(|id| !known.contains(id)) {
        return Err(Refusal::UnknownOldTenant(*unknown).into());
    }
    let mut steps: Vec<TenantImport> = Vec::with_capacity(script.tenants.len());
    for tenant in &script.tenants {
        let mut step = step(tenant, &script, rules);
        if tenant.is_deleted {
            step.state = ImportState::Skipped;
            step.notes.push("deleted in the script".to_owned());
        } else if step.tenant_id.0 < 1 && step.inboxes.is_empty() {
            step.state = ImportState::Skipped;
            step.notes
                .push("no inboxes, and its id is not valid here".to_owned());
        } else {
            check_conflicts(&mut step, &steps, &script, ledger);
        }
        steps.push(step);
    }
    Ok(steps)
}

/// The tenant as it would be imported.
fn step(tenant: &ScriptTenant, script: &ScriptState, rules: &ImportRules) -> TenantImport {
    let mut notes = Vec::new();
    let tenant_id = rules.ids.get(&tenant.id).copied().unwrap_or(TenantId(tenant.id));
    let name = match tenant.name.trim() {
        "" => format!("Tenant {tenant_id}"),
        name => name.to_owned(),
    };
    let mine = || script.inboxes.iter().filter(|inbox| inbox.tenant_id == tenant.id);
    let inactive = mine().filter(|inbox| !inbox.is_active).count();
    if inactive > 0 {
        notes.push(format!(
            "{inactive} inboxes are not active in the script and stay unmapped"
        ));
    }
    let mut inboxes: Vec<Inbox> = mine()
        .filter(|inbox| inbox.is_active)
        .map(|inbox| Inbox {
            id: inbox.inbox_id,
            name: inbox.inbox_name.clone(),
            channel_type: inbox.channel_type.clone(),
        })
        .collect();
    inboxes.dedup_by_key(|inbox| inbox.id);
    let status = status(tenant.status.as_deref(), &mut notes);
    let timezone = rules.tenant_timezone.or_else(|| {
        let named = tenant.timezone.as_deref()?;
        let parsed = named.parse().ok();
        if parsed.is_none() {
            notes.push(format!("`{named}` is no IANA time zone: UTC is used instead"));
        }
        parsed
    });
    let of = |id: Option<i32>| script.watermarks.iter().find(|found| found.tenant_id == id);
    let last = of(Some(tenant.id)).or_else(|| of(None));
    let watermark = last.map(|last| {
        let overlap = TimeDelta::from_std(rules.overlap).unwrap_or(TimeDelta::MAX);
        let end = earliest(last.watermark_end, rules.watermark_timezone);
        end.checked_sub_signed(overlap).unwrap_or(DateTime::UNIX_EPOCH)
    });
    TenantImport {
        old_id: tenant.id,
        tenant_id,
        slug: tenant.slug.clone().unwrap_or_else(|| slug(&name, tenant_id)),
        name,
        status,
        timezone: timezone.unwrap_or(Tz::UTC).name().to_owned(),
        account_id: tenant.account_id,
        discover: inactive == 0,
        inboxes,
        watermark_end: last.map(|last| written(last.watermark_end)),
        watermark,
        rows: 0,
        rows_left: 0,
        state: ImportState::New,
        notes,
    }
}

/// Checks for conflicts with the tenants of Tidemark and with the tenants imported before this one.
fn check_conflicts(
    step: &mut TenantImport,
    before: &[TenantImport],
    script: &ScriptState,
    ledger: &LedgerState,
) {
    let id = step.tenant_id;
    let old = step.old_id;
    if id.0 < 1 {
        step.conflict(format!("{id} is not valid as a tenant id: --tenant-map {old}=N"));
        return;
    }
    if let Some(tenant) = ledger.tenants.iter().find(|tenant| tenant.id == id) {
        if tenant.slug == step.slug {
            step.state = ImportState::Exists;
        } else {
            step.conflict(format!(
                "id {id} belongs to another tenant here ({}): --tenant-map {old}=N",
                tenant.name
            ));
        }
        return;
    }
    if ledger.removed.contains(&id) {
        step.conflict(format!(
            "id {id} belonged to a removed tenant: --tenant-map {old}=N"
        ));
    }
    let taken = before.iter().filter(|other| other.state == ImportState::New);
    let mut slugs = ledger
        .tenants
        .iter()
        .map(|tenant| (&tenant.slug, tenant.id))
        .chain(taken.map(|other| (&other.slug, other.tenant_id)));
    if let Some((_, owner)) = slugs.find(|(slug, _)| **slug == step.slug) {
        step.conflict(format!(
            "slug `{}` belongs to tenant {owner}: rename one of them (tidemark tenant set --tenant {owner} --slug …)",
            step.slug
        ));
    }
    if before
        .iter()
        .any(|other| other.tenant_id == id && other.state != ImportState::Skipped)
    {
        step.conflict(format!("two tenants would get id {id}: --tenant-map {old}=N"));
    }
    for inbox in step.inbox_ids() {
        if let Some((_, owner)) = ledger.owners.iter().find(|(other, _)| *other == inbox) {
            step.conflict(format!(
                "inbox {inbox} belongs to tenant {owner}: tidemark inbox unmap --tenant {owner} --inbox {inbox}"
            ));
        }
        let claims = script
            .inboxes
            .iter()
            .filter(|other| other.inbox_id == inbox && other.is_active);
        if claims.map(|other| other.tenant_id).any(|other| other != old) {
            step.conflict(format!("inbox {inbox} has two tenants in the script"));
        }
    }
    if step.watermark.is_some_and(|watermark| watermark > ledger.clock) {
        step.conflict(format!(
            "its watermark would be after the source's clock ({}): is --timezone right, or does watermark_end have \
             another clock (--watermark-timezone)?",
            ledger.clock.to_rfc3339_opts(SecondsFormat::Secs, true)
        ));
    }
}

fn status(text: Option<&str>, notes: &mut Vec<String>) -> TenantStatus {
    match text.map(str::to_lowercase).as_deref() {
        None | Some("active") => TenantStatus::Active,
        Some("trial") => TenantStatus::Trial,
        Some("suspended") => TenantStatus::Suspended,
        Some("cancelled" | "canceled") => TenantStatus::Cancelled,
        Some(other) => {
            notes.push(format!(
                "status `{other}` is unknown: the tenant is suspended instead"
            ));
            TenantStatus::Suspended
        }
    }
}

/// The earliest instant that a time can mean. An hour that the clock repeats is read as its first occurrence; a skipped hour
/// is read as the hour before.
fn earliest(written: ScriptTime, timezone: Tz) -> DateTime<Utc> {
    let naive = match written {
        ScriptTime::Instant(at) => return at,
        ScriptTime::Naive(naive) => naive,
    };
    let local = |naive: NaiveDateTime| timezone.from_local_datetime(&naive).earliest();
    local(naive)
        .or_else(|| local(naive - TimeDelta::hours(1)))
        .map_or_else(|| naive.and_utc(), |at| at.to_utc())
}

fn written(written: ScriptTime) -> String {
    match written {
        ScriptTime::Naive(naive) => naive.to_string(),
        ScriptTime::Instant(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(text: &str) -> ScriptTime {
        ScriptTime::Naive(text.parse().unwrap())
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn old(id: i32, slug: &str) -> ScriptTenant {
        ScriptTenant {
            id,
            name: format!("Old {id}"),
            slug: Some(slug.into()),
            status: Some("active".into()),
            timezone: None,
            account_id: None,
            is_deleted: false,
        }
    }

    fn inbox(inbox_id: i32, tenant_id: i32) -> ScriptInbox {
        ScriptInbox {
            inbox_id,
            tenant_id,
            inbox_name: None,
            channel_type: None,
            is_active: true,
        }
    }

    fn script() -> ScriptState {
        ScriptState {
            tenants: vec![old(0, "admin"), old(1, "one"), old(2, "two")],
            inboxes: vec![inbox(10, 1), inbox(20, 2)],
            watermarks: vec![ScriptWatermark {
                tenant_id: Some(1),
                watermark_end: naive("2026-11-20T09:00:00"),
            }],
        }
    }

    fn ledger() -> LedgerState {
        LedgerState {
            tenants: Vec::new(),
            removed: Vec::new(),
            owners: Vec::new(),
            clock: utc("2026-11-25T00:00:00Z"),
        }
    }

    fn rules() -> ImportRules {
        ImportRules {
            ids: BTreeMap::new(),
            watermark_timezone: chrono_tz::America::Sao_Paulo,
            tenant_timezone: None,
            overlap: Duration::from_secs(3600),
        }
    }

    fn states(script: ScriptState, ledger: &LedgerState, rules: &ImportRules) -> Vec<ImportState> {
        let steps = plan(script, ledger, rules).unwrap();
        steps.iter().map(|step| step.state).collect()
    }

    #[test]
    fn a_watermark_is_read_in_its_time_zone_and_starts_earlier_by_the_overlap() {
        let steps = plan(script(), &ledger(), &rules()).unwrap();
        assert_eq!(steps[1].watermark, Some(utc("2026-11-20T11:00:00Z")));
        assert_eq!(steps[2].watermark, None, "no run of it ever succeeded");
        assert_eq!(
            steps.iter().map(|step| step.state).collect::<Vec<_>>(),
            [ImportState::Skipped, ImportState::New, ImportState::New]
        );
    }

    #[test]
    fn a_repeated_or_skipped_hour_is_read_as_its_earliest_instant() {
        let zone = chrono_tz::America::New_York;
        assert_eq!(
            earliest(naive("2026-11-01T01:30:00"), zone),
            utc("2026-11-01T05:30:00Z")
        );
        assert_eq!(
            earliest(naive("2026-03-08T02:30:00"), zone),
            utc("2026-03-08T06:30:00Z")
        );
    }

    #[test]
    fn a_shared_watermark_is_used_for_tenants_without_their_own() {
        let mut script = script();
        script.watermarks[0].tenant_id = None;
        let steps = plan(script, &ledger(), &rules()).unwrap();
        assert_eq!(steps[1].watermark, steps[2].watermark);
        assert!(steps[2].watermark.is_some());
    }

    #[test]
    fn a_conflict_is_named_with_its_solution() {
        let mut rules = rules();
        rules.ids.insert(2, TenantId(1));
        let steps = plan(script(), &ledger(), &rules).unwrap();
        assert_eq!(steps[2].state, ImportState::Clash);
        assert!(
            steps[2].notes[0].contains("--tenant-map 2=N"),
            "{:?}",
            steps[2].notes
        );

        let mut two = script();
        two.inboxes.push(inbox(10, 2));
        assert_eq!(states(two, &ledger(), &self::rules())[2], ImportState::Clash);

        let mut zero = script();
        zero.inboxes.push(inbox(30, 0));
        assert_eq!(states(zero, &ledger(), &self::rules())[0], ImportState::Clash);

        let mut owned = ledger();
        owned.owners.push((20, TenantId(7)));
        assert_eq!(states(script(), &owned, &self::rules())[2], ImportState::Clash);

        let mut early = ledger();
        early.clock = utc("2026-11-20T10:00:00Z");
        assert_eq!(states(script(), &early, &self::rules())[1], ImportState::Clash);
    }

    #[test]
    fn a_mapped_id_must_exist_in_the_script() {
        let mut rules = rules();
        rules.ids.insert(9, TenantId(90));
        assert!(plan(script(), &ledger(), &rules).is_err());
    }

    #[test]
    fn an_existing_tenant_stays_and_a_different_one_clashes() {
        let mut ledger = ledger();
        for (id, slug) in [(1, "one"), (2, "other")] {
            ledger.tenants.push(Tenant {
                verify_interval: None,
                id: TenantId(id),
                name: slug.into(),
                slug: slug.into(),
                status: TenantStatus::Active,
                source: "main".into(),
                account_id: None,
                timezone: "UTC".into(),
                sync_interval: Duration::from_secs(300),
                lookback: Duration::from_secs(120),
                chunk_size: 1000,
                max_in_flight: 8,
                mapping_version: 1,
                privacy: PrivacyPolicy::default(),
                discover: true,
                paused_at: None,
                pause_reason: None,
            });
        }
        assert_eq!(
            states(script(), &ledger, &rules()),
            [ImportState::Skipped, ImportState::Exists, ImportState::Clash]
        );
    }
}
