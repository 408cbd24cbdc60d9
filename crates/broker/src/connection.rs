//! Connections to the broker. Every connection is opened here, and declares the topology before it is used.
//!
//! lapin's own recovery stays off. It can hang forever after a forced close, never restores a channel, and hides an outage
//! from publishers. After an error the caller drops the connection and opens a new one.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::runtime::default_runtime;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use url::Host;

use super::certificates::Certificates;
use super::destination::{Destination, Route};
use super::error::QueueError;
use super::open_connection::{OpenConnection, Transitions};
use super::settings::RabbitSettings;
use super::topology::Topology;
use tidemark_net::tls::{Exposure, TlsFault, is_local};
use tidemark_net::url::{ServerUrl, parse_url};

/// How long the broker may take for one request on an open connection. Only a broken or blocked connection takes longer, and
/// must be replaced.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Maximum frame size in bytes. lapin keeps 64 frames in memory for each connection; its default is the server's 128 KiB.
/// RabbitMQ requires at least 8 KiB. Larger messages are split.
const FRAME_MAX: u32 = 16 << 10;

/// The nodes of the broker and the settings for connecting to them. Holds the password, so it has no `Debug`.
pub(super) struct Server {
    url: ServerUrl,
    /// Whole seconds, for URLs without a heartbeat of their own.
    heartbeat: u16,
    nodes: RwLock<Arc<Nodes>>,
    /// The broker refused user, password or virtual host at the last attempt.
    refuses_login: AtomicBool,
    connection_name: String,
    connect_timeout: Duration,
    transitions: Transitions,
    pub topology: Topology,
}

/// The nodes of the cluster, from one text of the URL.
struct Nodes {
    text: SecretString,
    all: Vec<Node>,
    /// Index of the last node reached, which is tried first.
    current: AtomicUsize,
}

/// A node and its TLS files.
struct Node {
    uri: AMQPUri,
    certificates: Certificates,
}

impl Nodes {
    fn parse(text: &SecretString, heartbeat: u16) -> Result<Self, QueueError> {
        let all = split_urls(text.expose_secret())
            .into_iter()
            .map(|url| {
                let mut node = parse(url)?;
                // reports a missing file at start-up
                node.certificates.read()?;
                // lapin's default is the server's 60 s; a frozen broker is noticed after two heartbeats
                let query = &mut node.uri.query;
                query.heartbeat = query.heartbeat.or(Some(heartbeat));
                query.frame_max = query.frame_max.or(Some(FRAME_MAX));
                Ok(node)
            })
            .collect::<Result<Vec<_>, QueueError>>()?;
        Ok(Self {
            text: text.clone(),
            all,
            current: AtomicUsize::new(0),
        })
    }

    fn current(&self) -> &Node {
        &self.all[self.current.load(Ordering::Relaxed)]
    }
}

impl Server {
    pub fn new(settings: &RabbitSettings) -> Result<Self, QueueError> {
        let heartbeat = u16::try_from(settings.heartbeat.as_secs().clamp(1, 60)).unwrap_or(60);
        let nodes = Nodes::parse(settings.url.secret(), heartbeat)?;
        Ok(Self {
            url: settings.url.clone(),
            heartbeat,
            nodes: RwLock::new(Arc::new(nodes)),
            refuses_login: AtomicBool::new(false),
            connection_name: settings.connection_name.clone(),
            connect_timeout: settings.connect_timeout,
            transitions: Transitions::new(),
            topology: Topology::new(&settings.prefix)?,
        })
    }

    /// Opens a connection and declares the topology. The broker's listings show `role`. Nodes that cannot be reached are
    /// skipped; when one node refuses the login, no other is tried.
    pub async fn connect(&self, role: &str) -> Result<OpenConnection, QueueError> {
        let connection = self.connect_without_declaring(role).await?;
        let address = address(self.nodes().current());
        self.topology.declare(&connection, &address, ANSWER_LIMIT).await?;
        Ok(connection)
    }

    /// Like [`Self::connect`], but declares nothing.
    pub async fn connect_without_declaring(&self, role: &str) -> Result<OpenConnection, QueueError> {
        let connected = self.connect_to_any(role).await;
        let is_refused = matches!(connected, Err(QueueError::Refused { .. }));
        self.refuses_login.store(is_refused, Ordering::Relaxed);
        connected
    }

