//! Looking after the queue `{prefix}.dead`. A message is got, looked at and either taken out or left: what is left goes
//! back to its place when the look ends, or when this process does.

use chrono::{DateTime, Utc};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Connection};
use serde::Serialize;

use super::RabbitQueue;
use super::connection::answer;
use super::error::QueueError;
use super::message::{Dead, read_dead};
use tidemark_shared::ids::TenantId;
use tidemark_shared::job::Job;

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
    /// Of this tenant, as far as they can be read.
    pub tenant: Option<TenantId>,
}

impl DeadFilter {
    fn takes(&self, message: &DeadMessage) -> bool {
        let has = |text: Option<&str>, part: &Option<String>| {
            part.as_ref()
                .is_none_or(|part| text.is_some_and(|text| text.contains(part.as_str())))
        };
        let is_theirs = |tenant| message.job.is_some_and(|job| job.tenant_id == tenant);
        has(Some(&message.reason), &self.reason)
            && has(message.queue.as_deref(), &self.queue)
            && self.tenant.is_none_or(is_theirs)
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

    /// Takes the next message in hand, oldest first; `None` when there is no other.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn next(&self) -> Result<Option<DeadDelivery>, QueueError> {
        let getting = self
            .channel
            .basic_get(self.queue.clone(), BasicGetOptions { no_ack: false });
        let Some(got) = answer("get a dead message", getting).await? else {
            return Ok(None);
        };
        let delivery = got.delivery;
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

    /// Gives back what is in hand, message by message and not by closing: RabbitMQ 4.x counts a connection that closes with
    /// messages in hand as a failed delivery of each, and drops a message at its limit of those.
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
            group.newest_at = newest_at;
        }
        None => groups.push(DeadGroup {
            count: 1,
            message,
            newest_at,
        }),
    }
}
