//! Buttons of actions. One that cannot work now is shown, and says why.

use maud::{Markup, html};
use tidemark_shared::ids::{ChunkId, RunId, TenantId};

use super::Damage;
use super::tenant_action::TenantAction;
use crate::auth::who::Right;
use crate::context::Cx;

struct Button<'a> {
    link: String,
    text: &'a str,
    command: String,
    right: Right,
    damage: Damage,
    /// Why it cannot work now, beside missing rights.
    obstacle: Option<&'static str>,
    class: &'static str,
    /// What its page was made from, where the act is refused on a page that is stale.
    seen: Option<String>,
}

impl Button<'_> {
    fn render(&self, cx: &Cx) -> Markup {
        if let Some(why) = cx.refusal(self.right).or(self.obstacle) {
            return html! {
                button class={ "button " (self.class) } type="button" disabled title=(why) { (self.text) span.hidden { ". " (why) } }
            };
        }
        match self.damage {
            Damage::None => html! {
                form.inline method="post" action=(self.link) {
                    @if let Some(seen) = &self.seen { input type="hidden" name="seen" value=(seen); }
                    button class={ "button " (self.class) } type="submit" title=(self.command) { (self.text) }
                }
            },
            Damage::Some | Damage::Much => html! {
                a class={ "button " (self.class) } href=(self.link) data-dialog title=(self.command) { (self.text) "…" }
            },
        }
    }
}

pub fn tenant(cx: &Cx, id: TenantId, action: TenantAction) -> Markup {
    let class = if action.damage() == Damage::Much {
        "danger"
    } else {
        ""
    };
    of_tenant(cx, id, action, class)
}

pub fn tenant_primary(cx: &Cx, id: TenantId, action: TenantAction) -> Markup {
    of_tenant(cx, id, action, "primary")
}

fn of_tenant(cx: &Cx, id: TenantId, action: TenantAction, class: &'static str) -> Markup {
    let button = Button {
        link: cx.links.to(&format!("/tenants/{id}/do/{}", action.as_str())),
        text: action.text(cx),
        command: action.command(id),
        right: action.right(),
        damage: action.damage(),
        obstacle: (action.opens_source() && !cx.console.settings.console.sources)
            .then_some(cx.t.common.sources_off),
        class,
        seen: None,
    };
    button.render(cx)
}

pub fn retry_run(cx: &Cx, id: RunId) -> Markup {
    let button = Button {
        link: cx.links.to(&format!("/runs/{id}/do/retry")),
        text: cx.t.actions.retry,
        command: format!("tidemark run retry {id}"),
        right: Right::Operate,
        damage: Damage::None,
        obstacle: None,
        class: "",
        seen: None,
    };
    button.render(cx)
}

pub fn cancel_run(cx: &Cx, id: RunId) -> Markup {
    let button = Button {
        link: cx.links.to(&format!("/runs/{id}/do/cancel")),
        text: cx.t.actions.cancel_run,
        command: format!("tidemark run cancel {id}"),
        right: Right::Operate,
        damage: Damage::Some,
        obstacle: None,
        class: "",
        seen: None,
    };
    button.render(cx)
}

pub fn retry_chunk(cx: &Cx, id: ChunkId) -> Markup {
    let button = Button {
        link: cx
            .links
            .to(&format!("/runs/{}/chunks/{}/do/retry", id.run_id, id.seq)),
        text: cx.t.actions.retry,
        command: format!("tidemark chunk retry {id}"),
        right: Right::Operate,
        damage: Damage::None,
        obstacle: None,
        class: "",
        seen: None,
    };
    button.render(cx)
}

pub fn accept_restore(cx: &Cx, source: &str) -> Markup {
    let button = Button {
        link: cx
            .links
            .to(&format!("/sources/{}/do/accept", crate::links::encode(source))),
        text: cx.t.actions.accept,
        command: format!("tidemark source accept-restore --source {source}"),
        right: Right::Administer,
        damage: Damage::Much,
        obstacle: (!cx.console.settings.console.sources).then_some(cx.t.common.sources_off),
        class: "danger",
        seen: None,
    };
    button.render(cx)
}

pub fn dead(cx: &Cx, purge: bool) -> Markup {
    let (name, text, class) = match purge {
        true => ("purge", cx.t.actions.purge, "danger"),
        false => ("redrive", cx.t.actions.redrive, ""),
    };
    let button = Button {
        link: cx.links.to(&format!("/dead/do/{name}")),
        text,
        command: format!("tidemark dead {name}"),
        right: if purge { Right::Administer } else { Right::Operate },
        damage: if purge { Damage::Much } else { Damage::Some },
        obstacle: None,
        class,
        seen: None,
    };
    button.render(cx)
}

pub fn add_webhook(cx: &Cx) -> Markup {
    let button = Button {
        link: cx.links.to("/webhooks/do/add"),
        text: cx.t.webhooks.add,
        command: "tidemark webhook add --url URL --event EVENTS".to_owned(),
        right: Right::Administer,
        damage: Damage::Some,
        obstacle: None,
        class: "primary",
        seen: None,
    };
    button.render(cx)
}

pub fn test_webhook(cx: &Cx, id: i32) -> Markup {
    let button = Button {
        link: cx.links.to(&format!("/webhooks/{id}/do/test")),
        text: cx.t.webhooks.test,
        command: format!("tidemark webhook test {id}"),
        right: Right::Operate,
        damage: Damage::None,
        obstacle: None,
        class: "",
        seen: None,
    };
    button.render(cx)
}

/// For one dead message, or for all of the webhook.
pub fn retry_webhook(cx: &Cx, id: i32, message: Option<i64>, seen: Option<String>) -> Markup {
    let (path, text, command) = match message {
        Some(message) => (
            format!("/webhooks/{id}/messages/{message}/do/retry"),
            cx.t.webhooks.retry,
            format!("tidemark webhook retry {id} --message {message}"),
        ),
        None => (
            format!("/webhooks/{id}/do/retry"),
            cx.t.webhooks.retry_all,
            format!("tidemark webhook retry {id}"),
        ),
    };
    let button = Button {
        link: cx.links.to(&path),
        text,
        command,
        right: Right::Operate,
        damage: Damage::None,
        obstacle: None,
        class: "",
        seen,
    };
    button.render(cx)
}

pub fn remove_webhook(cx: &Cx, id: i32) -> Markup {
    let button = Button {
        link: cx.links.to(&format!("/webhooks/{id}/do/remove")),
        text: cx.t.webhooks.remove,
        command: format!("tidemark webhook remove {id}"),
        right: Right::Administer,
        damage: Damage::Much,
        obstacle: None,
        class: "danger",
        seen: None,
    };
    button.render(cx)
}
