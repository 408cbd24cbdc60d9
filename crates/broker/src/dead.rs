//! Reading the queue `{prefix}.dead`. A message is fetched, and then either removed or left. Messages that are left return to
//! their place when the reader is closed or the process ends.
//!
//! RabbitMQ counts how often a message returned to the queue, and drops it at the delivery limit: 20 by default from 4.0 on.
//! 4.0 to 4.2 count every return. 4.3 counts `basic.reject` and a connection that closes with unacknowledged messages, but
//! not `basic.nack`. A declaration cannot change a queue's limit. So a message that returned a few times is replaced by a
//! copy, whose count starts at zero.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use serde::Serialize;

use super::connection::await_answer;
use super::delivery::Published;
use super::error::QueueError;
use super::message::{Dead, Message, read_dead, return_count};
use super::open_connection::OpenConnection;
use super::publisher::Publisher;
use super::rabbit::RabbitQueue;
use tidemark_shared::job::Job;

/// Returns after which a message is replaced by a copy. Must be below the delivery limit, whose lowest default is 20.
pub(super) const MAX_RETURNS: u64 = 3;

/// A dead message without its body, which may contain anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadMessage {
    /// Tidemark's reason, or the broker's if the broker moved the message.
    pub reason: String,
    /// The queue it was consumed from.
    pub queue: Option<String>,
    /// When it was moved to the dead queue.
    pub since: Option<DateTime<Utc>>,
    /// Size of the body, or of the part that is kept.
    pub bytes: usize,
    /// The job, if this build can read the body as one.
    pub job: Option<Job>,
}

impl DeadMessage {
    fn is_like(&self, other: &Self) -> bool {
        (&self.reason, &self.queue, self.bytes, self.job)
            == (&other.reason, &other.queue, other.bytes, other.job)
    }
}

/// Messages that differ only in their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    pub count: usize,
    /// `since` is the time of the oldest.
    #[serde(flatten)]
    pub message: DeadMessage,
    pub newest_at: Option<DateTime<Utc>>,
}

/// Which dead messages to list. An empty filter lists all.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Text in the reason.
    pub reason: Option<String>,
    /// Text in the name of the queue they were consumed from.
    pub queue: Option<String>,
}

impl DeadFilter {
    fn matches(&self, message: &DeadMessage) -> bool {
        let has = |text: Option<&str>, part: &Option<String>| {
            part.as_ref()
                .is_none_or(|part| text.is_some_and(|text| text.contains(part.as_str())))
        };
        has(Some(&message.reason), &self.reason) && has(message.queue.as_deref(), &self.queue)
    }
}

/// A message that was fetched and not yet acknowledged.
pub struct DeadDelivery {
    pub message: DeadMessage,
    acker: Acker,
}

/// A reader of the dead queue, on a separate connection. Closing or dropping it requeues every message that was not removed.
pub struct DeadLetters {
    connection: OpenConnection,
    channel: Channel,
    queue: lapin::types::ShortString,
    publisher: Arc<Publisher>,
    exchange: lapin::types::ShortString,
}

impl RabbitQueue {
    /// Opens a reader of the dead queue.
    pub async fn dead_letters(&self) -> Result<DeadLetters, QueueError> {
        let connection = self.server.connect("dead letters").await?;
        let channel = await_answer("open a channel", connection.create_channel()).await?;
        Ok(DeadLetters {
            connection,
            channel,
            queue: self.server.topology.dead.clone(),
            publisher: Arc::clone(&self.publisher),
            exchange: self.server.topology.dead.clone(),
        })
    }
}

