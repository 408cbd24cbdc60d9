//! The dialogs in a real browser, and the whole console with a keyboard alone.

use anyhow::{Context, Result, ensure};
use fantoccini::key::Key;
use serde_json::Value;

use super::browser::Browser;
use super::client::serve;
use super::look::{Faults, check_access, check_faults};
use crate::stage::on_stage;

/// Pages, and the dialogs that their buttons open.
const DIALOGS: [(&str, &[&str]); 3] = [
    (
        "/tenants/1",
        &[
            "/tenants/1/do/pause",
            "/tenants/1/do/full",
            "/tenants/1/do/resync",
            "/tenants/1/do/repair",
            "/tenants/1/do/map",
            "/tenants/1/do/unmap",
            "/tenants/1/do/watermark",
            "/tenants/1/do/forget",
            "/tenants/1/do/remove",
        ],
    ),
    ("/tenants/1?tab=settings", &["/tenants/1/do/settings"]),
    ("/dead", &["/dead/do/redrive", "/dead/do/purge"]),
];

async fn press(browser: &Browser, key: Key) -> Result<()> {
    let focused = browser.page.active_element().await?;
    focused.send_keys(&char::from(key).to_string()).await?;
    Ok(())
}

/// What has the focus, in a few words.
async fn focused(browser: &Browser) -> Result<String> {
    let script = "const one = document.activeElement; return (one.getAttribute('href') || one.getAttribute('formaction') || '') \
                  + ' ' + (one.id || one.name || one.textContent.trim().slice(0, 30));";
    let found = browser.page.execute(script, Vec::new()).await?;
    Ok(found.as_str().unwrap_or_default().to_owned())
}

/// Opens the dialog of a link with the keyboard, looks at it, and closes it again.
async fn check_dialog(browser: &Browser, link: &str, name: &str) -> Result<()> {
    let focus = format!(
        "const link = document.querySelector(\"a[data-dialog][href='{link}']\"); \
         if (!link) return false; const menu = link.closest('details'); if (menu) menu.open = true; link.focus(); \
         return document.activeElement === link;"
    );
    let found = browser.page.execute(&focus, Vec::new()).await?;
    ensure!(found == true, "{name}: no link {link} that takes the focus");
    press(browser, Key::Enter).await?;
    browser.wait("dialog[open] [data-close]").await?;
    let state = browser
        .page
        .execute(
            "const dialog = document.querySelector('dialog'); return { \
             cancel: document.activeElement.hasAttribute('data-close'), \
             command: !!dialog.querySelector('.command code')?.textContent.includes('tidemark '), \
             wide: dialog.scrollWidth - dialog.clientWidth }",
            Vec::new(),
        )
        .await?;
    ensure!(
        state["cancel"] == true && state["command"] == true && state["wide"] == 0,
        "{name}: {state}"
    );
    check_access(browser, name).await?;
    check_faults(browser, name).await?;
    browser.picture(name).await?;
    press(browser, Key::Escape).await?;
    let closed = browser
        .page
        .execute("return !document.querySelector('dialog').open", Vec::new())
        .await?;
    ensure!(closed == true, "{name}: Escape closes it");
    let back = focused(browser).await?;
    ensure!(
        back.starts_with(link),
        "{name}: the focus is on {back:?} and not on its button"
    );
    browser.ensure_quiet(name).await
}

#[tokio::test]
async fn every_dialog_is_sound_and_needs_no_mouse() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let browser = Browser::open(1400, 1000).await?;
        let mut faults = Faults::default();
        for (look, width) in [("en-light", 1400), ("pt-dark", 1400), ("pt-phone", 320)] {
            browser.page.set_window_size(width, 900).await?;
            browser.page.goto(&format!("http://{}/", served.address)).await?;
            if look == "pt-dark" {
                browser.prefer("pt-BR", "dark").await?;
            }
            for (page, links) in DIALOGS {
                browser
                    .page
                    .goto(&format!("http://{}{page}", served.address))
                    .await?;
                for link in links {
                    let name = format!("dialog-{}-{look}", link.trim_start_matches('/').replace('/', "-"));
                    let found = check_dialog(&browser, link, &name).await;
                    if found.is_err() {
                        // what one has left open does not hide the next
                        browser.page.refresh().await?;
                    }
                    faults.add(found);
                }
            }
        }
        faults.ensure_none()?;
        served.process.stop().await
    })
    .await;
}

