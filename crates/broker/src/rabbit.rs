//! The queue on RabbitMQ.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::types::ShortString;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::connection::{Server, await_answer};
use super::consumer::Consumer;
use super::delivery::{Handler, Outgoing, Published};
use super::depth::Depths;
use super::destination::{Destination, Route};
use super::error::QueueError;
use super::health::{QueueHealth, Subscriptions};
use super::message::Message;
use super::publisher::Publisher;
use super::queue::{Queue, QueueDepth};
use super::settings::RabbitSettings;
use tidemark_net::tls::Exposure;
use tidemark_shared::job::{ChunkEvent, Job, Lane, TraceContext};

/// The fleet's queue on RabbitMQ.
///
/// Opens one connection on the first publish, and one for each consumer. Opens a new connection after any error.
pub struct RabbitQueue {
    pub(super) server: Arc<Server>,
    pub(super) publisher: Arc<Publisher>,
    subscriptions: Subscriptions,
    depths: Depths,
}

impl RabbitQueue {
    /// Reads the settings without connecting.
    ///
    /// # Errors
    /// When [`QueueError::is_configuration`] holds: a setting can never work.
    pub fn new(settings: &RabbitSettings) -> Result<Self, QueueError> {
        let server = Arc::new(Server::new(settings)?);
        let publisher = Arc::new(Publisher::new(Arc::clone(&server), settings.confirm_timeout));
        Ok(Self {
            depths: Depths::new(Arc::clone(&server)),
            server,
            publisher,
            subscriptions: Subscriptions::default(),
        })
    }

    /// Nodes that are reached over the network without encryption.
    #[must_use]
    pub fn exposed(&self) -> Vec<(String, Exposure)> {
        self.server.exposed()
    }

    async fn consume<T: DeserializeOwned + Send + 'static>(
        &self,
        queue: &ShortString,
        prefetch: u16,
        stop: CancellationToken,
        handler: Handler<T>,
    ) {
        let consumer = Consumer::new(
            Arc::clone(&self.server),
            Arc::clone(&self.publisher),
            self.subscriptions.add(queue.as_str()),
            queue.clone(),
            prefetch,
            stop,
            handler,
        );
        consumer.run().await;
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish_jobs(&self, jobs: &[Outgoing]) -> Result<Vec<Published>, QueueError> {
        let messages: Vec<_> = jobs.iter().map(Message::job).collect();
        self.publisher
            .publish(&self.server.topology.jobs, &messages)
            .await
    }

    async fn publish_events(
        &self,
        events: &[(ChunkEvent, TraceContext)],
    ) -> Result<Vec<Published>, QueueError> {
        let messages: Vec<_> = events
            .iter()
            .map(|(event, context)| Message::event(event, context))
            .collect();
        self.publisher
            .publish(&self.server.topology.jobs, &messages)
            .await
    }

    async fn consume_jobs(&self, lane: Lane, prefetch: u16, stop: CancellationToken, handler: Handler<Job>) {
        let queue = self.server.topology.chunks(lane);
        self.consume(queue, prefetch, stop, handler).await;
    }

    async fn consume_events(&self, prefetch: u16, stop: CancellationToken, handler: Handler<ChunkEvent>) {
        let queue = &self.server.topology.events;
        self.consume(queue, prefetch, stop, handler).await;
    }

    fn destination(&self, route: Route) -> Option<Destination> {
        Some(self.server.destination(route))
    }

    fn health(&self) -> QueueHealth {
        QueueHealth {
            publisher: self.publisher.health(),
            consumers: self.subscriptions.health(),
            refuses_login: self.server.refuses_login(),
        }
    }

    async fn depths(&self) -> Result<Vec<QueueDepth>, QueueError> {
        self.depths.read().await
    }

    async fn check(&self) -> Result<(), QueueError> {
        let checked = match self.server.connect("check").await {
            Ok(connection) => await_answer("close", connection.close(200, "checked".into())).await,
            Err(error) => Err(error),
        };
        // after a refused declaration the process ends
        self.server.wait_for_closes().await;
        checked
    }

    async fn close(&self) {
        tokio::join!(self.publisher.close(), self.depths.close());
        self.server.wait_for_closes().await;
    }
}
