use std::time::Duration;

use secrecy::SecretString;

/// How to reach RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitSettings {
    /// `amqp://` or `amqps://`; a certificate is checked against the system's authorities and those of `cacertfile`. Several,
    /// with commas between, are the nodes of one cluster.
    pub url: SecretString,
    /// The first part of every exchange's and queue's name.
    pub prefix: String,
    /// Shown in the broker's listings, with the connection's role behind it.
    pub connection_name: String,
    /// In whole seconds, at most 60; a peer is given up after two. A `heartbeat` in the URL wins.
    pub heartbeat: Duration,
    /// For TCP, TLS and login together.
    pub connect_timeout: Duration,
    /// For the broker's word on one batch of published messages.
    pub confirm_timeout: Duration,
}

impl RabbitSettings {
    /// The defaults, for one broker.
    #[must_use]
    pub fn new(url: SecretString) -> Self {
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
