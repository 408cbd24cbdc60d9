//! Does what a dialog of a tenant asks for, by the use-cases that the command line has too.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::Markup;
use tidemark_ledger as ledger;
use tidemark_ledger::run::Requested;
use tidemark_ledger::tenant::TenantChange;
use tidemark_operations::error::OperationError;
use tidemark_operations::ids::IdsError;
use tidemark_operations::refusal::Refusal;
use tidemark_operations::tenants::{change, forget, lifecycle};
use tidemark_operations::{inboxes, plan_preview, resync, run_requests, verify, watermarks};
use tidemark_runtime::config::duration_within;
use tidemark_shared::ids::{RunId, TenantId};
use tidemark_shared::run::{RunRequest, RunType};
use tidemark_shared::tenant::{CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Tenant};
use tidemark_shared::verification::Verification;

use super::form::{Given, given, needed};
use super::tenant_action::TenantAction;
use crate::auth::who::{Right, Who};
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::pages::preview;

/// Rows at fault that a repair lists by their ids.
const LISTED_FAULTS: i64 = 50_000;

pub enum Outcome {
    Done(String),
    /// A run was requested, or one that does the same was open.
    Run(RunId, String),
    /// Something to look at first.
    Page(Markup),
}

pub async fn run(cx: &Cx, action: TenantAction, tenant: &Tenant, fields: &Given) -> PageResult<Outcome> {
    let who = cx.who.clone().ok_or(PageError::NotFound)?;
    let (db, a, actor) = (&cx.console.db, &cx.t.actions, who.actor());
    let reason = given(fields, "reason").map(str::to_owned);
    Ok(match action {
        TenantAction::Sync => {
            request(
                cx,
                &who,
                tenant,
                RunType::Incremental,
                None,
                RunRequest::default(),
            )
            .await?
        }
        TenantAction::Full => {
            let wanted = RunRequest {
                allow_mass_delete: allows_mass_delete(cx, fields)?,
                ..RunRequest::default()
            };
            request(cx, &who, tenant, RunType::Full, reason, wanted).await?
        }
        TenantAction::RetryRejects => {
            let reason = Some("retry of rejected rows".to_owned());
            request(
                cx,
                &who,
                tenant,
                RunType::Incremental,
                reason,
                RunRequest::default(),
            )
            .await?
        }
        TenantAction::Verify => {
            let ready = run_requests::load_ready(db, tenant.id).await?;
            requested(cx, verify::request_comparison(db, &actor, &ready, false).await?)
        }
        TenantAction::Repair => repair(cx, &who, tenant).await?,
        TenantAction::Resync => resync_part(cx, &who, tenant, fields).await?,
        TenantAction::Plan => Outcome::Page(plan(cx, tenant).await?),
        TenantAction::Pause => {
            let reason = needed(cx, fields, "reason", cx.t.common.reason)?;
            lifecycle::pause(db, &actor, tenant.id, reason).await?;
            Outcome::Done(a.paused.replace("{tenant}", &tenant.name))
        }
        TenantAction::Resume => {
            lifecycle::resume(db, &actor, tenant.id).await?;
            Outcome::Done(a.resumed.replace("{tenant}", &tenant.name))
        }
        TenantAction::MapInboxes => map(cx, &who, tenant, fields).await?,
        TenantAction::UnmapInboxes => {
            let ids = numbers(cx, needed(cx, fields, "inboxes", a.inbox_ids)?)?;
            let unmapped = inboxes::unmap(db, &actor, tenant, &ids).await?;
            Outcome::Done(
                a.unmapped
                    .replace("{count}", &unmapped.unmapped.len().to_string()),
            )
        }
        TenantAction::Settings => {
            change_settings(cx, &who, tenant, fields).await?;
            Outcome::Done(a.changed.replace("{tenant}", &tenant.name))
        }
        TenantAction::Watermark => {
            let to = instant(cx, needed(cx, fields, "to", a.new_watermark)?)?;
            let reason = needed(cx, fields, "reason", cx.t.common.reason)?;
            watermarks::set(db, &cx.console.sources, &actor, tenant, to, reason).await?;
            Outcome::Done(a.watermark_set.replace("{tenant}", &tenant.name))
        }
        TenantAction::Forget => {
            let contact = needed(cx, fields, "contact", a.contact_id)?;
            let contact: i64 = contact.parse().map_err(|_| not_a_number(cx, contact))?;
            let forgotten = forget::forget_contact(db, &actor, tenant, contact, reason).await?;
            Outcome::Done(
                a.forgotten
                    .replace("{removed}", &cx.count(forgotten.rows.removed))
                    .replace("{cleaned}", &cx.count(forgotten.rows.cleaned)),
            )
        }
        TenantAction::Remove => {
            let removed = lifecycle::remove(db, &actor, tenant.id).await?;
            let text = a.removed.replace("{tenant}", &tenant.name);
            Outcome::Done(text.replace("{runs}", &removed.cancelled_runs.len().to_string()))
        }
    })
}

