//! Sends dead messages on their way again, as an operator asks.

use serde::Serialize;
use tidemark_broker::{DeadLetters, Outgoing, Published, Queue, QueueError};
use tidemark_ledger as ledger;
use tidemark_ledger::DbError;
use tidemark_postgres::DbPool;

#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error("look the message's chunk up")]
    Ledger(#[from] DbError),
    #[error("redrive dead messages")]
    Queue(#[from] QueueError),
}

/// What became of the dead messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Published again, and taken out.
    pub redriven: usize,
    /// Left: this build cannot read them.
    pub unreadable: usize,
    /// Left: their chunk does not wait for a worker, or does not exist.
    pub unwanted: usize,
    /// Left: the broker did not take them.
    pub refused: usize,
}

/// Publishes those of the oldest `limit` messages that can be read and whose chunk still waits, and takes each out once
/// the broker has confirmed its copy: what is lost in between is there twice, and the claim makes that harmless.
///
/// # Errors
/// When ledger or broker do not answer; what was not taken out is still in the queue.
pub async fn redrive(
    db: &DbPool,
    queue: &dyn Queue,
    dead: &DeadLetters,
    limit: usize,
) -> Result<Redriven, RedriveError> {
    let mut outcome = Redriven::default();
    for _ in 0..limit {
        let Some(delivery) = dead.next().await? else { break };
        let Some(job) = delivery.message.job else {
            outcome.unreadable += 1;
            continue;
        };
        let waiting = ledger::chunk_report::find_waiting(db, job.chunk(), job.tenant_id).await?;
        let Some((job, lane, context)) = waiting else {
            outcome.unwanted += 1;
            continue;
        };
        let outgoing = Outgoing { job, lane, context };
        if queue.publish_jobs(&[outgoing]).await? == [Published::Confirmed] {
            dead.remove(delivery).await?;
            outcome.redriven += 1;
        } else {
            outcome.refused += 1;
        }
    }
    Ok(outcome)
}
