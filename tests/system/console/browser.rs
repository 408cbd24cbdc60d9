//! A real Chromium, with a profile and a port of its own.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::stage::poll;

const END_WITHIN: Duration = Duration::from_secs(10);

/// A browser; ended when dropped, also by a test that has failed.
pub struct Browser {
    pub page: Client,
    profile: std::path::PathBuf,
    /// Where the driver listens.
    address: String,
    session: String,
    _driver: Child,
}

impl Browser {
    /// Ends the browser itself, which would go on without its driver and take half a processor.
    fn end(&self) -> std::io::Result<()> {
        let mut driver = std::net::TcpStream::connect(&self.address)?;
        driver.set_read_timeout(Some(END_WITHIN))?;
        let question = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.session, self.address
        );
        driver.write_all(question.as_bytes())?;
        driver.read_to_end(&mut Vec::new()).map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.end());
        drop(std::fs::remove_dir_all(&self.profile));
    }
}

/// Where pictures of pages go, for people who look at them.
#[expect(
    clippy::disallowed_methods,
    reason = "a folder for pictures is no setting of the program"
)]
fn pictures() -> Option<std::path::PathBuf> {
    std::env::var("TIDEMARK_TEST_PICTURES").ok().map(Into::into)
}

impl Browser {
    /// Opens a window of this size.
    pub async fn open(width: u32, height: u32) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0").await?;
        let port = free.local_addr()?.port();
        drop(free);
        let profile = std::env::temp_dir().join(format!("tidemark-browser-{:016x}", rand::random::<u64>()));
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start chromedriver: scripts/install-services browser installs it")?;
        let address = format!("127.0.0.1:{port}");
        poll("chromedriver", async || {
            Ok(TcpStream::connect(&address).await.ok())
        })
        .await?;
        let size = format!("--window-size={width},{height}");
        let folder = format!("--user-data-dir={}", profile.display());
        let options = json!({
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", size, folder,
            ],
        });
        let mut wanted = serde_json::Map::new();
        wanted.insert("goog:chromeOptions".to_owned(), options);
        wanted.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://{address}"))
            .await
            .context("open a window of chromium: scripts/install-services browser installs it")?;
        let session = page.session_id().await?.context("a session has an id")?;
        Ok(Self {
            page,
            profile,
            address,
            session,
            _driver: driver,
        })
    }

    /// Waits for an element.
    pub async fn wait(&self, css: &str) -> Result<fantoccini::elements::Element> {
        self.page
            .wait()
            .at_most(Duration::from_secs(60))
            .for_element(Locator::Css(css))
            .await
            .with_context(|| format!("never on the page: {css}"))
    }

    /// Waits until the page's text has this.
    pub async fn wait_for_text(&self, text: &str) -> Result<()> {
        poll(format!("the text {text:?}"), async || {
            let found = self.text().await?;
            Ok(found.contains(text).then_some(()))
        })
        .await
    }

    /// What a person reads.
    pub async fn text(&self) -> Result<String> {
        let text = self
            .page
            .execute("return document.body.innerText", Vec::new())
            .await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    pub async fn click(&self, css: &str) -> Result<()> {
        self.wait(css)
            .await?
            .click()
            .await
            .with_context(|| format!("click {css}"))
    }

    /// Clicks a link or a button by its text.
    pub async fn click_text(&self, text: &str) -> Result<()> {
        let path = format!(
            "//*[(self::a or self::button or self::summary) and starts-with(normalize-space(.), \"{text}\")]"
        );
        let found = self
            .page
            .wait()
            .at_most(Duration::from_secs(60))
            .for_element(Locator::XPath(&path))
            .await
            .with_context(|| format!("never on the page: {text}"))?;
        found.click().await.with_context(|| format!("click {text}"))
    }

    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let field = self.wait(css).await?;
        field.clear().await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Chooses language and theme as a person does, on the page that is open.
    pub async fn prefer(&self, language: &str, theme: &str) -> Result<()> {
        self.click(".account summary").await?;
        let choose = format!(
            "document.querySelector('select[name=language]').value = '{language}'; \
             document.querySelector('select[name=theme]').value = '{theme}'; \
             document.querySelector('.account form').requestSubmit();"
        );
        self.page.execute(&choose, Vec::new()).await?;
        self.wait(&format!("html[lang='{language}'][data-theme='{theme}']"))
            .await
            .map(drop)
    }

    /// Gives the window this width, and waits until the page has been drawn in it.
    pub async fn resize(&self, width: u32) -> Result<()> {
        self.page.set_window_size(width, 1000).await?;
        let drawn =
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));";
        self.page.execute_async(drawn, Vec::new()).await?;
        Ok(())
    }

    /// Saves a picture of the window, if somebody wants pictures.
    pub async fn picture(&self, name: &str) -> Result<()> {
        let Some(folder) = pictures() else { return Ok(()) };
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{name}.png")), self.page.screenshot().await?)?;
        Ok(())
    }

    /// Shows the page as paper does, or as the screen does again.
    pub async fn show_as(&self, medium: &'static str) -> Result<()> {
        self.page.issue_cmd(ShowAs(medium)).await?;
        Ok(())
    }

    /// Fails when a script of the page failed, or when its policy refused anything.
    pub async fn ensure_quiet(&self, page: &str) -> Result<()> {
        let entries = self.logs().await?;
        // an answer that is not 2xx is logged by the browser itself
        let bad: Vec<&Value> = entries
            .iter()
            .filter(|entry| entry["level"] == "SEVERE" && entry["source"] != "network")
            .collect();
        ensure!(bad.is_empty(), "{page}: {bad:?}");
        Ok(())
    }

    async fn logs(&self) -> Result<Vec<Value>> {
        let found = self.page.issue_cmd(BrowserLog).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }
}

/// What chromedriver offers beside the standard: the messages of the console since the last call.
#[derive(Debug)]
struct BrowserLog;

impl fantoccini::wd::WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

/// What chromedriver offers beside the standard: the medium for which the page is drawn.
#[derive(Debug)]
struct ShowAs(&'static str);

impl fantoccini::wd::WebDriverCompatibleCommand for ShowAs {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"media": self.0}});
        (http::Method::POST, Some(body.to_string()))
    }
}