async fn request(
    cx: &Cx,
    who: &Who,
    tenant: &Tenant,
    run_type: RunType,
    reason: Option<String>,
    wanted: RunRequest,
) -> PageResult<Outcome> {
    let db = &cx.console.db;
    let ready = run_requests::load_ready(db, tenant.id).await?;
    let outcome = run_requests::request(db, &who.actor(), &ready, run_type, reason, wanted).await?;
    Ok(requested(cx, outcome))
}

fn requested(cx: &Cx, outcome: Requested) -> Outcome {
    let a = &cx.t.actions;
    let text = match outcome {
        Requested::Created(_) => a.requested,
        Requested::Open(_) => a.already_open,
    };
    Outcome::Run(
        outcome.run_id(),
        text.replace("{run}", &outcome.run_id().to_string()),
    )
}

/// Only admins may switch off the guard against mass deletion.
fn allows_mass_delete(cx: &Cx, fields: &Given) -> PageResult<bool> {
    let wanted = fields.contains_key("allow_mass_delete");
    if wanted && !cx.may(Right::Administer) {
        return Err(PageError::Refused(cx.t.common.needs_admin.to_owned()));
    }
    Ok(wanted)
}

async fn repair(cx: &Cx, who: &Who, tenant: &Tenant) -> PageResult<Outcome> {
    Ok(match request_repair(cx, who, tenant).await? {
        Some(outcome) => requested(cx, outcome),
        None => Outcome::Done(cx.t.actions.nothing_to_repair.to_owned()),
    })
}

/// Requests that the rows are written again that the last comparison by workers found at fault; `None`: there are none.
pub async fn request_repair(cx: &Cx, who: &Who, tenant: &Tenant) -> PageResult<Option<Requested>> {
    let db = &cx.console.db;
    let all = ledger::verification::list(db).await?;
    let last = all.into_iter().find(|last| last.tenant_id == tenant.id);
    let last = last.ok_or(OperationError::from(Refusal::NeverCompared(tenant.id)))?;
    let faults = match last.run_id {
        Some(run) => ledger::verification::list_faults(db, run, LISTED_FAULTS).await?,
        None => Vec::new(),
    };
    let found = Verification::new(tenant.id, last.compared, faults);
    let ready = run_requests::load_ready(db, tenant.id).await?;
    Ok(verify::request_repair(db, &who.actor(), &ready, &found).await?)
}

async fn plan(cx: &Cx, tenant: &Tenant) -> PageResult<Markup> {
    let console = &cx.console;
    let ready = run_requests::load_ready(&console.db, tenant.id).await?;
    let planner = plan_preview::planner(&console.db, Arc::clone(&console.sources), &console.settings);
    let parts = [(ready, RunRequest::default())];
    let previews = plan_preview::preview(&planner, RunType::Incremental, &parts, false).await?;
    Ok(preview::page(cx, tenant, &previews))
}

/// First what the runs would do, then the runs.
async fn resync_part(cx: &Cx, who: &Who, tenant: &Tenant, fields: &Given) -> PageResult<Outcome> {
    let console = &cx.console;
    let a = &cx.t.actions;
    let reason = needed(cx, fields, "reason", cx.t.common.reason)?.to_owned();
    let template = RunRequest {
        allow_mass_delete: allows_mass_delete(cx, fields)?,
        ..RunRequest::default()
    };
    let ready = run_requests::load_ready(&console.db, tenant.id).await?;
    let planner = plan_preview::planner(&console.db, Arc::clone(&console.sources), &console.settings);
    let ids = ids(cx, given(fields, "ids").unwrap_or_default())?;
    let only = numbers(cx, given(fields, "inboxes").unwrap_or_default())?;
    let time = match (given(fields, "from"), given(fields, "to")) {
        (Some(from), Some(to)) => Some((instant(cx, from)?, instant(cx, to)?)),
        (None, None) => None,
        _ => return Err(PageError::Refused(a.both_times.to_owned())),
    };
    let is_named = time.is_some() || !only.is_empty();
    let all = fields.contains_key("all");
    if [!ids.is_empty(), is_named, all]
        .iter()
        .filter(|one| **one)
        .count()
        != 1
    {
        return Err(PageError::Refused(a.one_part.to_owned()));
    }
    let is_preview = given(fields, "step") == Some("preview") && console.settings.console.sources;
    let known = match ids.is_empty() || !is_preview {
        true => None,
        false => Some(resync::count_known(&console.db, &planner, &ready, &ids).await?),
    };
    let parts = if ids.is_empty() {
        resync::parts_by_selection(&console.db, vec![ready], time, &only, &template).await?
    } else {
        resync::parts_by_ids(&planner, vec![ready], ids, &template)
            .await?
            .parts
    };
    if is_preview {
        let previews = plan_preview::preview(&planner, RunType::Resync, &parts, true).await?;
        return Ok(Outcome::Page(preview::confirm(
            cx, tenant, known, &previews, fields,
        )));
    }
    let mut last = None;
    for (tenant, part) in parts {
        let outcome = run_requests::request(
            &console.db,
            &who.actor(),
            &tenant,
            RunType::Resync,
            Some(reason.clone()),
            part,
        )
        .await?;
        last = Some(outcome);
    }
    last.map(|outcome| requested(cx, outcome))
        .ok_or_else(|| PageError::Refused(a.one_part.to_owned()))
}

