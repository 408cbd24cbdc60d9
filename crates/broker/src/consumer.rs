//! Consuming, on a separate connection that is opened again after any failure.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{ANSWER_LIMIT, Server, await_answer};
use super::delivery::{Handler, Published, Received, Settle, run_handler};
use super::error::QueueError;
use super::health::Subscription;
use super::message::{Message, Unreadable, decode};
use super::open_connection::OpenConnection;
use super::publisher::Publisher;
use tidemark_runtime::pulse;

const FIRST_DELAY: Duration = Duration::from_millis(200);
/// A broker takes about ten seconds to start.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Without a probe, a connection whose I/O died without an error looks like an idle one.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

pub(super) struct Consumer<T> {
    server: Arc<Server>,
    publisher: Arc<Publisher>,
    queue: ShortString,
    prefetch: u16,
    stop: CancellationToken,
    handler: Handler<T>,
    subscription: Arc<Subscription>,
    /// Handlers of a lost connection continue and keep their slots. Deliveries of the next connection wait for these slots.
    slots: Semaphore,
}

/// How a delivery is settled with the broker.
enum Settlement {
    Ack,
    Requeue,
    /// The broker moves it to the dead-letter exchange.
    DeadLetter,
}

impl<T: DeserializeOwned + Send + 'static> Consumer<T> {
    pub fn new(
        server: Arc<Server>,
        publisher: Arc<Publisher>,
        subscription: Arc<Subscription>,
        queue: ShortString,
        prefetch: u16,
        stop: CancellationToken,
        handler: Handler<T>,
    ) -> Arc<Self> {
        // AMQP reads 0 as no limit
        let prefetch = prefetch.max(1);
        Arc::new(Self {
            server,
            publisher,
            queue,
            prefetch,
            stop,
            handler,
            subscription,
            slots: Semaphore::new(prefetch.into()),
        })
    }

    /// Consumes until stopped. Returns when the last handler has ended and its delivery is settled.
    pub async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        let session = self.supervise(&mut tasks).await;
        if let Some(session) = &session {
            self.return_prefetched(session).await;
        }
        while tasks.join_next().await.is_some() {}
        if let Some(session) = session {
            session.close().await;
        }
    }

    /// Opens a session again after each failure, until stopped. Returns the session that was open then.
    async fn supervise(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Option<Session> {
        let mut delay = FIRST_DELAY;
        loop {
            pulse::beat();
            let error = match self.stop.run_until_cancelled(self.subscribe()).await? {
                Err(error) => error,
                Ok(session) => {
                    let begun = Instant::now();
                    match self.receive(session, tasks).await {
                        Ok(session) => return Some(session),
                        Err(error) => {
                            if begun.elapsed() > LONGEST_DELAY {
                                delay = FIRST_DELAY;
                            }
                            error
                        }
                    }
                }
            };
            self.subscription.failed(&error);
            // jitter, so that a fleet does not reconnect all at once
            let jittered = delay.mul_f64(rand::random_range(0.5..1.0));
            self.stop.run_until_cancelled(sleep(jittered)).await?;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    async fn subscribe(&self) -> Result<Session, QueueError> {
        let connection = self.server.connect(self.queue.as_str()).await?;
        let channel = await_answer("open a channel", connection.create_channel()).await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        await_answer("set the prefetch", qos).await?;
        let subscribing = channel.basic_consume(
            self.queue.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let deliveries = await_answer("subscribe", subscribing).await?;
        // a separate channel, because a failed probe closes it
        let probe = await_answer("open a channel", connection.create_channel()).await?;
        self.subscription.subscribed();
        Ok(Session {
            connection,
            channel,
            deliveries,
            probe,
        })
    }

    /// Passes deliveries to handlers. Returns `Ok` when stopped, and an error when the session failed.
    async fn receive(
        self: &Arc<Self>,
        mut session: Session,
        tasks: &mut JoinSet<()>,
    ) -> Result<Session, QueueError> {
        // Ends with the session. A delivery that still waits for a slot then goes to another consumer.
        let session_over = self.stop.child_token();
        let _cancel = session_over.clone().drop_guard();
        let mut probing = interval_at(Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
        probing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pulse::beat();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(session),
                delivery = session.deliveries.next() => {
                    let delivery = self.delivered(delivery)?;
                    let (this, session_over) = (Arc::clone(self), session_over.clone());
                    while tasks.try_join_next().is_some() {}
                    tasks.spawn(async move { this.process(delivery, &session_over).await });
                }
                _ = probing.tick() => {
                    if let Some(alive) = self.stop.run_until_cancelled(session.probe(&self.queue)).await {
                        alive?;
                    }
                }
            }
        }
    }

    /// The end of the stream is an error as well: it is the only sign that the queue was deleted.
    fn delivered(&self, delivery: Option<lapin::Result<Delivery>>) -> Result<Delivery, QueueError> {
        let delivery = delivery.ok_or_else(|| QueueError::Unsubscribed {
            queue: self.queue.to_string(),
        })?;
        delivery.map_err(|source| QueueError::Amqp {
            action: "receive",
            source,
        })
    }

    async fn process(&self, delivery: Delivery, session_over: &CancellationToken) {
        let answer = match decode(&delivery) {
            Ok(received) => self.handle(received, session_over).await,
            Err(unreadable) => self.dead_letter(&delivery.data, &unreadable).await,
        };
        self.settle(&delivery.acker, answer).await;
    }

    async fn handle(&self, received: Received<T>, session_over: &CancellationToken) -> Settlement {
        let Some(slot) = session_over.run_until_cancelled(self.slots.acquire()).await else {
            return Settlement::Requeue;
        };
        let _slot = slot.expect("the semaphore is never closed");
        match run_handler(&self.handler, received).await {
            Settle::Ack => Settlement::Ack,
            Settle::Requeue => Settlement::Requeue,
        }
    }

    /// Publishes an unreadable message to the dead queue with the reason. If that fails the broker moves the message there,
    /// with its own reason. In both cases the message does not come again.
    async fn dead_letter(&self, body: &[u8], unreadable: &Unreadable) -> Settlement {
        let queue = self.queue.as_str();
        tracing::warn!(queue, reason = %unreadable, "message set aside");
        let message = Message::dead(body, unreadable, &self.queue);
        let published = self
            .publisher
            .publish(&self.server.topology.dead, &[message])
            .await;
        match published.as_deref() {
            Ok([Published::Confirmed]) => Settlement::Ack,
            Ok(_) | Err(_) => Settlement::DeadLetter,
        }
    }

    /// If the channel is closed, settling fails and the broker delivers the message again. The ledger makes that harmless.
    async fn settle(&self, acker: &Acker, how: Settlement) {
        let sent = match how {
            Settlement::Ack => await_answer("ack", acker.ack(BasicAckOptions::default())).await,
            Settlement::Requeue => {
                let options = BasicNackOptions {
                    requeue: true,
                    ..Default::default()
                };
                await_answer("requeue", acker.nack(options)).await
            }
            Settlement::DeadLetter => {
                let options = BasicRejectOptions { requeue: false };
                await_answer("dead-letter", acker.reject(options)).await
            }
        };
        // lapin returns `false` when the channel is closed and nothing was sent
        if !matches!(sent, Ok(true)) {
            tracing::warn!(
                queue = self.queue.as_str(),
                "delivery not settled, it will come again"
            );
        }
    }

    /// Ends the subscription and requeues the prefetched messages. The channel stays open for the running handlers.
    async fn return_prefetched(&self, session: &Session) {
        self.subscription.unsubscribed();
        let tag = session.deliveries.tag();
        let cancelling = session.channel.basic_cancel(tag, BasicCancelOptions::default());
        if let Err(error) = await_answer("cancel the subscription", cancelling).await {
            // closing the connection requeues as well
            tracing::debug!(%error, "subscription not cancelled");
            return;
        }
        // after the cancellation lapin ends the stream with the last delivery
        let mut deliveries = session.deliveries.clone();
        while let Ok(Some(Ok(delivery))) = timeout(ANSWER_LIMIT, deliveries.next()).await {
            self.settle(&delivery.acker, Settlement::Requeue).await;
        }
    }
}

/// A connection with its subscription.
struct Session {
    connection: OpenConnection,
    channel: Channel,
    deliveries: lapin::Consumer,
    probe: Channel,
}

impl Session {
    async fn probe(&self, queue: &ShortString) -> Result<(), QueueError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asking = self
            .probe
            .queue_declare(queue.clone(), options, FieldTable::default());
        await_answer("probe the connection", asking).await?;
        Ok(())
    }

    async fn close(self) {
        if let Err(error) = await_answer("close", self.connection.close(200, "stopped".into())).await {
            tracing::debug!(%error, "connection not closed");
        }
    }
}
