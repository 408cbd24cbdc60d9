//! HTTP requests to a process, as a supervisor or a scraper makes them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::stage::{Stage, poll};

/// The response of a process.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Response {
    /// True when a line of the head starts with `line`.
    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|header| header.starts_with(line))
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// From a health report: whether the check of this name succeeded.
    pub fn check(&self, name: &str) -> Option<bool> {
        let report = self.json();
        let checks = report["checks"].as_array()?;
        checks.iter().find(|check| check["name"] == name)?["ok"].as_bool()
    }
}

/// Requests `path` over HTTP/1.0, with this `Accept` header.
pub async fn get(address: &str, path: &str, accept: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(address).await?;
    let question = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).context("an answer has a status")?;
    Ok(Response {
        status: status.parse()?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// Repeats the request until `wanted` accepts the response.
pub async fn until(address: &str, path: &str, wanted: impl Fn(&Response) -> bool) -> Result<Response> {
    poll(format!("the wanted response of {path}"), async || {
        let response = get(address, path, "*/*").await.ok();
        Ok(response.filter(|response| wanted(response)))
    })
    .await
}

/// The HTTP address of the running process of this role.
pub async fn address_of(stage: &Stage, role: &str) -> Result<String> {
    poll(format!("a running {role}"), async || {
        let address: Option<Option<String>> =
            sqlx::query_scalar("SELECT http_address FROM etl_process WHERE role = $1")
                .bind(role.to_owned())
                .fetch_optional(&stage.target)
                .await?;
        Ok(address.flatten())
    })
    .await
}

/// Waits until the running workers have refused so many messages together. An empty queue is not enough to know that: a
/// worker that is stopped returns the messages that it has not looked at.
pub async fn until_refused(stage: &Stage, count: u64) -> Result<()> {
    poll(format!("{count} refused messages"), async || {
        let addresses: Vec<String> = sqlx::query_scalar(
            "SELECT http_address FROM etl_process WHERE role = 'worker' AND http_address IS NOT NULL",
        )
        .fetch_all(&stage.target)
        .await?;
        let mut refused = 0;
        for address in addresses {
            let Ok(metrics) = get(&address, "/metrics", "*/*").await else {
                continue;
            };
            let attempts = metrics
                .body
                .lines()
                .filter(|line| line.starts_with("tidemark_chunk_attempts_total{"));
            for line in attempts.filter(|line| line.contains("outcome=\"refused\"")) {
                let value = line.rsplit(' ').next().context("a sample has a value")?;
                refused += value.parse::<u64>()?;
            }
        }
        Ok((refused >= count).then_some(()))
    })
    .await
}

/// A way to a server that a test can open and close. Its address stays the same.
pub struct Gate {
    pub address: SocketAddr,
    server: String,
    open: Option<JoinSet<()>>,
}

impl Gate {
    /// A closed gate: nothing listens.
    pub async fn to(server: &str) -> Result<Self> {
        Ok(Self {
            address: TcpListener::bind("127.0.0.1:0").await?.local_addr()?,
            server: server.to_owned(),
            open: None,
        })
    }

    pub async fn open(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let server = self.server.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        // either side may close the connection
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        self.open = Some(tasks);
        Ok(())
    }

    /// Closes every connection and accepts no new one.
    pub async fn close(&mut self) {
        if let Some(mut tasks) = self.open.take() {
            tasks.shutdown().await;
        }
    }
}