/// Everything on the page that a mouse can use.
const USABLE: &str = r#"
    const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
    window.usable = [...document.querySelectorAll("a[href], button:not(:disabled), input:not([type=hidden]), select, textarea, summary")]
        .filter((one) => shown(one) && one.tabIndex >= 0);
    return window.usable.map((one) => one.outerHTML.slice(0, 100));
"#;

/// What has the focus: its number, whether a person sees that, and whether it is in the window.
const FOCUS: &str = r#"
    const one = document.activeElement;
    if (one === document.body) return null;
    const style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    return { key: window.usable.indexOf(one), ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
             inside: box.bottom > 0 && box.top < innerHeight, what: one.outerHTML.slice(0, 100) };
"#;

/// Walks through the whole page with the tabulator.
async fn walk(browser: &Browser, page: &str) -> Result<()> {
    let usable = browser.page.execute(USABLE, Vec::new()).await?;
    let usable = usable.as_array().cloned().unwrap_or_default();
    ensure!(usable.len() > 15, "{page}: {usable:?}");
    let mut reached = vec![false; usable.len()];
    for _ in 0..usable.len() + 20 {
        press(browser, Key::Tab).await?;
        let now = browser.page.execute(FOCUS, Vec::new()).await?;
        if now == Value::Null {
            break;
        }
        ensure!(
            now["ring"] == true && now["inside"] == true,
            "{page}: the focus cannot be seen: {now}"
        );
        if let Some(key) = now["key"].as_u64().and_then(|key| usize::try_from(key).ok()) {
            reached[key] = true;
        }
    }
    let missed: Vec<_> = usable
        .iter()
        .zip(&reached)
        .filter(|(_, is)| !**is)
        .map(|(one, _)| one)
        .collect();
    ensure!(
        missed.is_empty(),
        "{page}: not reached by the keyboard: {missed:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_keyboard_reaches_everything_and_shows_where_it_is() {
    on_stage(|stage| async move {
        stage.sample(20, 1, 5).await?;
        stage.sync_local(&["--tenant", "1"]).await?;
        let served = serve(&stage, "console", &[("TIDEMARK_CONSOLE_SOURCES", "false")]).await?;
        let browser = Browser::open(1400, 1000).await?;
        for page in ["/", "/tenants", "/tenants/1", "/runs/1", "/audit", "/settings"] {
            browser
                .page
                .goto(&format!("http://{}{page}", served.address))
                .await?;
            browser.wait("main").await?;
            walk(&browser, page).await?;
        }
        // the first stop leads past the menu
        browser
            .page
            .goto(&format!("http://{}/tenants", served.address))
            .await?;
        press(&browser, Key::Tab).await?;
        press(&browser, Key::Enter).await?;
        let at = focused(&browser).await?;
        ensure!(at.ends_with("main"), "{at}");
        // a key begins the search, Enter ends it
        browser
            .page
            .find(fantoccini::Locator::Css("body"))
            .await?
            .send_keys("/")
            .await?;
        ensure!(
            focused(&browser).await?.ends_with("search"),
            "the search has the focus"
        );
        browser.page.active_element().await?.send_keys("tenant-1").await?;
        press(&browser, Key::Enter).await?;
        browser
            .wait(".tabbed")
            .await
            .context("the tenant that was searched for")?;
        // a menu opens and closes
        browser
            .page
            .execute("document.querySelector('.more summary').focus()", Vec::new())
            .await?;
        press(&browser, Key::Enter).await?;
        browser.wait(".more[open]").await?;
        press(&browser, Key::Escape).await?;
        browser.wait(".more:not([open])").await?;
        served.process.stop().await
    })
    .await;
}
