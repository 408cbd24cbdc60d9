//! Names and declarations of Tidemark's exchanges and queues. No other file declares.
//!
//! ```text
//! {prefix}.jobs (direct) ─ live ───► {prefix}.chunks.live ┐
//!                        ─ bulk ───► {prefix}.chunks.bulk ├─ rejected ─► {prefix}.dead (fanout) ─► {prefix}.dead
//!                        ─ events ─► {prefix}.events      ┘
//! ```
//!
//! A queue's arguments cannot change after its creation, and broker versions support different ones. So only two are used,
//! which RabbitMQ 3.10 to 4.4 treat alike. Limits on length, age or deliveries belong in a policy.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use tokio::time::timeout;

use super::error::QueueError;
use tidemark_shared::job::Lane;

/// AMQP names have at most 255 bytes; this leaves room for the longest suffix.
const LONGEST_PREFIX: usize = 200;
const EVENTS_KEY: &str = "events";

pub(super) struct Topology {
    pub prefix: String,
    pub jobs: ShortString,
    pub dead: ShortString,
    pub events: ShortString,
    live: ShortString,
    bulk: ShortString,
}

impl Topology {
    pub fn new(prefix: &str) -> Result<Self, QueueError> {
        let length = prefix.len();
        if !(1..=LONGEST_PREFIX).contains(&length) {
            let longest = LONGEST_PREFIX;
            return Err(QueueError::Prefix { length, longest });
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            jobs: format!("{prefix}.jobs").into(),
            dead: format!("{prefix}.dead").into(),
            events: format!("{prefix}.events").into(),
            live: format!("{prefix}.chunks.live").into(),
            bulk: format!("{prefix}.chunks.bulk").into(),
        })
    }

    pub fn chunks(&self, lane: Lane) -> &ShortString {
        match lane {
            Lane::Live => &self.live,
            Lane::Bulk => &self.bulk,
        }
    }

    pub fn lane_key(lane: Lane) -> ShortString {
        lane.as_str().into()
    }

    pub fn events_key() -> ShortString {
        EVENTS_KEY.into()
    }

    /// Declares everything on a separate channel, because a refused declaration closes its channel. Every new connection
    /// does this, so that a broker that lost its data gets its queues back with the first connection.
    pub async fn declare(
        &self,
        connection: &Connection,
        server: &str,
        limit: Duration,
    ) -> Result<(), QueueError> {
        let declaring = async {
            let channel = connection.create_channel().await?;
            self.declare_on(&channel).await?;
            channel.close(200, "declared".into()).await
        };
        let action = "declare queues";
        match timeout(limit, declaring).await {
            Ok(Err(source)) if source.is_amqp_soft_error() => Err(QueueError::Topology {
                server: server.to_owned(),
                prefix: self.prefix.clone(),
                source,
            }),
            Ok(declared) => declared.map_err(|source| QueueError::Amqp { action, source }),
            Err(_) => Err(QueueError::Timeout { action, limit }),
        }
    }

    async fn declare_on(&self, channel: &Channel) -> lapin::Result<()> {
        // fanout, so that messages that the broker dead-letters arrive with any routing key
        declare_exchange(channel, &self.dead, ExchangeKind::Fanout).await?;
        declare_queue(channel, &self.dead, None).await?;
        bind(channel, &self.dead, &self.dead, ShortString::default()).await?;

        declare_exchange(channel, &self.jobs, ExchangeKind::Direct).await?;
        let bindings = [
            (&self.live, Self::lane_key(Lane::Live)),
            (&self.bulk, Self::lane_key(Lane::Bulk)),
            (&self.events, Self::events_key()),
        ];
        for (queue, key) in bindings {
            declare_queue(channel, queue, Some(&self.dead)).await?;
            bind(channel, queue, &self.jobs, key).await?;
        }
        Ok(())
    }
}

async fn declare_exchange(channel: &Channel, name: &ShortString, kind: ExchangeKind) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .exchange_declare(name.clone(), kind, options, FieldTable::default())
        .await
}

async fn declare_queue(
    channel: &Channel,
    name: &ShortString,
    dead: Option<&ShortString>,
) -> lapin::Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(name.clone(), options, arguments(dead))
        .await?;
    Ok(())
}

fn arguments(dead: Option<&ShortString>) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    if let Some(dead) = dead {
        let dead = AMQPValue::LongString(dead.as_str().into());
        arguments.insert("x-dead-letter-exchange".into(), dead);
    }
    arguments
}

/// The arguments that a queue is declared with.
pub(super) fn queue_arguments(topology: &Topology, queue: &ShortString) -> FieldTable {
    arguments((queue != &topology.dead).then_some(&topology.dead))
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: ShortString,
) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            key,
            options,
            FieldTable::default(),
        )
        .await
}
