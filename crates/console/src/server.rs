//! Listens, serves, and ends at the soft stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::serve;
use tidemark_operations::bulk::BulkWorker;
use tidemark_runtime::config::{ConsoleAuth, ConsoleSettings, Listen};
use tokio::net::TcpListener;

use crate::auth::session;
use crate::console::Console;
use crate::router::router;

/// The address without a setting.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9480);
/// Requests in hand may take this long after the soft stop. Streams end at once.
const END_WITHIN: Duration = Duration::from_secs(1);

/// An address that the console listens on.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    pub address: SocketAddr,
    prefix: String,
}

impl Bound {
    /// Where a browser on this machine finds the console.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}{}/", self.prefix)
    }

    /// Serves until the process ends.
    pub fn serve(self, console: &Arc<Console>) {
        crate::metrics::begin();
        spawn(console);
        let lifecycle = console.lifecycle.clone();
        let service = router(console).into_make_service_with_connect_info::<SocketAddr>();
        let stop = lifecycle.soft().clone();
        console.lifecycle.spawn("console", async move {
            let ended = stop.clone();
            let server = serve(self.listener, service)
                .with_graceful_shutdown(async move { ended.cancelled().await })
                .into_future();
            let over = async {
                stop.cancelled().await;
                tokio::time::sleep(END_WITHIN).await;
            };
            let beats = async {
                loop {
                    tidemark_runtime::pulse::beat();
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
            };
            tokio::select! {
                served = server => {
                    if let Err(error) = served {
                        tracing::error!(%error, "the console's server has stopped");
                    }
                }
                () = over => {}
                () = beats => {}
            }
        });
    }
}

/// Starts the loops of the console. The watcher does nothing while nobody looks.
fn spawn(console: &Arc<Console>) {
    let (watcher, lifecycle) = (Arc::clone(&console.watcher), console.lifecycle.clone());
    console
        .lifecycle
        .spawn("watcher", async move { watcher.run(&lifecycle).await });
    if !console.settings.console.read_only {
        let (bulk, lifecycle) = (Arc::clone(console), console.lifecycle.clone());
        let worker = BulkWorker::new(
            console.db.clone(),
            format!("console/{:016x}", rand::random::<u64>()),
        );
        console.lifecycle.spawn("bulk", async move {
            worker.run(&lifecycle, &bulk.bulk_wake).await;
        });
    }
    let sessions = Arc::clone(console);
    console.lifecycle.spawn("sessions", async move {
        session::prune_regularly(&sessions).await;
    });
}

/// Binds the address, so that a wrong one is reported before any work starts. Without a setting, further processes on one
/// machine get free ports. `None`: the console is off. The error says what to set.
pub async fn bind(settings: &ConsoleSettings) -> Result<Option<Bound>, String> {
    let wanted = match settings.listen {
        Some(Listen::Off) => return Ok(None),
        Some(Listen::At(address)) => address,
        None => DEFAULT_ADDRESS,
    };
    check(settings, wanted)?;
    let listener = match (TcpListener::bind(wanted).await, settings.listen) {
        (Err(_), None) => TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await,
        (listener, _) => listener,
    };
    let failed = |error: std::io::Error| {
        format!(
            "cannot listen on {wanted} for the console: {error}: set another console.listen \
             (TIDEMARK_CONSOLE_LISTEN), or `off`"
        )
    };
    let listener = listener.map_err(failed)?;
    Ok(Some(Bound {
        address: listener.local_addr().map_err(failed)?,
        prefix: settings.path_prefix.clone(),
        listener,
    }))
}

fn check(settings: &ConsoleSettings, address: SocketAddr) -> Result<(), String> {
    match settings.auth {
        ConsoleAuth::Off if !address.ip().to_canonical().is_loopback() => Err(format!(
            "console.listen is {address}, and with console.auth = \"off\" everybody who reaches it is an admin: set \
             console.auth to `password` or `proxy`, or listen on 127.0.0.1"
        )),
        ConsoleAuth::Proxy if settings.proxy_peers.is_empty() => Err(
            "console.auth is `proxy`, and console.proxy_peers is empty: set the addresses of the proxies whose header is \
             believed"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(auth: ConsoleAuth, address: &str) -> Option<String> {
        let settings = ConsoleSettings {
            auth,
            ..ConsoleSettings::default()
        };
        check(&settings, address.parse().unwrap()).err()
    }

    #[test]
    fn without_a_sign_in_the_console_listens_on_loopback_only() {
        assert_eq!(refusal(ConsoleAuth::Off, "127.0.0.1:1"), None);
        assert_eq!(refusal(ConsoleAuth::Off, "[::1]:1"), None);
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(
                refusal(ConsoleAuth::Off, open).is_some_and(|text| text.contains("console.auth")),
                "{open}"
            );
        }
        assert_eq!(refusal(ConsoleAuth::Password, "0.0.0.0:1"), None);
        assert!(refusal(ConsoleAuth::Proxy, "127.0.0.1:1").is_some_and(|text| text.contains("proxy_peers")));
    }
}