async fn map(cx: &Cx, who: &Who, tenant: &Tenant, fields: &Given) -> PageResult<Outcome> {
    let a = &cx.t.actions;
    let ids = numbers(cx, needed(cx, fields, "inboxes", a.inbox_ids)?)?;
    let from: Option<TenantId> = match given(fields, "from") {
        Some(text) => Some(text.parse().map_err(|_| not_a_number(cx, text))?),
        None => None,
    };
    // an inbox is not taken from a tenant that this author does not see
    if from.is_some_and(|from| !who.sees(from)) {
        return Err(PageError::NotFound);
    }
    let sources = cx.console.settings.console.sources.then(|| &*cx.console.sources);
    let mapped = inboxes::map(&cx.console.db, &who.actor(), sources, tenant, ids, from).await?;
    Ok(Outcome::Done(
        a.mapped.replace("{count}", &mapped.changed.to_string()),
    ))
}

async fn change_settings(cx: &Cx, who: &Who, tenant: &Tenant, fields: &Given) -> PageResult<()> {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(365 * 86_400);
    let refused = |text: &str, field: &str, least: String, most: String| {
        let text = text.replace("{field}", field).replace("{least}", &least);
        PageError::Refused(text.replace("{most}", &most))
    };
    let shown = |span| humantime::format_duration(span).to_string();
    let changed = |name: &str, now: &str| given(fields, name).filter(|text| *text != now).map(str::to_owned);
    let (a, p) = (&cx.t.actions, &cx.t.pages);
    let span = |label: &str, text: &str| {
        let wrong = |_| refused(a.not_a_span, label, shown(SHORTEST), shown(LONGEST));
        duration_within(text, SHORTEST, LONGEST).map_err(wrong)
    };
    let whole = |name: &str, label: &str, least: i32, most: i32| match given(fields, name) {
        None => Ok(None),
        Some(text) => match text.parse::<i32>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(refused(a.not_between, label, least.to_string(), most.to_string())),
        },
    };
    let sync = changed("sync_interval", &shown(tenant.sync_interval));
    let verify = changed(
        "verify_interval",
        &tenant.verify_interval.map_or_else(|| "off".to_owned(), shown),
    );
    let wanted = TenantChange {
        name: changed("name", &tenant.name),
        slug: changed("slug", &tenant.slug),
        source: None,
        account_id: None,
        timezone: changed("timezone", &tenant.timezone),
        chunk_size: whole("chunk_size", p.chunk_size, CHUNK_SIZE_MIN, CHUNK_SIZE_MAX)?
            .filter(|size| *size != tenant.chunk_size),
        max_in_flight: whole("max_in_flight", p.in_flight, 1, 1000)?
            .filter(|most| *most != tenant.max_in_flight),
        sync_interval: sync.map(|text| span(p.sync_every, &text)).transpose()?,
        verify_interval: match verify.as_deref() {
            None => None,
            Some("off") => Some(None),
            Some(text) => Some(Some(span(p.verify_every, text)?)),
        },
        discover: None,
    };
    Ok(change::change(&cx.console.db, &who.actor(), tenant, &wanted).await?)
}

/// Ids, ascending and distinct; empty where none is given.
fn ids(cx: &Cx, text: &str) -> PageResult<Vec<i64>> {
    match tidemark_operations::ids::read(text) {
        Ok(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            Ok(ids)
        }
        Err(IdsError::Empty) => Ok(Vec::new()),
        Err(error) => Err(PageError::Refused(cx.t.ids_error(&error))),
    }
}

fn numbers(cx: &Cx, text: &str) -> PageResult<Vec<i32>> {
    let parts = text
        .split(|sign: char| sign == ',' || sign.is_whitespace())
        .filter(|part| !part.is_empty());
    parts
        .map(|part| part.parse().map_err(|_| not_a_number(cx, part)))
        .collect()
}

fn not_a_number(cx: &Cx, text: &str) -> PageError {
    let shown: String = text.chars().take(40).collect();
    PageError::Refused(cx.t.actions.not_a_number.replace("{text}", &shown))
}

fn instant(cx: &Cx, text: &str) -> PageResult<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .map_err(|_| PageError::Refused(cx.t.actions.not_a_time.to_owned()))
}