    async fn connect_to_any(&self, role: &str) -> Result<OpenConnection, QueueError> {
        self.read_again()?;
        let nodes = self.nodes();
        let first = nodes.current.load(Ordering::Relaxed);
        let mut unreachable = None;
        for index in (first..nodes.all.len()).chain(0..first) {
            match self.connect_to(&nodes.all[index], role).await {
                Ok(connection) => {
                    nodes.current.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error @ QueueError::Unreachable { .. }) => {
                    unreachable.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(unreachable.expect("there is at least one node"))
    }

    /// Waits until every connection that was dropped is closed.
    pub async fn wait_for_closes(&self) {
        self.transitions.wait().await;
    }

    async fn connect_to(&self, node: &Node, role: &str) -> Result<OpenConnection, QueueError> {
        let name = format!("{} {role}", self.connection_name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = default_runtime().map_err(|error| self.failure(node, error))?;
        let certificates = node.certificates.read()?;
        let (uri, limit) = (node.uri.clone(), self.connect_timeout);
        let connecting = async move {
            let connecting = Connection::connect_uri_with_config(uri, properties, certificates, runtime);
            let timed_out = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
            timeout(limit, connecting).await.unwrap_or_else(timed_out)
        };
        let connected = self.transitions.open(connecting).await;
        connected.map_err(|error| self.failure(node, error))
    }

    fn failure(&self, node: &Node, source: lapin::Error) -> QueueError {
        let server = address(node);
        let fault = match source.kind() {
            ErrorKind::IOError(error) => TlsFault::find(error.as_ref()),
            _ => None,
        };
        if let Some(fault) = fault {
            QueueError::Tls {
                server,
                fault,
                source,
            }
        } else if is_refusal(&source) {
            QueueError::Refused {
                server,
                file: self.url.file().map(Path::to_owned),
                source,
            }
        } else {
            QueueError::Unreachable { server, source }
        }
    }

    /// Reads the file of the URL, for a password that has changed.
    fn read_again(&self) -> Result<(), QueueError> {
        let Some(text) = self.url.read_again()? else {
            return Ok(());
        };
        if text.expose_secret() != self.nodes().text.expose_secret() {
            let nodes = Nodes::parse(&text, self.heartbeat)?;
            *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(nodes);
        }
        Ok(())
    }

    /// No code panics while it holds this lock.
    fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The broker refused user, password or virtual host at the last attempt.
    pub fn refuses_login(&self) -> bool {
        self.refuses_login.load(Ordering::Relaxed)
    }

    /// The last node reached, and whether it uses TLS.
    pub fn node(&self) -> (AMQPUri, bool) {
        let uri = self.nodes().current().uri.clone();
        let is_tls = uri.scheme == AMQPScheme::AMQPS;
        (uri, is_tls)
    }

    /// Nodes that are reached over the network without encryption.
    pub fn exposed(&self) -> Vec<(String, Exposure)> {
        let is_exposed =
            |node: &&Node| node.uri.scheme == AMQPScheme::AMQP && !is_local(&node.uri.authority.host);
        let nodes = self.nodes();
        let exposed = nodes.all.iter().filter(is_exposed);
        exposed.map(|node| (address(node), Exposure::Plain)).collect()
    }

    pub fn destination(&self, route: Route) -> Destination {
        let (routing_key, queue) = match route {
            Route::Chunks(lane) => (Topology::lane_key(lane), self.topology.chunks(lane)),
            Route::Events => (Topology::events_key(), &self.topology.events),
        };
        let nodes = self.nodes();
        let node = &nodes.current().uri;
        Destination {
            exchange: self.topology.jobs.to_string(),
            routing_key: routing_key.to_string(),
            queue: queue.to_string(),
            host: node.authority.host.clone(),
            port: node.authority.port,
        }
    }
}

/// Splits a list of URLs. A comma separates two URLs only if a scheme follows it, because a password may contain commas.
fn split_urls(list: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut rest = list;
    while let Some(comma) = [",amqp://", ",amqps://"]
        .iter()
        .filter_map(|next| rest.find(next))
        .min()
    {
        urls.push(&rest[..comma]);
        rest = &rest[comma + 1..];
    }
    urls.push(rest);
    urls
}

/// `host:port/vhost`, the only parts of a URL that may be shown.
fn address(node: &Node) -> String {
    let authority = &node.uri.authority;
    let vhost = node.uri.vhost.trim_start_matches('/');
    format!("{}:{}/{vhost}", authority.host, authority.port)
}

fn is_refusal(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return false;
    };
    matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    )
}

fn parse(text: &str) -> Result<Node, QueueError> {
    // lapin reads an empty host as localhost; refuse it, so that a typo never connects to another broker
    let url = parse_url(text)
        .filter(|url| url.host_str().is_some_and(|host| !host.is_empty()))
        .ok_or(QueueError::Url)?;
    let mut uri: AMQPUri = text.parse().map_err(|_| QueueError::Url)?;
    // lapin reads a bare IPv6 host as localhost, and a trailing slash as a vhost with an empty name
    if let Some(Host::Ipv6(host)) = url.host() {
        uri.authority.host = host.to_string();
    }
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    Ok(Node {
        uri,
        certificates: Certificates::from_url(&url)?,
    })
}

/// Waits for the broker's answer, at most [`ANSWER_LIMIT`].
pub(super) async fn await_answer<T>(
    action: &'static str,
    answering: impl Future<Output = lapin::Result<T>>,
) -> Result<T, QueueError> {
    match timeout(ANSWER_LIMIT, answering).await {
        Ok(answered) => answered.map_err(|source| QueueError::Amqp { action, source }),
        Err(_) => Err(QueueError::Timeout {
            action,
            limit: ANSWER_LIMIT,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(urls: &str) -> Vec<String> {
        let server = Server::new(&RabbitSettings::new(urls.into())).ok().unwrap();
        server.nodes().all.iter().map(super::address).collect()
    }

    fn address(url: &str) -> Option<String> {
        let settings = RabbitSettings::new(url.into());
        let server = Server::new(&settings).ok()?;
        Some(super::address(&server.nodes().all[0]))
    }

    #[test]
    fn the_nodes_of_a_cluster_are_urls_separated_by_commas() {
        assert_eq!(
            nodes("amqp://u:a,b@one/%2f,amqps://u:a,amqp@two/%2f,amqp://u:p@three:5673/%2f"),
            ["one:5672/", "two:5671/", "three:5673/"]
        );
        assert_eq!(address("amqp://one,http://u:hunter2@two"), None);
        assert_eq!(address("amqp://one,amqp://"), None);
    }

    #[test]
    fn an_address_shows_host_port_and_vhost_and_no_more() {
        assert_eq!(address("amqp://me:secret@mq/%2f").unwrap(), "mq:5672/");
        assert_eq!(address("amqp://me:secret@mq:5673/etl").unwrap(), "mq:5673/etl");
        assert_eq!(address("amqps://me:p%40%2F%3F%25%3Aw@mq/").unwrap(), "mq:5671/");
        assert_eq!(address("amqp://me:secret@[::1]").unwrap(), "::1:5672/");
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_quoted() {
        for url in [
            "user:hunter2@mq",
            "http://u:hunter2@mq",
            "amqp://u:hunter2/x@mq",
            "amqp://u:4?hunter2@mq",
            "",
        ] {
            let error = Server::new(&RabbitSettings::new(url.into())).err().unwrap();
            assert!(matches!(error, QueueError::Url), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn the_urls_own_heartbeat_and_frame_size_win() {
        let server = |url: &str| Server::new(&RabbitSettings::new(url.into())).unwrap();
        assert_eq!(server("amqp://mq").nodes().all[0].uri.query.heartbeat, Some(10));
        assert_eq!(
            server("amqp://mq?heartbeat=3").nodes().all[0].uri.query.heartbeat,
            Some(3)
        );
        assert_eq!(
            server("amqp://mq?frame_max=131072").nodes().all[0]
                .uri
                .query
                .frame_max,
            Some(131_072)
        );
    }

    #[test]
    fn plain_text_to_another_machine_is_exposed() {
        let exposed = |urls: &str| {
            let server = Server::new(&RabbitSettings::new(urls.into())).ok().unwrap();
            server.exposed()
        };
        assert_eq!(
            exposed("amqp://u:p@one/%2f,amqps://u:p@two/%2f"),
            [("one:5672/".to_owned(), Exposure::Plain)]
        );
        assert_eq!(exposed("amqp://localhost,amqp://[::1],amqp://127.0.0.1:9/x"), []);
    }

    #[test]
    fn a_prefix_is_neither_empty_nor_longer_than_a_name() {
        for length in [0, 201] {
            let mut settings = RabbitSettings::new("amqp://mq".into());
            settings.prefix = "x".repeat(length);
            assert!(matches!(Server::new(&settings), Err(QueueError::Prefix { .. })));
        }
    }
}
