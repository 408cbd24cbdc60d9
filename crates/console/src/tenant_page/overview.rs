//! The numbers of a tenant over some days, each against the same length of time before.

use axum::extract::{Path, Query as QueryOf};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use tidemark_ledger::tenant_page::Filter;
use tidemark_ledger::tenant_page::numbers::Tally;

use super::charts::{self, Behind};
use super::filters::{Asked, PRESETS, Query};
use super::numbers::{Numbers, Place};
use super::visit::Visit;
use super::{measures, places, words};
use crate::context::Cx;
use crate::error::{PageError, PageResult};
use crate::html::layout::{Section, page as whole_page};

pub async fn page(cx: Cx, Path(slug): Path<String>, QueryOf(query): QueryOf<Query>) -> Response {
    match build(cx.clone(), &slug, &query).await {
        Ok(response) => response,
        Err(error) => error.page(&cx),
    }
}

async fn build(cx: Cx, slug: &str, query: &Query) -> PageResult<Response> {
    let mut visit = Visit::open(cx, slug).await?;
    let asked = visit.asked(query)?;
    if !asked.is_canonical {
        return Ok(Redirect::to(&asked.link(&visit.path, &[])).into_response());
    }
    let filter = asked.selection.filter.clone();
    let (kept, state) = (visit.cx.console.clone(), visit.state);
    let kept = &kept.tenant_pages.numbers;
    let before = asked.before();
    let numbers = kept
        .count(&mut visit.look, visit.tenant, state, &filter, before.as_ref())
        .await?;
    let choices = if asked.is_narrowed() {
        let everything = Filter::everything(filter.first, filter.last);
        kept.count(&mut visit.look, visit.tenant, state, &everything, None)
            .await?
    } else {
        numbers.clone()
    };
    let chosen = chosen(&mut visit, &filter, &choices).await?;
    let has_any = numbers.span.tally.conversations > 0 || {
        let any = Filter::everything(filter.first, filter.last);
        visit.look.find_newest(&any).await?.is_some()
    };
    let (cx, standing) = (&visit.cx, &visit.standing);
    let behind = Behind {
        asked: &asked,
        list: format!("{}/conversations", visit.path),
    };
    let body = html! {
        header.head.visit-head {
            h1 { (standing.name) }
            p.sub { (freshness(&visit)) }
        }
        (filters(cx, &asked, &visit.path, &choices, &chosen))
        @if numbers.span.tally.conversations == 0 {
            div.empty {
                @if has_any { p { strong { (cx.t.visit.no_conversations) } } p { (cx.t.visit.no_conversations_text) } }
                @else { p { (cx.t.visit.no_data) } }
            }
            @if numbers.waiting > 0 { div.numbers.measures { (measures::waiting(cx, &numbers, &behind)) } }
        } @else {
            (measures::all(cx, &numbers, &behind))
            section.card { (charts::days(cx, &numbers, &behind)) }
            div.split.even.visit-pair {
                section.card { (charts::heat(cx, &numbers, &behind)) }
                section.card { (charts::handlers(cx, &numbers, &behind)) }
            }
            (places::table(cx, cx.t.visit.by_inbox, "inbox", &numbers.inboxes, &visit.path, &behind))
            (places::table(cx, cx.t.visit.agents, "agent", &numbers.agents, &visit.path, &behind))
            p.note { (cx.t.visit.zone_note.replace("{zone}", &standing.timezone)) @if let Some(note) = estimated(cx, numbers.span.tally) { " " (note) } }
        }
    };
    Ok(whole_page(cx, Section::None, &standing.name, &body).into_response())
}

fn freshness(visit: &Visit) -> Markup {
    let (cx, standing) = (&visit.cx, &visit.standing);
    let text = &cx.t.visit;
    html! {
        @match standing.watermark {
            None => { (text.data_never) }
            Some(at) => {
                (text.data_until.replace("{time}", &words::minute(cx, at)))
                @if let Some(checked) = standing.checked_at { " · " (text.compared.replace("{time}", &words::minute(cx, checked))) }
            }
        }
    }
}

fn estimated(cx: &Cx, tally: Tally) -> Option<String> {
    let text = &cx.t.visit;
    match tally.estimated_responses {
        0 => None,
        all if all == tally.responses => Some(text.estimated.to_owned()),
        some => {
            let note = text.estimated_some.replace("{count}", &cx.count(some));
            Some(note.replace("{all}", &cx.count(tally.responses)))
        }
    }
}

/// What the filter names and the days do not have: it stays in the list. Another tenant's inbox is not found.
#[derive(Default)]
struct Chosen {
    inbox: Option<(i64, String)>,
    team: Option<(i64, String)>,
    agent: Option<(i64, String)>,
}

