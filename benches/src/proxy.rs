//! A connection to a distant server: every byte is delayed, and bytes never overtake each other.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Buffered pieces of one direction, each of at most 64 KiB.
const UNDER_WAY: usize = 4096;

pub struct Delay {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Delay {
    /// A proxy for the server in this URL, which adds `each_way` to each direction.
    pub async fn before(url: &str, each_way: Duration) -> Result<Self> {
        let url: url::Url = url.parse()?;
        let host = url.host_str().context("the URL has a host")?.to_owned();
        let port = url.port().unwrap_or(5432);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while wires.try_join_next().is_some() {}
                let Ok(server) = TcpStream::connect((host.as_str(), port)).await else {
                    continue;
                };
                // without Nagle's algorithm, which would add to the delay
                if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
                    continue;
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                wires.spawn(carry(from_client, to_server, each_way));
                wires.spawn(carry(from_server, to_client, each_way));
            }
        });
        Ok(Self {
            port: own,
            _tasks: tasks,
        })
    }

    /// The same URL, through the proxy.
    pub fn url(&self, url: &str) -> Result<String> {
        let mut url: url::Url = url.parse()?;
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(self.port))
            .ok()
            .context("the URL can have a port")?;
        Ok(url.to_string())
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let reading = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender
                .send((Instant::now() + delay, buffer[..count].to_vec()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(reading, writing);
}
