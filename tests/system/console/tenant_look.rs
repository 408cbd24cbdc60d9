//! A tenant's page in a real browser: both languages, light and dark, phone, desk and paper.

use anyhow::ensure;

use super::browser::Browser;
use super::client::{add_user, serve};
use super::look::{Faults, NASTY, check};
use super::tenant_page::move_to_brazil;
use crate::stage::on_stage;

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn a_tenants_page_is_sound_in_both_languages_on_a_phone_and_on_paper() {
    on_stage(|stage| async move {
        stage.sample(1_500, 1, 5).await?;
        move_to_brazil(&stage).await?;
        sqlx::query("UPDATE contacts SET name = $1 WHERE id % 7 = 0")
            .bind(NASTY)
            .execute(&stage.source)
            .await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        // a month that has conversations, and one that has none
        let last: String = sqlx::query_scalar("SELECT max(conversation_date)::text FROM conversations_analytics")
            .fetch_one(&stage.target)
            .await?;
        let first: String = sqlx::query_scalar("SELECT (max(conversation_date) - 59)::text FROM conversations_analytics")
            .fetch_one(&stage.target)
            .await?;
        let conversation: i64 = sqlx::query_scalar(
            "SELECT conversation_id FROM conversations_analytics ORDER BY t_messages DESC, conversation_id LIMIT 1",
        )
        .fetch_one(&stage.target)
        .await?;
        let page = format!("/t/tenant-1?from={first}&to={last}");
        let pages = [
            ("tenant-page", page.clone()),
            ("tenant-page-empty", "/t/tenant-1?from=2001-01-01&to=2001-01-31".to_owned()),
            ("tenant-page-list", format!("/t/tenant-1/conversations?from={first}&to={last}&of=resolved")),
            ("tenant-page-conversation", format!("/t/tenant-1/conversations/{conversation}")),
            ("tenant-page-dates", "/t/tenant-1?from=x".to_owned()),
            ("tenant-page-foreign", "/t/tenant-2".to_owned()),
        ];
        add_user(&stage, "isaac", PASSWORD, &["--role", "tenant", "--tenant", "1"]).await?;
        let login = stage.pages_url().await?;
        let settings = [
            ("TIDEMARK_CONSOLE_AUTH", "password"),
            ("TIDEMARK_CONSOLE_INSECURE_COOKIE", "true"),
            ("TIDEMARK_CONSOLE_TENANT_DATABASE_URL", login.as_str()),
        ];
        let served = serve(&stage, "console", &settings).await?;
        let browser = Browser::open(1400, 1500).await?;
        browser.page.goto(&format!("http://{}/", served.address)).await?;
        browser.fill("input[name=user]", "isaac").await?;
        browser.fill("input[name=password]", PASSWORD).await?;
        browser.click("button.primary").await?;
        // Brazil reads Portuguese, and chooses another language if it likes
        browser.wait("html[lang='pt-BR'] .visit").await?;
        ensure!(browser.page.current_url().await?.path() == "/t/tenant-1", "the root leads to the page");
        let mut faults = Faults::default();
        for (name, path) in &pages {
            faults.add(check(&browser, &served.address, &format!("{name}-pt-light"), path).await);
        }
        browser.page.goto(&format!("http://{}{page}", served.address)).await?;
        browser.show_as("print").await?;
        browser.picture("tenant-page-paper").await?;
        let visible = browser
            .page
            .execute(
                "return [...document.querySelectorAll('.filters, .top, .tabs')].filter((one) => one.getClientRects().length).length",
                Vec::new(),
            )
            .await?;
        ensure!(visible == 0, "{visible} menus are printed");
        browser.show_as("screen").await?;

        // a choice is in the link
        browser
            .page
            .execute(
                "const list = document.querySelector('select[name=agent]'); list.selectedIndex = 1; \
                 list.dispatchEvent(new Event('change', { bubbles: true }));",
                Vec::new(),
            )
            .await?;
        browser.wait(".filters a.button").await?;
        let query = browser.page.current_url().await?.query().unwrap_or_default().to_owned();
        ensure!(query.starts_with("from=") && query.contains("agent=") && !query.contains("inbox"), "{query}");
        browser.picture("tenant-page-agent").await?;

        for (theme, name) in [("light", "tenant-page"), ("dark", "tenant-page-dark")] {
            browser.page.goto(&format!("http://{}{page}", served.address)).await?;
            browser.click(".account summary").await?;
            let choose = format!(
                "document.querySelector('select[name=language]').value = 'en'; \
                 document.querySelector('select[name=theme]').value = '{theme}'; \
                 document.querySelector('.account form').requestSubmit();"
            );
            browser.page.execute(&choose, Vec::new()).await?;
            browser.wait(&format!("html[lang='en'][data-theme='{theme}'] .measures")).await?;
            browser.picture(name).await?;
        }
        for (name, path) in &pages {
            faults.add(check(&browser, &served.address, &format!("{name}-en-dark"), path).await);
        }
        browser.page.set_window_size(320, 800).await?;
        for (name, path) in &pages {
            faults.add(check(&browser, &served.address, &format!("{name}-en-phone"), path).await);
        }
        faults.ensure_none()?;
        served.process.stop().await
    })
    .await;
}