async fn chosen(visit: &mut Visit, filter: &Filter, choices: &Numbers) -> PageResult<Chosen> {
    let mut chosen = Chosen::default();
    let everything = Filter::everything(filter.first, filter.last);
    let is_there = |places: &[Place], id: Option<i64>| {
        id.is_none_or(|id| id == 0 || places.iter().any(|one| one.id == Some(id)))
    };
    let inbox = filter.inbox.map(i64::from);
    let agent = filter.agent.map(i64::from);
    let has_channel = filter
        .channel
        .as_ref()
        .is_none_or(|channel| choices.channels.contains_key(channel));
    for (is_known, wanted) in [
        (
            is_there(&choices.inboxes, inbox),
            Filter {
                inbox: filter.inbox,
                ..everything.clone()
            },
        ),
        (
            is_there(&choices.teams, filter.team),
            Filter {
                team: filter.team,
                ..everything.clone()
            },
        ),
        (
            is_there(&choices.agents, agent),
            Filter {
                agent: filter.agent,
                ..everything.clone()
            },
        ),
        (
            has_channel,
            Filter {
                channel: filter.channel.clone(),
                ..everything.clone()
            },
        ),
    ] {
        if is_known {
            continue;
        }
        let newest = visit
            .look
            .find_newest(&wanted)
            .await?
            .ok_or(PageError::NotFound)?;
        for names in visit.look.names(&[newest]).await? {
            let of = |id: Option<i64>, name: Option<String>| {
                id.map(|id| (id, name.unwrap_or_else(|| id.to_string())))
            };
            if wanted.inbox.is_some() {
                chosen.inbox = of(inbox, names.inbox_name);
            } else if wanted.team.is_some() {
                chosen.team = of(filter.team, names.team_name);
            } else if wanted.agent.is_some() {
                chosen.agent = of(agent, names.assignee_name);
            }
        }
    }
    Ok(chosen)
}

fn filters(cx: &Cx, asked: &Asked, path: &str, choices: &Numbers, chosen: &Chosen) -> Markup {
    let text = &cx.t.visit;
    let filter = &asked.selection.filter;
    let channels: Vec<&String> = choices
        .channels
        .keys()
        .chain(
            filter
                .channel
                .iter()
                .filter(|one| !choices.channels.contains_key(*one)),
        )
        .collect();
    html! {
        nav.tabs.spans aria-label=(text.day) {
            @for days in PRESETS {
                a href=(asked.link_days(path, days)) aria-current=[(asked.preset == Some(days)).then_some("true")] {
                    (text.days.replace("{count}", &days.to_string()))
                }
            }
        }
        form.filters method="get" action=(path) data-auto {
            @if let Some(days) = asked.preset { input type="hidden" name="days" value=(days); }
            label.field { span { (text.from) } input type="date" name="from" value=(filter.first); }
            label.field { span { (text.to) } input type="date" name="to" value=(filter.last); }
            (choice(text.inbox, "inbox", text.all_inboxes, &choices.inboxes, chosen.inbox.as_ref(), filter.inbox.map(i64::from), None))
            @if choices.teams.iter().any(|one| one.id.is_some()) || filter.team.is_some() {
                (choice(text.team, "team", text.all_teams, &choices.teams, chosen.team.as_ref(), filter.team, Some(text.no_team)))
            }
            (choice(text.agent, "agent", text.all_agents, &choices.agents, chosen.agent.as_ref(), filter.agent.map(i64::from), Some(text.nobody_assigned)))
            label.field { span { (text.channel) } select name="channel" {
                option value="" { (text.all_channels) }
                @for one in channels { option value=(one) selected[filter.channel.as_ref() == Some(one)] { (words::channel(cx, one)) } }
            } }
            button type="submit" { (text.show) }
            @if asked.is_narrowed() { a.button href=(asked.link(path, &[("inbox", None), ("team", None), ("agent", None), ("channel", None)])) { (cx.t.common.clear_filters) } }
        }
    }
}

/// A list to choose from. `without`: the name of those that have none.
fn choice(
    label: &str,
    name: &str,
    all: &str,
    places: &[Place],
    chosen: Option<&(i64, String)>,
    selected: Option<i64>,
    without: Option<&str>,
) -> Markup {
    let mut named: Vec<(i64, String)> = places
        .iter()
        .filter_map(|place| {
            let id = place.id?;
            Some((id, place.name.clone().unwrap_or_else(|| id.to_string())))
        })
        .chain(chosen.cloned())
        .collect();
    named.sort_by_key(|(_, name)| name.to_lowercase());
    html! {
        label.field { span { (label) } select name=(name) {
            option value="" { (all) }
            @for (id, name) in &named { option value=(id) selected[selected == Some(*id)] { (name) } }
            @if let Some(without) = without { option value="0" selected[selected == Some(0)] { (without) } }
        } }
    }
}
