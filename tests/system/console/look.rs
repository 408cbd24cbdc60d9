//! Every page in a real browser: both languages, light and dark, phone and desk.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::browser::Browser;
use super::client::{Client, add_token, add_user, serve};
use crate::stage::{Stage, on_stage};

const PAGES: [(&str, &str); 28] = [
    ("overview", "/"),
    ("tenants", "/tenants"),
    ("tenant", "/tenants/1"),
    ("tenant-inboxes", "/tenants/1?tab=inboxes"),
    ("tenant-watermark", "/tenants/1?tab=watermark"),
    ("tenant-settings", "/tenants/1?tab=settings"),
    ("runs", "/runs"),
    ("run", "/runs/1"),
    ("rejects", "/rejects"),
    ("why", "/tenants/1/conversations/1"),
    ("sources", "/sources"),
    ("fleet", "/fleet"),
    ("dead", "/dead"),
    ("doctor", "/doctor"),
    ("verify", "/verify"),
    ("audit", "/audit"),
    ("jobs", "/bulk"),
    ("job-chosen", "/bulk/1"),
    ("job-done", "/bulk/2"),
    ("webhooks", "/webhooks"),
    ("webhook", "/webhooks/1"),
    ("webhook-add", "/webhooks/do/add"),
    ("resync", "/tenants/1/do/resync"),
    ("settings", "/settings"),
    ("not-found", "/nothing"),
    ("why-values", "/tenants/1/conversations/1?values=1"),
    (
        "nasty-filter",
        "/tenants?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%20onmouseover%3D%22x",
    ),
    (
        "nasty-search",
        "/search?q=%3Cbutton%20hx-post%3D%22%2Ftenants%2F1%2Fdo%2Fremove%22%3E",
    ),
];

/// Names that would break a page that trusted them.
pub const NASTY: &str =
    r#"<script>alert(1)</script>" onmouseover="x <button hx-post="/tenants/1/do/remove">"#;

async fn prepare(stage: &Stage) -> Result<()> {
    stage.sample(300, 2, 5).await?;
    sqlx::query("UPDATE contacts SET name = $1")
        .bind(NASTY)
        .execute(&stage.source)
        .await?;
    sqlx::query("UPDATE inboxes SET name = $1")
        .bind(NASTY)
        .execute(&stage.source)
        .await?;
    for tenant in ["1", "2"] {
        stage.sync_local(&["--tenant", tenant]).await?;
    }
    for statement in [
        "UPDATE etl_chunk SET worker_id = $1, error = $1",
        "UPDATE inbox_tenant_mapping SET inbox_name = $1",
    ] {
        sqlx::query(statement).bind(NASTY).execute(&stage.target).await?;
    }
    add_user(stage, "ana", "correct horse battery", &["--role", "operator"]).await?;
    add_token(stage, "deploy", &[]).await?;
    let renamed = stage
        .tidemark(&["tenant", "set", "--tenant", "2", "--name", NASTY])
        .await?;
    ensure!(renamed.code == 0, "{renamed:?}");
    let paused = stage
        .tidemark(&["tenant", "pause", "--tenant", "2", "--reason", NASTY])
        .await?;
    ensure!(paused.code == 0, "{paused:?}");
    sqlx::query(
        "INSERT INTO etl_rejected_row (tenant_id, conversation_id, side, sqlstate, error, run_id, chunk_seq) \
         VALUES (1, 1, 'target', '23514', $1, 1, 1)",
    )
    .bind(NASTY)
    .execute(&stage.target)
    .await?;
    // one job is only chosen, one is done
    let resync = [
        "bulk",
        "start",
        "reject.resync",
        "--all-matching",
        "--reason",
        NASTY,
    ];
    let chosen = stage.tidemark(&resync).await?;
    ensure!(chosen.code == 64, "{chosen:?}");
    let done = stage.tidemark(&[&resync[..], &["--yes"]].concat()).await?;
    ensure!(done.code == 0, "{done:?}");
    let hook = [
        "webhook",
        "add",
        "--url",
        "https://hooks.example/x",
        "--event",
        "run.failed",
        "--format",
        "slack",
    ];
    let added = stage.tidemark(&hook).await?;
    ensure!(added.code == 0, "{added:?}");
    sqlx::query(
        "INSERT INTO etl_webhook_delivery (webhook_id, event, tenant_id, body, dead_at, error) VALUES (1, 'run.failed', 1, '{}', now(), $1)",
    )
    .bind(NASTY)
    .execute(&stage.target)
    .await?;
    Ok(())
}

