//! The number of waiting messages, by passive declaration. It uses a separate connection that stays open between calls.

use std::sync::Arc;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::Mutex;

use super::connection::{Server, await_answer};
use super::error::QueueError;
use super::open_connection::OpenConnection;
use super::queue::QueueDepth;
use tidemark_shared::job::Lane;

pub(super) struct Depths {
    server: Arc<Server>,
    link: Mutex<Option<Link>>,
}

struct Link {
    connection: OpenConnection,
    channel: Channel,
}

impl Depths {
    pub fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            link: Mutex::default(),
        }
    }

    /// An error closes the connection. The next call opens a new one, which declares missing queues.
    pub async fn read(&self) -> Result<Vec<QueueDepth>, QueueError> {
        let mut slot = self.link.lock().await;
        let link = match slot.take() {
            Some(link) if link.connection.status().connected() => link,
            _ => self.open().await?,
        };
        let topology = &self.server.topology;
        let queues = [
            ("live", topology.chunks(Lane::Live)),
            ("bulk", topology.chunks(Lane::Bulk)),
            ("events", &topology.events),
            ("dead", &topology.dead),
        ];
        let mut depths = Vec::with_capacity(queues.len());
        for (name, queue) in queues {
            let passive = QueueDeclareOptions {
                passive: true,
                ..Default::default()
            };
            let asking = link
                .channel
                .queue_declare(queue.clone(), passive, FieldTable::default());
            let queue = await_answer("inspect a queue", asking).await?;
            depths.push(QueueDepth {
                queue: name,
                messages: queue.message_count(),
                consumers: queue.consumer_count(),
            });
        }
        *slot = Some(link);
        Ok(depths)
    }

    /// Closes the connection, which the next call opens again.
    pub async fn close(&self) {
        drop(self.link.lock().await.take());
    }

    async fn open(&self) -> Result<Link, QueueError> {
        let connection = self.server.connect("depths").await?;
        let channel = await_answer("open a channel", connection.create_channel()).await?;
        Ok(Link { connection, channel })
    }
}
