//! In Portuguese pages nothing is left in English: what the doctor finds, refusals, skipped tenants, results of the audit.

use anyhow::{Context, Result, ensure};
use sqlx::Executor;

use super::client::{Answer, Client, serve};
use crate::stage::{Stage, on_stage};

/// Words that Portuguese does not have. A sentence in English has one of them.
const ENGLISH: [&str; 44] = [
    "the", "is", "are", "was", "were", "there", "this", "that", "these", "those", "which", "of", "with",
    "and", "not", "cannot", "does", "has", "have", "its", "from", "by", "to", "it", "in", "on", "be", "been",
    "than", "after", "before", "without", "already", "nothing", "every", "another", "never", "must", "needs",
    "paused", "rows", "tables", "done", "refused",
];

/// A text without commands, and without what stands in quotation marks or in brackets: names, and what a server said.
fn own_words(text: &str) -> String {
    let mut plain = String::new();
    let mut in_code = false;
    for part in text.split('`') {
        if !in_code {
            plain.push_str(part);
        }
        in_code = !in_code;
    }
    // commands that a refusal names end with their sentence
    match plain.split_once(": tidemark ") {
        Some((before, _)) => before.to_owned(),
        None => plain,
    }
}

fn english_words(text: &str) -> Vec<String> {
    own_words(text)
        .split(|sign: char| !sign.is_alphanumeric() && sign != '_' && sign != '-' && sign != '.')
        .map(str::to_lowercase)
        .filter(|word| ENGLISH.contains(&word.as_str()))
        .collect()
}

/// The texts of all elements with this opening tag, without markup.
fn texts(page: &Answer, open: &str, close: &str) -> Vec<String> {
    let parts = page.body.split(open).skip(1);
    parts
        .filter_map(|rest| rest.split_once(close))
        .map(|(text, _)| {
            text.replace("&quot;", "\"")
                .replace("&gt;", ">")
                .replace("&lt;", "<")
                .replace("&amp;", "&")
        })
        .collect()
}