impl DeadLetters {
    /// The number of messages in the queue, without those that were fetched.
    pub async fn count(&self) -> Result<u32, QueueError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asking = self
            .channel
            .queue_declare(self.queue.clone(), options, FieldTable::default());
        Ok(await_answer("count dead messages", asking).await?.message_count())
    }

    /// Reads the oldest `limit` messages and lists those that match the filter. Equal messages form one group.
    pub async fn list(&self, limit: usize, filter: &DeadFilter) -> Result<Vec<DeadGroup>, QueueError> {
        let mut groups: Vec<DeadGroup> = Vec::new();
        for _ in 0..limit {
            let Some(dead) = self.next().await? else { break };
            if filter.matches(&dead.message) {
                count_alike(&mut groups, dead.message);
            }
        }
        Ok(groups)
    }

    /// Fetches the next message, oldest first; `None` when there is no other. A message that returned too often is replaced by
    /// a copy at the end of the queue, which this reader fetches later.
    ///
    /// # Errors
    /// [`QueueError::NotCopied`] when the broker does not accept the copy.
    pub async fn next(&self) -> Result<Option<DeadDelivery>, QueueError> {
        let delivery = loop {
            let getting = self
                .channel
                .basic_get(self.queue.clone(), BasicGetOptions { no_ack: false });
            let Some(got) = await_answer("get a dead message", getting).await? else {
                return Ok(None);
            };
            if return_count(&got.delivery.properties) < MAX_RETURNS {
                break got.delivery;
            }
            self.replace(got.delivery).await?;
        };
        let Dead {
            reason,
            queue,
            since,
            job,
        } = read_dead(&delivery);
        Ok(Some(DeadDelivery {
            message: DeadMessage {
                reason,
                queue,
                since,
                bytes: delivery.data.len(),
                job,
            },
            acker: delivery.acker,
        }))
    }

    /// Removes the original after the copy is stored. A failure in between leaves the message in the queue twice.
    async fn replace(&self, delivery: Delivery) -> Result<(), QueueError> {
        let copy = Message::copy_of_dead(&delivery);
        let published = self.publisher.publish(&self.exchange, &[copy]).await?;
        if let [outcome @ (Published::Unroutable | Published::Rejected)] = published[..] {
            return Err(QueueError::NotCopied { outcome });
        }
        let taking_out = delivery.acker.ack(BasicAckOptions::default());
        await_answer("replace a dead message with its copy", taking_out)
            .await
            .map(drop)
    }

    /// Removes a fetched message from the queue for good.
    ///
    /// # Errors
    /// When the broker does not answer. The message is then still in the queue.
    pub async fn remove(&self, dead: DeadDelivery) -> Result<(), QueueError> {
        await_answer(
            "remove a dead message",
            dead.acker.ack(BasicAckOptions::default()),
        )
        .await
        .map(drop)
    }

    /// Removes all messages; returns their number.
    pub async fn purge(&self) -> Result<u32, QueueError> {
        let purging = self
            .channel
            .queue_purge(self.queue.clone(), QueuePurgeOptions::default());
        await_answer("purge dead messages", purging).await
    }

    /// Requeues the fetched messages with `basic.nack`, which RabbitMQ does not count from 4.3 on. Closing alone would count.
    /// If this fails, the broker requeues them when the connection ends.
    pub async fn close(self) -> Result<(), QueueError> {
        /// With `multiple`: every unacknowledged message of the channel.
        const ALL: u64 = 0;
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        await_answer("requeue dead messages", self.channel.basic_nack(ALL, options)).await?;
        await_answer("close", self.connection.close(200, "read".into())).await
    }
}

fn count_alike(groups: &mut Vec<DeadGroup>, message: DeadMessage) {
    let newest_at = message.since;
    let alike = groups.iter_mut().find(|group| group.message.is_like(&message));
    match alike {
        Some(group) => {
            group.count += 1;
            // a copy stands behind newer messages
            group.newest_at = group.newest_at.max(newest_at);
            let times = [group.message.since, message.since];
            group.message.since = times.into_iter().flatten().min();
        }
        None => groups.push(DeadGroup {
            count: 1,
            message,
            newest_at,
        }),
    }
}
