//! Tables of inboxes and agents.

use maud::{Markup, html};

use super::charts::{Behind, linked};
use super::numbers::Place;
use super::words;
use crate::context::Cx;
use crate::html::parts::none;

/// A table of inboxes or agents. The name narrows the page to it, and the counts lead to conversations.
pub fn table(
    cx: &Cx,
    title: &str,
    parameter: &str,
    places: &[Place],
    path: &str,
    behind: &Behind<'_>,
) -> Markup {
    let text = &cx.t.visit;
    let most = places
        .iter()
        .map(|place| place.tally.conversations)
        .max()
        .unwrap_or_default()
        .max(1);
    let share = |part, all| words::percent(cx, part, all).unwrap_or_else(|| none().to_owned());
    html! {
        section {
            h2 { (title) }
            div.scroll tabindex="0" role="region" aria-label=(title) {
                table.stack {
                    thead { tr {
                        th scope="col" { (text.name) }
                        th.number scope="col" { (text.conversations) }
                        th.number scope="col" { (text.resolved_share) }
                        th.number scope="col" { (text.unanswered) }
                        th.number scope="col" { (text.first_response_median) }
                        th.number scope="col" { (text.csat) }
                    } }
                    tbody { @for place in places {
                        @let id = place.id.unwrap_or_default().to_string();
                        @let list = |of: Option<&str>| behind.asked.link(&behind.list, &[(parameter, Some(id.clone())), ("of", of.map(str::to_owned))]);
                        tr {
                            th scope="row" {
                                @if place.id.is_some() || parameter == "agent" {
                                    a href=(behind.asked.link(path, &[(parameter, Some(id.clone()))])) { (place_name(cx, place)) }
                                } @else { (place_name(cx, place)) }
                                @if let Some(channel) = &place.channel { " " span.sub { (words::channel(cx, channel)) } }
                            }
                            td.number data-label=(text.conversations) {
                                svg.mini viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" { rect.fill.active x="0" y="0" width=(place.tally.conversations * 100 / most) height="8" rx="2" {} }
                                " " (linked(cx, place.tally.conversations, &list(None)))
                            }
                            td.number data-label=(text.resolved_share) { (share(place.tally.resolved, place.tally.conversations)) }
                            td.number data-label=(text.unanswered) { @if place.tally.unanswered == 0 { span.zero { "0" } } @else { a href=(list(Some("unanswered"))) { (share(place.tally.unanswered, place.tally.conversations)) } } }
                            td.number data-label=(text.first_response_median) {
                                @match place.response_median {
                                    Some(median) => { a href=(list(Some("responded"))) { (words::seconds(cx, median)) } }
                                    None => { span.none { (none()) } }
                                }
                            }
                            td.number data-label=(text.csat) {
                                @match words::mean(place.tally.rating_sum, place.tally.ratings) {
                                    Some(mean) => { a href=(list(Some("rated"))) { (cx.t.decimal(mean)) } " " span.sub { "n = " (cx.count(place.tally.ratings)) } }
                                    None => { span.none { (none()) } }
                                }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn place_name(cx: &Cx, place: &Place) -> String {
    match (place.id, &place.name) {
        (None, _) => cx.t.visit.nobody_assigned.to_owned(),
        (Some(_), Some(name)) => name.clone(),
        (Some(id), None) => id.to_string(),
    }
}
