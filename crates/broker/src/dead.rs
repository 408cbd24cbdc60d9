//! Looking after the queue `{prefix}.dead`. A message is got, looked at and either taken out or left: what is left goes
//! back to its place when the look ends, or when this process does.
//!
//! RabbitMQ counts how often a message came back, and drops it at the delivery limit: 20 by default from 4.0 on. 4.0 to
//! 4.2 count every return, 4.3 counts `basic.reject` and a connection that closes with messages in hand, but no
//! `basic.nack`. A queue's limit cannot be changed by its declaration, so a message that came back a few times is
//! replaced by a copy, which starts from zero, before it is looked at again.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Connection};
use serde::Serialize;

use super::connection::answer;
use super::error::QueueError;
use super::message::{Dead, Message, read_dead, return_count};
use super::publisher::Publisher;
use super::{Published, RabbitQueue};
use tidemark_shared::job::Job;

/// Returns after which a message is replaced by a copy. Below any sensible delivery limit: the least that RabbitMQ has by
/// default is 20.
pub(super) const RETURNS_OF_DEAD: u64 = 3;

/// A message that was given up on, without its body: that may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadMessage {
    /// Ours, or the broker's when the broker itself moved the message.
    pub reason: String,
    /// Where it was consumed.
    pub queue: Option<String>,
    /// When it was set aside.
    pub since: Option<DateTime<Utc>>,
    /// Of the body, or of what is kept of it.
    pub bytes: usize,
    /// What it says, as far as this build can read it as a job.
    pub job: Option<Job>,
}

impl DeadMessage {
    fn is_like(&self, other: &Self) -> bool {
        (&self.reason, &self.queue, self.bytes, self.job)
            == (&other.reason, &other.queue, other.bytes, other.job)
    }
}

/// Messages that differ in nothing but their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    pub count: usize,
    /// `since` is that of the oldest.
    #[serde(flatten)]
    pub message: DeadMessage,
    pub newest_at: Option<DateTime<Utc>>,
}

/// Which dead messages to list; nothing set: all.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// With this in their reason.
    pub reason: Option<String>,
    /// With this in the name of the queue that they were consumed from.
    pub queue: Option<String>,
}

impl DeadFilter {
    fn takes(&self, message: &DeadMessage) -> bool {
        let has = |text: Option<&str>, part: &Option<String>| {
            part.as_ref()
                .is_none_or(|part| text.is_some_and(|text| text.contains(part.as_str())))
        };
        has(Some(&message.reason), &self.reason) && has(message.queue.as_deref(), &self.queue)
    }
}

/// A message in hand.
pub struct DeadDelivery {
    pub message: DeadMessage,
    acker: Acker,
}

/// A look into the queue, on a connection of its own. Dropped or closed, it gives back what was not taken out.
pub struct DeadLetters {
    connection: Connection,
    channel: Channel,
    queue: lapin::types::ShortString,
    publisher: Arc<Publisher>,
    exchange: lapin::types::ShortString,
}

impl RabbitQueue {
    /// Opens a look into the queue of dead messages.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn dead_letters(&self) -> Result<DeadLetters, QueueError> {
        let connection = self.server.connect("dead letters").await?;
        let channel = answer("open a channel", connection.create_channel()).await?;
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
    /// Messages that wait in the queue, those in hand left out.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn count(&self) -> Result<u32, QueueError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asking = self
            .channel
            .queue_declare(self.queue.clone(), options, FieldTable::default());
        Ok(answer("count dead messages", asking).await?.message_count())
    }

    /// Looks at the oldest `limit` messages and lists those that are asked for, alike ones counted together.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self, limit: usize, filter: &DeadFilter) -> Result<Vec<DeadGroup>, QueueError> {
        let mut groups: Vec<DeadGroup> = Vec::new();
        for _ in 0..limit {
            let Some(dead) = self.next().await? else { break };
            if filter.takes(&dead.message) {
                count_alike(&mut groups, dead.message);
            }
        }
        Ok(groups)
    }

    /// Takes the next message in hand, oldest first; `None` when there is no other. A message that came back too often is
    /// replaced by a copy at the queue's end, whose turn comes later in the same look.
    ///
    /// # Errors
    /// When the broker does not answer, or does not take such a copy.
    pub async fn next(&self) -> Result<Option<DeadDelivery>, QueueError> {
        let delivery = loop {
            let getting = self
                .channel
                .basic_get(self.queue.clone(), BasicGetOptions { no_ack: false });
            let Some(got) = answer("get a dead message", getting).await? else {
                return Ok(None);
            };
            if return_count(&got.delivery.properties) < RETURNS_OF_DEAD {
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

    /// The original goes only when the copy is stored: whatever fails in between leaves the message there twice.
    async fn replace(&self, delivery: Delivery) -> Result<(), QueueError> {
        let copy = Message::dead_again(&delivery);
        let published = self.publisher.publish(&self.exchange, &[copy]).await?;
        if let [outcome @ (Published::Unroutable | Published::Rejected)] = published[..] {
            return Err(QueueError::NotCopied { outcome });
        }
        let taking_out = delivery.acker.ack(BasicAckOptions::default());
        answer("replace a dead message by its copy", taking_out)
            .await
            .map(drop)
    }

    /// Takes a message in hand out of the queue, for good.
    ///
    /// # Errors
    /// When the broker does not answer: then the message is still there.
    pub async fn remove(&self, dead: DeadDelivery) -> Result<(), QueueError> {
        answer(
            "remove a dead message",
            dead.acker.ack(BasicAckOptions::default()),
        )
        .await
        .map(drop)
    }

    /// Empties the queue; returns how many messages were in it.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn purge(&self) -> Result<u32, QueueError> {
        let purging = self
            .channel
            .queue_purge(self.queue.clone(), QueuePurgeOptions::default());
        answer("purge dead messages", purging).await
    }

    /// Gives back what is in hand by `basic.nack` and not by closing: that alone does not count from RabbitMQ 4.3 on.
    ///
    /// # Errors
    /// When the broker does not answer; it gives back all the same.
    pub async fn close(self) -> Result<(), QueueError> {
        /// With `multiple`, all that the channel has in hand.
        const ALL: u64 = 0;
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        answer("give dead messages back", self.channel.basic_nack(ALL, options)).await?;
        answer("close", self.connection.close(200, "looked".into())).await
    }
}

fn count_alike(groups: &mut Vec<DeadGroup>, message: DeadMessage) {
    let newest_at = message.since;
    let alike = groups.iter_mut().find(|group| group.message.is_like(&message));
    match alike {
        Some(group) => {
            group.count += 1;
            // copies stand behind what is younger than they are
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
