//! Delivers messages of webhooks: at least once each, and until a day after they were written.

mod http;
pub mod message;

use std::time::Duration;

use futures::future::join_all;
use rand::RngExt;
use secrecy::SecretString;
use tidemark_ledger as ledger;
use tidemark_ledger::webhook::ClaimedMessage;
use tidemark_ledger::{Attempt, DbError, DbResult};
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::ticker::{Ticker, Turn};
use tidemark_shared::retry::Backoff;
use tokio::time::Instant;

use self::http::{SendError, Sender};
use self::message::compose;
use crate::metrics;
use crate::metrics::Delivery;

/// For one attempt, from the name server to the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Longer than an attempt: a process that is killed meanwhile delays the message by this.
const CLAIM: Duration = Duration::from_secs(15);
const CONDITIONS_EVERY: Duration = Duration::from_secs(15);
const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(10),
    cap: Duration::from_secs(3600),
};

/// The loop that delivers.
#[derive(Debug)]
pub struct WebhookDeliverer {
    db: DbPool,
    tick: Duration,
    key: Option<SecretString>,
    console_url: Option<String>,
    sender: Sender,
    conditions_at: Option<Instant>,
}

impl WebhookDeliverer {
    /// `key` signs the messages; `console_url` begins their links.
    #[must_use]
    pub fn new(db: DbPool, tick: Duration, key: Option<SecretString>, console_url: Option<String>) -> Self {
        Self {
            db,
            tick,
            key,
            console_url,
            sender: Sender::default(),
            conditions_at: None,
        }
    }

    pub async fn run(mut self, lifecycle: Lifecycle) {
        // a process that starts has more urgent work
        let mut ticker = Ticker::new("webhooks", self.tick, &lifecycle).pause_first(true);
        while ticker.next_turn().await {
            ticker.ended(self.tick().await);
        }
    }

    async fn tick(&mut self) -> Result<Turn, DbError> {
        if self
            .conditions_at
            .is_none_or(|at| at.elapsed() >= CONDITIONS_EVERY)
        {
            let mut tx = self.db.begin().await.attempt("begin a transaction")?;
            ledger::webhook::queue_conditions(&mut tx).await?;
            tx.commit()
                .await
                .attempt("queue messages about tenants and sources")?;
            self.conditions_at = Some(Instant::now());
        }
        let claimed = ledger::webhook::claim(&self.db, CLAIM).await?;
        if claimed.is_empty() {
            return Ok(Turn::Done);
        }
        let settled = join_all(claimed.iter().map(|message| self.deliver(message))).await;
        settled.into_iter().collect::<DbResult<()>>()?;
        Ok(Turn::More)
    }

    async fn deliver(&self, message: &ClaimedMessage) -> DbResult<()> {
        match self.send(message).await {
            Ok(status) => {
                metrics::count_delivery(Delivery::Delivered, 1);
                ledger::webhook::record_delivered(&self.db, message, status).await
            }
            Err(error) => self.note_failure(message, &error).await,
        }
    }

    async fn send(&self, message: &ClaimedMessage) -> Result<u16, SendError> {
        let outgoing = compose(message, self.key.as_ref(), self.console_url.as_deref())?;
        tokio::time::timeout(LIMIT, self.sender.post(&message.url, outgoing))
            .await
            .map_err(|_| SendError::TimedOut(LIMIT))?
    }

    async fn note_failure(&self, message: &ClaimedMessage, error: &SendError) -> DbResult<()> {
        let attempts = u32::try_from(message.attempt).unwrap_or(u32::MAX);
        let pause = BACKOFF.delay(attempts, rand::rng().random_range(0.0..1.0));
        let text = report(error);
        let is_dead =
            ledger::webhook::record_failure(&self.db, message, pause, error.status(), &text).await?;
        let outcome = match is_dead {
            Some(true) => Delivery::Dead,
            _ => Delivery::Failed,
        };
        metrics::count_delivery(outcome, 1);
        if outcome == Delivery::Dead {
            tracing::warn!(
                webhook.id = message.webhook_id,
                message.id = message.id,
                error = %text,
                "message of a webhook given up"
            );
        }
        Ok(())
    }
}
