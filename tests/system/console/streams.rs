//! Live numbers: one look for everybody, none for nobody, and an end at the soft stop.

use anyhow::{Context, Result, ensure};
use sqlx::Row;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::client::{Client, serve};
use crate::servers::Server;
use crate::stage::{Servers, Stage, WAIT_LIMIT, on_servers, on_stage};

/// The stream of one tab.
pub type Stream = BufReader<TcpStream>;

/// Asks for a stream.
async fn send(address: &str, page: &str, cookie: Option<&str>) -> Result<Stream> {
    let mut stream = TcpStream::connect(address).await?;
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n"));
    let question = format!(
        "GET /events?page={page} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
         Connection: close\r\n{}\r\n",
        cookie.unwrap_or_default()
    );
    stream.write_all(question.as_bytes()).await?;
    Ok(BufReader::new(stream))
}

/// Opens a stream and waits for its first event.
pub async fn open(address: &str, page: &str) -> Result<Stream> {
    open_as(address, page, None).await
}

/// The same, for whoever the cookie says.
pub async fn open_as(address: &str, page: &str, cookie: Option<&str>) -> Result<Stream> {
    let mut stream = send(address, page, cookie).await?;
    read_line(&mut stream, |line| line.starts_with("data:"), "an event").await?;
    Ok(stream)
}

/// Sessions of the console on the target, with their last statements.
async fn statements(stage: &Stage) -> Result<i64> {
    let row = sqlx::query("SELECT xact_commit FROM pg_stat_database WHERE datname = $1")
        .bind(stage.database("target"))
        .fetch_one(&stage.target)
        .await?;
    Ok(row.try_get(0)?)
}

#[tokio::test]
async fn a_stream_shows_changes_and_ends_when_the_console_stops() {
    on_stage(|stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(open(&served.address, "/tenants").await?);
        }
        let paused = stage
            .tidemark(&["tenant", "pause", "--tenant", "1", "--reason", "seen by all tabs"])
            .await?;
        ensure!(paused.code == 0, "{paused:?}");
        for stream in &mut streams {
            read_until(stream, |line| line.contains("seen by all tabs"), "the change").await?;
        }
        ensure!(statements(&stage).await? > 0, "the ledger was asked");
        // the process ends although its streams are open, and with exit code 0
        served.process.stop().await?;
        for stream in &mut streams {
            let mut rest = Vec::new();
            // a reset is an end too
            drop(stream.read_to_end(&mut rest).await);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_run_is_followed_to_its_last_number() {
    on_stage(|stage| async move {
        stage.sample(400, 1, 3).await?;
        let served = serve(&stage, "up", &[]).await?;
        let id = stage.ask_full("20").await?;
        let mut stream = open(&served.address, &format!("/runs/{id}")).await?;
        let has_ended = |line: &str| line.contains("badge good") && line.contains(">success<");
        let last = read_until(&mut stream, has_ended, "the end of the run on its page").await?;
        let shown = stage.tidemark(&["run", "show", &id, "--json"]).await?.json();
        let extracted = shown["records"]["extracted"].as_i64().context("a number")?;
        ensure!(
            extracted > 0 && last.contains(&format!(">{extracted}<")),
            "{shown}: {last}"
        );
        let chunks = shown["chunks"]["total"].as_i64().context("a number")?;
        let cells = last.matches("class=\"cell done\"").count();
        // one cell a chunk, and one in the legend
        ensure!(
            i64::try_from(cells)? == chunks + 1,
            "{cells} cells of {chunks} chunks"
        );
        served.process.stop().await
    })
    .await;
}

/// Reads the stream until a message has this text.
pub async fn read_until(stream: &mut Stream, wanted: impl Fn(&str) -> bool, what: &str) -> Result<String> {
    read_line(stream, |line| line.starts_with("data: ") && wanted(line), what).await
}

async fn read_line(stream: &mut Stream, wanted: impl Fn(&str) -> bool, what: &str) -> Result<String> {
    let reading = async {
        loop {
            let mut line = String::new();
            let read = stream.read_line(&mut line).await?;
            ensure!(read > 0, "the stream has ended before {what}");
            if wanted(&line) {
                return Ok(line);
            }
        }
    };
    tokio::time::timeout(WAIT_LIMIT, reading)
        .await
        .with_context(|| format!("never: {what}"))?
}

#[tokio::test]
async fn a_ledger_that_is_away_is_said_and_the_page_goes_on_by_itself() {
    let ledger = Server::postgres().await.expect("a server can be started");
    let servers = Servers {
        target: ledger.url().expect("a url"),
        ..Servers::shared()
    };
    let ledger = &ledger;
    on_servers(servers, |stage| async move {
        stage.tenant(1, "UTC", &[1]).await?;
        let served = serve(&stage, "console", &[]).await?;
        let other = serve(&stage, "console", &[]).await?;
        let mut stream = open(&served.address, "/").await?;
        read_until(&mut stream, |line| line.contains("Overview"), "the first look").await?;
        ledger.crash().await?;
        let is_away =
            |line: &str| line.contains("The ledger does not answer.") && line.contains("content stale");
        read_until(&mut stream, is_away, "a page that says so").await?;
        // the last numbers stay for whoever comes now
        let page = Client::new(&served.address).get("/tenants").await?;
        ensure!(
            page.status == 200 && page.body.contains("Tenant 1") && page.body.contains("content stale"),
            "{page:?}"
        );
        let audit = Client::new(&served.address).get("/audit").await?;
        ensure!(
            audit.status == 503 && audit.header("retry-after").is_some(),
            "{audit:?}"
        );
        // a console that has no look yet says so too
        let mut waiting = send(&other.address, "/tenants", None).await?;
        read_line(
            &mut waiting,
            |line| line.starts_with("event: away"),
            "a word of a console without a look",
        )
        .await?;
        ledger.start().await?;
        read_until(&mut waiting, |line| line.contains("Tenant 1"), "its first look").await?;
        other.process.stop().await?;
        let is_back = |line: &str| !line.contains("The ledger does not answer.") && line.contains("Overview");
        read_until(&mut stream, is_back, "a page of the ledger that is back").await?;
        served.process.stop().await
    })
    .await;
}
