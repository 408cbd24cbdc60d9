//! "Needs you": what is wrong, since when, and the button or the command that cures it. The worst first.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use tidemark_operations::status::TenantOverview;
use tidemark_shared::held_by::{BlockerKind, HeldBy};
use tidemark_shared::ids::{RunId, TenantId};

use crate::actions::button;
use crate::actions::tenant_action::TenantAction;
use crate::context::Cx;
use crate::html::parts::{Tone, badge, code_line, tenant_link};
use crate::watch::snapshot::Snapshot;

/// More than so many are not read by anybody; the tenants have them all.
const SHOWN: usize = 50;

/// One thing that somebody has to look at.
struct Need {
    tone: Tone,
    subject: Markup,
    cause: String,
    detail: Option<String>,
    since: Option<DateTime<Utc>>,
    cure: &'static str,
    command: Option<String>,
    buttons: Markup,
}

pub fn list(cx: &Cx, snapshot: &Snapshot) -> Markup {
    let mut needs = sources(cx, snapshot);
    needs.extend(tenants(cx, snapshot));
    needs.sort_by_key(|need| (severity(need.tone), need.since));
    if needs.is_empty() {
        return html! { div.empty.calm { p { (cx.t.pages.all_well) } } };
    }
    let more = needs.len().saturating_sub(SHOWN);
    html! {
        ul.needs-list {
            @for need in needs.iter().take(SHOWN) { (item(cx, need)) }
        }
        @if more > 0 {
            p { a href=(cx.links.to("/tenants?state=attention")) { (cx.t.pages.more_needs.replace("{count}", &more.to_string())) } }
        }
    }
}

const fn severity(tone: Tone) -> u8 {
    match tone {
        Tone::Bad => 0,
        Tone::Warn => 1,
        _ => 2,
    }
}

fn item(cx: &Cx, need: &Need) -> Markup {
    html! {
        li class={ "need " (need.tone.class()) } {
            div.what {
                p.subject { (badge(need.tone, tone_word(cx, need.tone))) " " (need.subject) }
                p.cause {
                    strong { (need.cause) }
                    @if let Some(since) = need.since { " · " span.sub { (cx.lasting(since)) } }
                }
                @if let Some(detail) = &need.detail { p.detail { (detail) } }
                p.cure { (need.cure) }
                @if let Some(command) = &need.command { (code_line(cx, command)) }
            }
            div.actions { (need.buttons) }
        }
    }
}

const fn tone_word(cx: &Cx, tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => cx.t.states.error,
        Tone::Warn => cx.t.states.warning,
        _ => cx.t.states.paused,
    }
}

fn sources(cx: &Cx, snapshot: &Snapshot) -> Vec<Need> {
    let failing = snapshot.overview.sources.iter().filter_map(|source| {
        let error = source.watch.error.as_ref()?;
        let name = &source.watch.source;
        Some(Need {
            tone: Tone::Bad,
            subject: html! { a href=(cx.links.source(name)) { (cx.t.pages.source) " " (name) } },
            cause: cx.t.causes.source.to_owned(),
            detail: Some(error.clone()),
            since: source.watch.failing_since,
            cure: cx.t.causes.cure_source,
            command: None,
            buttons: html! { a.button href=(cx.links.to("/doctor")) { (cx.t.pages.doctor) } },
        })
    });
    failing.collect()
}

fn tenants(cx: &Cx, snapshot: &Snapshot) -> Vec<Need> {
    let seen = |id| cx.who.as_ref().is_some_and(|who| who.sees(id));
    let mut needs = Vec::new();
    for tenant in snapshot
        .overview
        .tenants
        .iter()
        .filter(|tenant| seen(tenant.tenant_id))
    {
        needs.extend(blocked(cx, snapshot, tenant));
        needs.extend(faults(cx, snapshot, tenant));
    }
    needs
}

/// Something that holds the tenant, or that it is late for no reason that can be seen.
fn blocked(cx: &Cx, snapshot: &Snapshot, tenant: &TenantOverview) -> Option<Need> {
    let id = tenant.tenant_id;
    let kind = tenant.blocker.as_ref().map(|blocker| blocker.kind);
    let (cause, cure) = match kind {
        Some(kind) => cx.t.cause(kind),
        None if tenant.late => (cx.t.causes.late, cx.t.causes.cure_late),
        None => return None,
    };
    // these pass by themselves, unless the tenant is late for them
    if matches!(kind, Some(BlockerKind::Limit | BlockerKind::Retrying)) && !tenant.late {
        return None;
    }
    let tone = match kind {
        Some(BlockerKind::Paused | BlockerKind::NotActive) => Tone::Quiet,
        Some(BlockerKind::Limit | BlockerKind::Retrying | BlockerKind::Fence) | None => Tone::Warn,
        Some(_) if !tenant.late => Tone::Warn,
        Some(_) => Tone::Bad,
    };
    let since = match kind {
        Some(BlockerKind::Paused) => snapshot.tenants.get(&id).and_then(|one| one.paused_at),
        _ => tenant.watermark,
    };
    Some(Need {
        tone,
        subject: tenant_link(cx, id, &tenant.name),
        cause: cause.to_owned(),
        detail: detail(cx, tenant),
        since,
        cure,
        command: kind.and_then(|kind| command(kind, id)),
        buttons: buttons(cx, kind, tenant),
    })
}

