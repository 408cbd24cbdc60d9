//! Errors of the queue.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::delivery::Published;
use tidemark_net::tls::{ServerKind, TlsFault};
use tidemark_net::url::UrlFileError;

/// An error of the queue. Servers are named `host:port/vhost`; no text contains a password.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Without the parser's message, which may quote the URL.
    #[error(
        "read the RabbitMQ URL: write it as amqp://user:password@host:5672/vhost, and percent-encode special \
         characters in user, password and vhost"
    )]
    Url,

    #[error("read the RabbitMQ URL: {0}")]
    UrlParameter(&'static str),

    #[error("read {}, a file named in the RabbitMQ URL", path.display())]
    File { path: PathBuf, source: std::io::Error },

    #[error("no encrypted connection to RabbitMQ at {server}: {}", fault.advice(ServerKind::Rabbitmq))]
    Tls {
        server: String,
        fault: TlsFault,
        #[source]
        source: lapin::Error,
    },

    #[error("name queues: the prefix has {length} bytes, choose one of 1 to {longest}")]
    Prefix { length: usize, longest: usize },

    #[error(
        "reach RabbitMQ at {server}: check that it runs and that TIDEMARK_AMQP_URL names its host, port and scheme"
    )]
    Unreachable {
        server: String,
        #[source]
        source: lapin::Error,
    },

    #[error(transparent)]
    UrlFile(#[from] UrlFileError),

    #[error(
        "log in to RabbitMQ at {server}: check user, password and vhost in TIDEMARK_AMQP_URL, and that the user may \
         use the vhost{}",
        again(file.as_deref())
    )]
    Refused {
        server: String,
        /// The file with the URL.
        file: Option<PathBuf>,
        #[source]
        source: lapin::Error,
    },

    #[error(
        "declare queues `{prefix}.*` on RabbitMQ at {server}: the user needs the right to configure them; queues of \
         these names with other arguments must be deleted, or another prefix chosen"
    )]
    Topology {
        server: String,
        prefix: String,
        #[source]
        source: lapin::Error,
    },

    /// Also occurs when the broker blocks the connection because memory or disk is low.
    #[error("{action}: no answer from RabbitMQ within {limit:?}")]
    Timeout { action: &'static str, limit: Duration },

    #[error("{action}")]
    Amqp {
        action: &'static str,
        #[source]
        source: lapin::Error,
    },

    /// The queue was deleted, or the broker cancelled the subscription.
    #[error("RabbitMQ ended the subscription to {queue}")]
    Unsubscribed { queue: String },

    #[error("publish an event: {outcome:?}, the broker did not store it")]
    NotStored { outcome: Published },

    #[error(
        "replace a dead message with a copy: {outcome:?}; it stays in the queue, try again when RabbitMQ accepts messages"
    )]
    NotCopied { outcome: Published },
}

fn again(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| {
        format!("; {} is read again at each attempt", file.display())
    })
}

impl QueueError {
    /// Whether a setting or a right must be corrected. Other errors can end without intervention.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Url
                | Self::UrlParameter(_)
                | Self::File { .. }
                | Self::Tls { .. }
                | Self::Prefix { .. }
                | Self::Refused { .. }
                | Self::Topology { .. }
        )
    }
}
