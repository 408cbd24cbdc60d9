//! A test's own actions on the broker.

use anyhow::{Result, ensure};

use super::Stage;
use super::wait::poll;

impl Stage {
    async fn broker(&self) -> Result<lapin::Connection> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test acts on the broker beside the system"
        )]
        Ok(lapin::Connection::connect(&self.servers.amqp, lapin::ConnectionProperties::default()).await?)
    }

    pub(super) async fn delete_queues(&self) -> Result<()> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        for queue in ["chunks.live", "chunks.bulk", "events", "dead"] {
            let queue = format!("{}.{queue}", self.name);
            channel
                .queue_delete(
                    queue.as_str().into(),
                    lapin::options::QueueDeleteOptions::default(),
                )
                .await?;
        }
        for exchange in ["jobs", "dead"] {
            let exchange = format!("{}.{exchange}", self.name);
            channel
                .exchange_delete(
                    exchange.as_str().into(),
                    lapin::options::ExchangeDeleteOptions::default(),
                )
                .await?;
        }
        Ok(broker.close(200, "done".into()).await?)
    }

    /// Empties a queue. Returns the number of its messages.
    pub async fn purge(&self, queue: &str) -> Result<u32> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        let queue = format!("{}.{queue}", self.name);
        let purged = channel
            .queue_purge(
                queue.as_str().into(),
                lapin::options::QueuePurgeOptions::default(),
            )
            .await?;
        broker.close(200, "done".into()).await?;
        Ok(purged)
    }

    /// The URL of the stage's broker.
    pub fn amqp_url(&self) -> &str {
        &self.servers.amqp
    }

    /// The HTTP API of the shared broker, if the tests have it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the servers of the tests are named by the environment"
    )]
    pub fn management_url(&self) -> Option<String> {
        std::env::var("TIDEMARK_TEST_AMQP_MANAGEMENT_URL").ok()
    }

    /// Declares one of the fleet's queues with another type.
    pub async fn declare_classic_queue(&self, queue: &str) -> Result<()> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        let queue = format!("{}.{queue}", self.name);
        let options = lapin::options::QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel
            .queue_declare(
                queue.as_str().into(),
                options,
                lapin::types::FieldTable::default(),
            )
            .await?;
        Ok(broker.close(200, "done".into()).await?)
    }

    /// Deletes a queue, which cancels its consumers.
    pub async fn delete_queue(&self, queue: &str) -> Result<()> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        let queue = format!("{}.{queue}", self.name);
        channel
            .queue_delete(
                queue.as_str().into(),
                lapin::options::QueueDeleteOptions::default(),
            )
            .await?;
        Ok(broker.close(200, "done".into()).await?)
    }

    /// The number of a queue's consumers; 0 if there is no such queue.
    pub async fn consumers(&self, queue: &str) -> Result<u32> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        let queue = format!("{}.{queue}", self.name);
        let options = lapin::options::QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let declared = channel
            .queue_declare(
                queue.as_str().into(),
                options,
                lapin::types::FieldTable::default(),
            )
            .await;
        broker.close(200, "done".into()).await?;
        Ok(declared.map_or(0, |queue| queue.consumer_count()))
    }

    /// Waits until a queue has so many consumers.
    pub async fn until_consumed(&self, queue: &str, count: u32) -> Result<()> {
        poll(format!("{count} consumers of {queue}"), async || {
            let consumers = self.consumers(queue).await.ok();
            Ok((consumers == Some(count)).then_some(()))
        })
        .await
    }

    /// Publishes a message on one of the exchanges.
    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8]) -> Result<()> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        channel
            .confirm_select(lapin::options::ConfirmSelectOptions::default())
            .await?;
        let exchange = format!("{}.{exchange}", self.name);
        let confirm = channel
            .basic_publish(
                exchange.as_str().into(),
                key.into(),
                lapin::options::BasicPublishOptions::default(),
                body,
                lapin::BasicProperties::default(),
            )
            .await?;
        ensure!(confirm.await?.is_ack(), "{exchange} refuses");
        Ok(broker.close(200, "done".into()).await?)
    }

    /// Waits until so many messages are ready in a queue.
    pub async fn until_waiting(&self, queue: &str, count: u32) -> Result<()> {
        let broker = self.broker().await?;
        let channel = broker.create_channel().await?;
        let name = format!("{}.{queue}", self.name);
        let options = lapin::options::QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        poll(format!("{count} messages in {queue}"), async || {
            let asked =
                channel.queue_declare(name.as_str().into(), options, lapin::types::FieldTable::default());
            Ok((asked.await?.message_count() == count).then_some(()))
        })
        .await?;
        Ok(broker.close(200, "done".into()).await?)
    }
}