/// What the cause does not say yet.
fn detail(cx: &Cx, tenant: &TenantOverview) -> Option<String> {
    match &tenant.blocker.as_ref()?.held_by {
        HeldBy::Paused { reason } => reason.clone(),
        HeldBy::NotActive
        | HeldBy::NoInboxes
        | HeldBy::NoProducer
        | HeldBy::NoWorker
        | HeldBy::NoFinalizer => None,
        held_by => Some(cx.t.held_by(held_by)),
    }
}

fn command(kind: BlockerKind, id: TenantId) -> Option<String> {
    match kind {
        BlockerKind::NoProducer => Some("tidemark producer".to_owned()),
        BlockerKind::NoWorker => Some("tidemark worker".to_owned()),
        BlockerKind::NoFinalizer => Some("tidemark finalizer".to_owned()),
        BlockerKind::NoInboxes => Some(format!("tidemark inbox map --tenant {id} --inbox IDS")),
        _ => None,
    }
}

fn buttons(cx: &Cx, kind: Option<BlockerKind>, tenant: &TenantOverview) -> Markup {
    let id = tenant.tenant_id;
    match kind {
        Some(BlockerKind::Paused) => button::tenant(cx, id, TenantAction::Resume),
        Some(BlockerKind::NoInboxes) => button::tenant(cx, id, TenantAction::MapInboxes),
        Some(BlockerKind::Failing) => html! {
            @if let Some(run) = &tenant.last_run { (run_button(cx, run.run_id)) }
            (button::tenant(cx, id, TenantAction::Sync))
        },
        Some(BlockerKind::Source | BlockerKind::NotPlanned | BlockerKind::Fence) => {
            html! { a.button href=(cx.links.to("/sources")) { (cx.t.pages.sources) } }
        }
        Some(BlockerKind::Broker) => html! { a.button href=(cx.links.to("/doctor")) { (cx.t.pages.doctor) } },
        None => button::tenant(cx, id, TenantAction::Sync),
        _ => html! {},
    }
}

fn run_button(cx: &Cx, run: RunId) -> Markup {
    html! { a.button href=(cx.links.run(run)) { (cx.t.pages.run) " " (run) } }
}

/// What is wrong with its rows.
fn faults(cx: &Cx, snapshot: &Snapshot, tenant: &TenantOverview) -> Vec<Need> {
    let id = tenant.tenant_id;
    let subject = || tenant_link(cx, id, &tenant.name);
    let mut needs = Vec::new();
    let mut dead = snapshot
        .dead_chunks
        .iter()
        .filter(|chunk| chunk.tenant_id == id)
        .peekable();
    if let Some(first) = dead.peek() {
        let (run, error) = (first.run_id, first.error.clone());
        let count = i64::try_from(dead.count()).unwrap_or(i64::MAX);
        needs.push(Need {
            tone: Tone::Bad,
            subject: subject(),
            cause: format!("{}: {}", cx.t.causes.dead_chunks, cx.count(count)),
            detail: error,
            since: None,
            cure: cx.t.causes.cure_dead,
            command: None,
            buttons: html! { (run_button(cx, run)) (button::retry_run(cx, run)) },
        });
    }
    if let Some(count) = snapshot.rejects.get(&id) {
        needs.push(Need {
            tone: Tone::Warn,
            subject: subject(),
            cause: format!("{}: {}", cx.t.causes.rejects, cx.count(*count)),
            detail: None,
            since: None,
            cure: cx.t.causes.cure_rejects,
            command: None,
            buttons: html! {
                a.button href=(cx.links.to(&format!("/rejects?tenant={id}"))) { (cx.t.pages.rejects) }
                (button::tenant(cx, id, TenantAction::RetryRejects))
            },
        });
    }
    if let Some(last) = tenant
        .last_verification
        .as_ref()
        .filter(|last| last.compared.fault_count() > 0)
    {
        needs.push(Need {
            tone: Tone::Warn,
            subject: subject(),
            cause: format!(
                "{}: {}",
                cx.t.causes.faults,
                cx.count(last.compared.fault_count())
            ),
            detail: None,
            since: Some(last.verified_at),
            cure: cx.t.causes.cure_faults,
            command: None,
            buttons: button::tenant(cx, id, TenantAction::Repair),
        });
    }
    if let Some(undecided) = cx.t.undecided(tenant) {
        needs.push(Need {
            tone: Tone::Warn,
            subject: subject(),
            cause: cx.t.causes.inboxes_gone.to_owned(),
            detail: Some(undecided),
            since: None,
            cure: "",
            command: None,
            buttons: html! {},
        });
    }
    needs
}
