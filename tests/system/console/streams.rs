//! Live numbers: one look for everybody, none for nobody, and an end at the soft stop.

use anyhow::{Context, Result, ensure};
use sqlx::Row;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::client::serve;
use crate::stage::{Stage, on_stage, poll};

/// Opens a stream and waits for its first event.
async fn open(address: &str, page: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address).await?;
    let question = format!("GET /events?page={page} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        let read = reader.read_line(&mut line).await?;
        ensure!(read > 0, "the stream has ended");
        if line.starts_with("data:") {
            return Ok(reader);
        }
    }
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
            let mut line = String::new();
            poll("the change", async || {
                line.clear();
                stream.read_line(&mut line).await?;
                Ok(line.contains("seen by all tabs").then_some(()))
            })
            .await?;
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
        let mut line = String::new();
        let last = poll("the end of the run on its page", async || {
            line.clear();
            let read = stream.read_line(&mut line).await?;
            ensure!(read > 0, "the stream has ended");
            Ok((line.contains("badge good") && line.contains(">success<")).then(|| line.clone()))
        })
        .await?;
        let shown = stage.tidemark(&["run", "show", &id, "--json"]).await?.json();
        let extracted = shown["records"]["extracted"].as_i64().context("a number")?;
        ensure!(extracted > 0 && last.contains(&format!(">{extracted}<")), "{shown}: {last}");
        let chunks = shown["chunks"]["total"].as_i64().context("a number")?;
        let cells = last.matches("class=\"cell done\"").count();
        // one cell a chunk, and one in the legend
        ensure!(i64::try_from(cells)? == chunks + 1, "{cells} cells of {chunks} chunks");
        served.process.stop().await
    })
    .await;
}
