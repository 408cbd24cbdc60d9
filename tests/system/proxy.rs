//! A TCP proxy with faults on request: the network between a fleet and one of its servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stage::WAIT_LIMIT;

/// Forwards connections to one server until it is dropped.
pub struct Proxy {
    port: u16,
    wires: Arc<Mutex<Wires>>,
    weather: watch::Sender<Weather>,
    carried: Arc<AtomicU64>,
    refused: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

/// Faults of all connections, present and future.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    refuses: bool,
    delay: Duration,
}

/// Faults of the connections that are open at one moment.
#[derive(Debug, Clone, Default)]
struct Wire {
    cut: CancellationToken,
    strand: CancellationToken,
    half_close: CancellationToken,
}

#[derive(Debug, Default)]
struct Wires {
    newest: Wire,
    stranded: Vec<Wire>,
}

impl Proxy {
    /// A proxy for the server in this URL.
    pub async fn before(url: &str) -> Result<Self> {
        let url: url::Url = url.parse()?;
        let server = (
            url.host_str().context("the URL has a host")?.to_owned(),
            url.port().context("the URL has a port")?,
        );
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let wires = Arc::new(Mutex::new(Wires::default()));
        let weather = watch::Sender::new(Weather::default());
        let carried = Arc::new(AtomicU64::new(0));
        let port = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        let (refusals, refused) = watch::channel(0);
        tasks.spawn(accept(
            listener,
            server,
            Arc::clone(&wires),
            weather.subscribe(),
            Arc::clone(&carried),
            refusals,
        ));
        Ok(Self {
            port,
            wires,
            weather,
            carried,
            refused,
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

    /// Bytes forwarded so far, in both directions together.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    fn wires(&self) -> std::sync::MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every connection.
    pub fn cut(&self) {
        let mut wires = self.wires();
        for wire in std::mem::take(&mut wires.stranded) {
            wire.cut.cancel();
        }
        std::mem::take(&mut wires.newest).cut.cancel();
    }

    /// Forwards nothing more on the open connections and leaves them open, like a pulled cable. Only silence shows
    /// the fault. New connections work.
    pub fn strand(&self) {
        let mut wires = self.wires();
        let wire = std::mem::take(&mut wires.newest);
        wire.strand.cancel();
        wires.stranded.push(wire);
    }

    /// Ends the server's side of the open connections: clients read an end, and what they send still arrives.
    pub fn half_close(&self) {
        let mut wires = self.wires();
        let wire = std::mem::take(&mut wires.newest);
        wire.half_close.cancel();
        wires.stranded.push(wire);
    }

    /// Closes new connections at once, or forwards them again.
    pub fn refuse(&self, refuses: bool) {
        self.weather.send_modify(|weather| weather.refuses = refuses);
    }

    /// Waits until so many new connections were closed.
    pub async fn until_refused(&self, count: usize) -> Result<()> {
        let mut refused = self.refused.clone();
        let reached = refused.wait_for(|refused| *refused >= count);
        tokio::time::timeout(WAIT_LIMIT, reached)
            .await
            .with_context(|| format!("never {count} connections refused"))??;
        Ok(())
    }

    /// Delays everything that is sent.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }
}

async fn accept(
    listener: TcpListener,
    server: (String, u16),
    wires: Arc<Mutex<Wires>>,
    weather: watch::Receiver<Weather>,
    carried: Arc<AtomicU64>,
    refusals: watch::Sender<usize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        if weather.borrow().refuses {
            refusals.send_modify(|refused| *refused += 1);
            continue;
        }
        // when the server is away, so is its proxy: the client's connection is closed
        let Ok(server) = TcpStream::connect((server.0.as_str(), server.1)).await else {
            continue;
        };
        let wire = wires
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .newest
            .clone();
        connections.spawn(carry(client, server, wire, weather.clone(), Arc::clone(&carried)));
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    wire: Wire,
    weather: watch::Receiver<Weather>,
    carried: Arc<AtomicU64>,
) {
    // small messages are delayed only by the proxy's own delay
    for socket in [&client, &server] {
        drop(socket.set_nodelay(true));
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = pump(&mut from_client, &mut to_server, &weather, &carried);
    let back = async {
        tokio::select! {
            () = pump(&mut from_server, &mut to_client, &weather, &carried) => {}
            () = wire.half_close.cancelled() => drop(to_client.shutdown().await),
        }
    };
    let carrying = async {
        tokio::join!(there, back);
    };
    tokio::select! {
        biased;
        () = wire.cut.cancelled() => return,
        () = wire.strand.cancelled() => {}
        () = carrying => return,
    }
    wire.cut.cancelled().await;
}

/// Forwards one direction until either end closes.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    weather: &watch::Receiver<Weather>,
    carried: &AtomicU64,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        carried.fetch_add(read as u64, Ordering::Relaxed);
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}
