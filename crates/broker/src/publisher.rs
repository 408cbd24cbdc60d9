//! Publishing with confirms, on a separate connection.
//!
//! A broker that runs out of memory blocks the connections that publish. lapin then sends nothing on them, not even acks, so
//! consumers on the same connection could never drain the broker.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, ConnectionStatus};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{Server, await_answer};
use super::delivery::Published;
use super::error::QueueError;
use super::health::PublisherHealth;
use super::message::Message;
use super::open_connection::OpenConnection;

/// Messages published before waiting for confirms. Throughput does not grow above a hundred. A lost connection leaves the
/// outcome of this many messages unknown.
const CONFIRM_BATCH: usize = 500;

pub(super) struct Publisher {
    server: Arc<Server>,
    confirm_timeout: Duration,
    link: Mutex<Option<Link>>,
    /// State of the newest connection. Separate from the link, because health is read while the link is in use.
    status: StdMutex<Option<ConnectionStatus>>,
    failing: AtomicBool,
}

impl Publisher {
    pub fn new(server: Arc<Server>, confirm_timeout: Duration) -> Self {
        Self {
            server,
            confirm_timeout,
            link: Mutex::new(None),
            status: StdMutex::new(None),
            failing: AtomicBool::new(false),
        }
    }

    /// Publishes and waits for the broker's answer for each message, in order. Cancellation-safe: cancelling closes the
    /// connection.
    pub async fn publish(
        &self,
        exchange: &ShortString,
        messages: &[Message],
    ) -> Result<Vec<Published>, QueueError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let published = self.try_publish(exchange, messages).await;
        self.failing.store(published.is_err(), Ordering::Relaxed);
        published
    }

    async fn try_publish(
        &self,
        exchange: &ShortString,
        messages: &[Message],
    ) -> Result<Vec<Published>, QueueError> {
        let mut slot = self.within("wait for other publishers", self.link.lock()).await?;
        // Taken out while in use. A failed or cancelled call leaves confirms on the channel, which the next batch would take
        // for its own.
        let link = match slot.take() {
            Some(link) if link.is_alive() => link,
            _ => self.open().await?,
        };
        let mut outcomes = Vec::with_capacity(messages.len());
        for batch in messages.chunks(CONFIRM_BATCH) {
            let publishing = link.publish_batch(exchange, batch);
            let published = self.within("wait for publisher confirms", publishing).await?;
            outcomes.extend(published.map_err(|source| QueueError::Amqp {
                action: "publish",
                source,
            })?);
        }
        // An unroutable message means that the topology is gone: leave the slot empty, so that the next connection declares it
        // again. A channel opened while a queue had no leader is refused forever, even after a leader is elected.
        if outcomes.iter().all(|outcome| *outcome == Published::Confirmed) {
            *slot = Some(link);
        }
        Ok(outcomes)
    }

    /// Closes the connection, which the next publish opens again.
    pub async fn close(&self) {
        if let Ok(mut slot) = self.within("wait for other publishers", self.link.lock()).await {
            drop(slot.take());
        }
    }

    pub fn health(&self) -> PublisherHealth {
        if self.failing.load(Ordering::Relaxed) {
            return PublisherHealth::Failing;
        }
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match &*status {
            Some(status) if status.connected() => PublisherHealth::Connected,
            _ => PublisherHealth::Idle,
        }
    }

    async fn open(&self) -> Result<Link, QueueError> {
        let connection = self.server.connect("publisher").await?;
        let channel = await_answer("open a channel", connection.create_channel()).await?;
        await_answer(
            "turn on confirms",
            channel.confirm_select(ConfirmSelectOptions::default()),
        )
        .await?;
        tracing::debug!("publisher connected");
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.status().clone());
        Ok(Link { connection, channel })
    }

    async fn within<T>(&self, action: &'static str, work: impl Future<Output = T>) -> Result<T, QueueError> {
        let limit = self.confirm_timeout;
        timeout(limit, work)
            .await
            .map_err(|_| QueueError::Timeout { action, limit })
    }
}

/// A connection with a channel that only one call at a time uses. Dropping it closes the connection.
struct Link {
    connection: OpenConnection,
    channel: Channel,
}

impl Link {
    fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// lapin attaches a returned message to the confirm that completes next, so a single confirm says nothing about its own
    /// message. After all confirms of a batch, all its returns are known, and each contains its message id.
    async fn publish_batch(
        &self,
        exchange: &ShortString,
        batch: &[Message],
    ) -> lapin::Result<Vec<Published>> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let mut confirms = Vec::with_capacity(batch.len());
        for message in batch {
            let (key, properties) = (message.routing_key.clone(), message.properties.clone());
            let sending =
                self.channel
                    .basic_publish(exchange.clone(), key, options, &message.body, properties);
            confirms.push(sending.await?);
        }

        let mut stored = Vec::with_capacity(batch.len());
        let mut returned = HashSet::new();
        for confirm in confirms {
            let confirmation = confirm.await?;
            stored.push(confirmation.is_ack());
            if let Some(message) = confirmation.take_message() {
                returned.extend(message.delivery.properties.message_id().clone());
            }
        }

        let outcomes = batch.iter().zip(stored).map(|(message, stored)| {
            if returned.contains(message.id.as_str()) {
                Published::Unroutable
            } else if stored {
                Published::Confirmed
            } else {
                Published::Rejected
            }
        });
        Ok(outcomes.collect())
    }
}
