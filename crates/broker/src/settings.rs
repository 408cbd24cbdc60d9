//! Settings of the connection to RabbitMQ.

use std::time::Duration;

use tidemark_net::url::ServerUrl;

/// Address, names and time limits.
#[derive(Debug, Clone)]
pub struct RabbitSettings {
    /// `amqp://` or `amqps://`. Certificates are checked against the system's authorities and those in `cacertfile`. Several
    /// URLs separated by commas are the nodes of one cluster.
    pub url: ServerUrl,
    /// First part of every exchange and queue name.
    pub prefix: String,
    /// Shown in the broker's listings, followed by the connection's role.
    pub connection_name: String,
    /// Whole seconds, at most 60. The connection fails after two missed heartbeats. A `heartbeat` in the URL wins.
    pub heartbeat: Duration,
    /// For TCP, TLS and login together.
    pub connect_timeout: Duration,
    /// For the confirms of one batch of published messages.
    pub confirm_timeout: Duration,
}

impl RabbitSettings {
    /// The defaults, for one broker.
    #[must_use]
    pub fn new(url: ServerUrl) -> Self {
        Self {
            url,
            prefix: "tidemark".to_owned(),
            connection_name: "tidemark".to_owned(),
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(15),
        }
    }
}