async fn send(client: &Client, language: &str, method: &str, path: &str, form: &str) -> Result<Answer> {
    let headers = [
        ("Accept-Language", language),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    client.send(method, path, &headers, form).await
}

async fn without_inbox(stage: &Stage, id: &str) -> Result<()> {
    let added = stage
        .tidemark(&["tenant", "add", "--id", id, "--name", &format!("Tenant {id}")])
        .await?;
    ensure!(added.code == 0, "{added:?}");
    Ok(())
}

/// Ledger, source and fleet with many faults.
async fn break_much(stage: &Stage) -> Result<()> {
    stage.sample(60, 1, 5).await?;
    stage.sync_local(&["--tenant", "1"]).await?;
    stage.tenant(2, "UTC", &[900]).await?;
    without_inbox(stage, "3").await?;
    stage.tenant(4, "UTC", &[901]).await?;
    stage
        .target
        .execute(
            "UPDATE tenants SET source = 'elsewhere' WHERE id = 4;
             UPDATE etl_watermark SET next_due_at = now() - interval '1 day', watermark = now() - interval '1 day',
                                      consecutive_failures = 4 WHERE tenant_id = 1;
             INSERT INTO etl_verification (tenant_id, source_rows, target_rows, missing, extra, stale, different)
                 VALUES (1, 60, 59, 1, 0, 0, 0);
             INSERT INTO etl_rejected_row (tenant_id, conversation_id, side, sqlstate, error, run_id, chunk_seq)
                 VALUES (1, 1, 'target', '23514', 'x', 1, 1);
             INSERT INTO etl_process (instance, role, host, version) VALUES ('old-worker', 'worker', 'h', '0.0.1')",
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_the_doctor_finds_is_said_in_portuguese() {
    on_stage(|stage| async move {
        break_much(&stage).await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let checked = send(&client, "pt-BR", "POST", "/doctor/check", "").await?;
        ensure!(checked.status == 303, "{checked:?}");
        let page = send(&client, "pt-BR", "GET", "/doctor", "").await?;
        let found = texts(&page, "<span class=\"found\">", "</span>");
        ensure!(found.len() >= 20, "{found:#?}");
        let english: Vec<&String> = found
            .iter()
            .filter(|text| !english_words(text).is_empty())
            .collect();
        ensure!(english.is_empty(), "{english:#?}");
        for wanted in [
            "nenhum producer está em execução",
            "elsewhere",
            "sem caixa nenhuma execução é planejada: tenant 3",
        ] {
            ensure!(
                found.iter().any(|text| text.contains(wanted)),
                "{wanted}: {found:#?}"
            );
        }
        // the same in English is what the command says
        let page = send(&client, "en", "GET", "/doctor", "").await?;
        let found = texts(&page, "<span class=\"found\">", "</span>");
        let said = stage.tidemark(&["doctor", "--json"]).await?.json();
        let said = said.to_string();
        for wanted in ["no producer runs", "no run is planned without an inbox: tenant 3"] {
            ensure!(
                found.iter().any(|text| text.contains(wanted)),
                "{wanted}: {found:#?}"
            );
            ensure!(said.contains(wanted), "{wanted}: {said}");
        }
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn refusals_are_said_in_the_language_of_the_page() {
    on_stage(|stage| async move {
        stage.sample(60, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        stage.tenant(2, "UTC", &[900]).await?;
        without_inbox(&stage, "3").await?;
        stage.tenant(4, "UTC", &[901]).await?;
        let paused = stage
            .tidemark(&["tenant", "pause", "--tenant", "4", "--reason", "férias"])
            .await?;
        ensure!(paused.code == 0, "{paused:?}");
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        for (path, form, english) in [
            (
                "/tenants/1/do/settings",
                "timezone=Nowhere",
                "is no IANA time zone",
            ),
            (
                "/tenants/1/do/settings",
                "slug=tenant-2",
                "is taken: choose another",
            ),
            ("/tenants/1/do/settings", "chunk_size=0", "write a whole number"),
            (
                "/tenants/1/do/settings",
                "sync_interval=x",
                "write a duration with its unit",
            ),
            ("/tenants/3/do/sync", "", "tenant 3 has no inboxes"),
            ("/tenants/4/do/sync", "", "tenant 4 is not active: férias"),
            ("/tenants/1/do/map", "inboxes=900", "inbox 900 is tenant 2&#39;s"),
            ("/tenants/1/do/repair", "", "was never compared with its source"),
            (
                "/tenants/1/do/watermark",
                "to=2099-01-01T00:00:00Z&reason=x&confirm=Tenant+1",
                "is in the future",
            ),
            (
                "/tenants/1/do/resync",
                "reason=x&ids=1,zwei",
                "is not a conversation id",
            ),
            (
                "/tenants/1/do/resync",
                "reason=x&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
                "is not before --to",
            ),
            ("/tenants/1/do/resync", "reason=x&inboxes=900", "is not tenant 1"),
            ("/runs/1/do/retry", "", "has no dead or cancelled chunk"),
            ("/runs/1/do/cancel", "reason=x", "has ended already"),
            (
                "/sources/main/do/accept",
                "reason=x&confirm=main",
                "did not go back in time",
            ),
            (
                "/webhooks/do/add",
                "url=ftp%3A%2F%2Fx%2F&event=run.failed",
                "write https",
            ),
            (
                "/webhooks/do/add",
                "url=https%3A%2F%2Fhooks.example%2Fx&event=run.failed&format=json",
                "webhook_key is not set",
            ),
            (
                "/bulk/prepare",
                "action=tenant.resume&which=ticked&ids=77",
                "of the 1 ids are unknown",
            ),
            (
                "/bulk/prepare",
                "action=tenant.resume&which=ticked&ids=x",
                "is no id of what the action is done with",
            ),
            ("/bulk/prepare", "action=chunk.retry&which=all", "nothing matches"),
        ] {
            let said = |page: &Answer| -> Result<String> {
                let alerts = texts(page, "role=\"alert\">", "</div>");
                let found = alerts.into_iter().chain(texts(page, "<p>", "</p>")).next();
                found.with_context(|| format!("{path}: {page:?}"))
            };
            let page = send(&client, "en", "POST", path, form).await?;
            let text = said(&page)?;
            ensure!(page.status == 422, "{path} {form}: {page:?}");
            ensure!(
                text.contains(english) || text.replace('\'', "&#39;").contains(english),
                "{path} {form}: {text}"
            );
            let page = send(&client, "pt-BR", "POST", path, form).await?;
            ensure!(page.status == 422, "{path} {form}: {page:?}");
            let text = said(&page)?;
            ensure!(
                english_words(&text).is_empty(),
                "{path} {form}: {text} has {:?}",
                english_words(&text)
            );
        }
        served.process.stop().await
    })
    .await;
}

#[tokio::test]
async fn what_a_job_skips_and_results_of_the_audit_are_said_in_portuguese() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        without_inbox(&stage, "2").await?;
        let served = serve(&stage, "console", &[]).await?;
        let client = Client::new(&served.address);
        let chosen = send(
            &client,
            "pt-BR",
            "POST",
            "/bulk/prepare",
            "action=tenant.sync&which=all",
        )
        .await?;
        ensure!(chosen.status == 303, "{chosen:?}");
        // it loses its inbox after it was chosen, so it is skipped when its turn comes
        stage
            .target
            .execute("UPDATE inbox_tenant_mapping SET is_active = false WHERE tenant_id = 1")
            .await?;
        let started = send(&client, "pt-BR", "POST", "/bulk/1/do/start", "").await?;
        ensure!([303, 422].contains(&started.status), "{started:?}");
        stage.until("SELECT status = 'done' FROM etl_bulk").await?;
        let page = send(&client, "pt-BR", "GET", "/bulk/1", "").await?;
        ensure!(page.body.contains("sem caixas"), "{page:?}");
        let page = send(&client, "pt-BR", "GET", "/audit", "").await?;
        let results: Vec<String> = texts(&page, "data-label=\"Resultado\">", "</td>");
        ensure!(
            !results.is_empty()
                && results
                    .iter()
                    .all(|text| !text.contains(">done<") && !text.contains(">refused<")),
            "{results:?}"
        );
        ensure!(
            results.iter().any(|text| text.contains("recusado")) && page.body.contains("sem caixas"),
            "{page:?}"
        );
        served.process.stop().await
    })
    .await;
}