/// What pages show when somebody has asked for it: a comparison, the check-up, the dead messages.
async fn fill(stage: &Stage, address: &str) -> Result<()> {
    let client = Client::new(address);
    for path in ["/tenants/1/do/verify", "/doctor/check", "/dead/look"] {
        let answer = client.post(path, "").await?;
        ensure!(answer.status == 303, "{path}: {answer:?}");
    }
    stage
        .until("SELECT count(*) = 1 FROM etl_control WHERE type = 'verify' AND status = 'success'")
        .await
}

/// What makes a page unusable, as the page itself can measure it.
const FAULTS: &str = r#"
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth + 1) faults.push("wider than the window by " + (root.scrollWidth - root.clientWidth));
    const headings = [...document.querySelectorAll("h1")];
    if (headings.length !== 1) faults.push(headings.length + " first headings");
    if (!document.title || !root.lang) faults.push("no title or language");
    for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
        if (!field.labels?.length && !field.getAttribute("aria-label")) faults.push("a field without a label: " + field.name);
    }
    for (const button of document.querySelectorAll("a, button, summary")) {
        if (!button.textContent.trim() && !button.getAttribute("aria-label")) faults.push("a button without a name: " + button.outerHTML.slice(0, 80));
    }
    const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push("twice the id " + id);
    if (document.querySelector("main script, main [onmouseover], main button[hx-post]")) faults.push("a name became markup");
    return faults;
"#;

/// What is wrong with all pages, so that one look shows everything.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    pub fn add(&mut self, outcome: Result<()>) {
        self.0.extend(outcome.err().map(|error| format!("{error:#}")));
    }

    pub fn ensure_none(&self) -> Result<()> {
        ensure!(self.0.is_empty(), "{}", self.0.join("\n"));
        Ok(())
    }
}

/// axe-core 4.14.1 (MPL-2.0, for tests alone): what people with a screen reader, a keyboard or little sight cannot use.
const AXE: &str = include_str!("axe/axe.min.js");

const RUN_AXE: &str = r#"
    const done = arguments[arguments.length - 1];
    const tags = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"];
    axe.run(document, { runOnly: tags, resultTypes: ["violations"] }).then(
        (found) => done(found.violations.map((one) => one.id + ": " + one.nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + (node.any[0]?.message ?? "")).join(" | "))),
        (error) => done(["axe: " + error]),
    );
"#;

pub async fn check_access(browser: &Browser, name: &str) -> Result<()> {
    browser.page.execute(AXE, Vec::new()).await?;
    let found = browser.page.execute_async(RUN_AXE, Vec::new()).await?;
    ensure!(found == Value::Array(Vec::new()), "{name}: {found:#}");
    Ok(())
}

pub async fn check_faults(browser: &Browser, name: &str) -> Result<()> {
    let faults = browser.page.execute(FAULTS, Vec::new()).await?;
    ensure!(faults == Value::Array(Vec::new()), "{name}: {faults}");
    Ok(())
}

pub async fn check(browser: &Browser, address: &str, name: &str, path: &str) -> Result<()> {
    browser.page.goto(&format!("http://{address}{path}")).await?;
    browser.wait("main").await?;
    check_faults(browser, name).await?;
    check_access(browser, name).await?;
    browser.picture(name).await?;
    browser.ensure_quiet(name).await
}

#[tokio::test]
async fn every_page_is_sound_in_both_languages_and_themes_and_on_a_phone() {
    on_stage(|stage| async move {
        prepare(&stage).await?;
        let served = serve(&stage, "up", &[]).await?;
        fill(&stage, &served.address).await?;
        let browser = Browser::open(1400, 1000).await?;
        let mut faults = Faults::default();
        for (name, path) in PAGES {
            faults.add(check(&browser, &served.address, &format!("{name}-en-light"), path).await);
        }
        browser.prefer("pt-BR", "dark").await?;
        for (name, path) in PAGES {
            browser.resize(320).await?;
            faults.add(check(&browser, &served.address, &format!("{name}-pt-phone"), path).await);
            // a window of 1400 pixels at 200 %, a small one with text of twice the size, and a desk
            for (width, size) in [(700, "100%"), (1000, "200%"), (1400, "100%")] {
                let larger = format!("document.documentElement.style.fontSize = '{size}'");
                browser.page.execute(&larger, Vec::new()).await?;
                browser.resize(width).await?;
                let name = format!("{name}-pt-{width}-{size}");
                faults.add(check_faults(&browser, &name).await);
                browser.picture(&name).await?;
            }
            faults.add(check_access(&browser, &format!("{name}-pt-dark")).await);
        }
        let closed = serve(&stage, "console", &[("TIDEMARK_CONSOLE_AUTH", "password")]).await?;
        browser.resize(320).await?;
        faults.add(check(&browser, &closed.address, "login-pt-phone", "/login").await);
        closed.process.stop().await?;
        faults.ensure_none()?;
        served.process.stop().await
    })
    .await;
}
