//! Lists, redrives and purges the messages in the dead-letter queue.

use serde::Serialize;
use serde_json::{Value, json};
use tidemark_broker::{DeadFilter, DeadGroup, DeadLetters, Outgoing, Published, Queue, RabbitQueue};
use tidemark_ledger as ledger;
use tidemark_ledger::audit::Entry;
use tidemark_postgres::DbPool;
use tidemark_postgres::report::report;
use tidemark_shared::audit::{Action, ActionResult, Actor};

use crate::error::{OperationError, OperationResult};

/// The field names are a contract with scripts.
#[derive(Debug, Serialize)]
pub struct DeadMessages {
    /// All messages in the queue, also those beyond the limit.
    pub total: u32,
    pub messages: Vec<DeadGroup>,
}

/// Groups the oldest `limit` messages by their reason; they stay in the queue.
pub async fn list(rabbit: &RabbitQueue, limit: usize, filter: &DeadFilter) -> OperationResult<DeadMessages> {
    let dead = rabbit.dead_letters().await?;
    let total = dead.count().await?;
    let messages = dead.list(limit, filter).await?;
    dead.close().await?;
    Ok(DeadMessages { total, messages })
}

pub async fn count(rabbit: &RabbitQueue) -> OperationResult<u32> {
    Ok(rabbit.dead_letters().await?.count().await?)
}

/// Removes all messages. No work is lost: the chunks are in the ledger.
pub async fn purge(db: &DbPool, actor: &Actor, rabbit: &RabbitQueue) -> OperationResult<u32> {
    let dead = rabbit.dead_letters().await?;
    begin(
        db,
        actor,
        Action::DeadPurge,
        json!({"messages": dead.count().await?}),
    )
    .await?;
    let purged = dead.purge().await.map_err(OperationError::from);
    let purged = end(
        db,
        actor,
        Action::DeadPurge,
        purged,
        |purged| json!({"purged": purged}),
    )
    .await?;
    dead.close().await?;
    Ok(purged)
}

/// Messages are at the broker, which takes no part in a transaction of the ledger. So one entry stands before the action,
/// and another after it.
async fn begin(db: &DbPool, actor: &Actor, action: Action, before: Value) -> OperationResult<()> {
    let entry = Entry::new(action).before(before).result(ActionResult::Begun);
    Ok(ledger::audit::record(db, actor, &entry).await?)
}

async fn end<T>(
    db: &DbPool,
    actor: &Actor,
    action: Action,
    outcome: OperationResult<T>,
    after: impl Fn(&T) -> Value,
) -> OperationResult<T> {
    let entry = match &outcome {
        Ok(value) => Entry::new(action).after(after(value)),
        Err(error) => Entry::new(action)
            .after(json!({"error": report(error)}))
            .result(ActionResult::Failed),
    };
    ledger::audit::record(db, actor, &entry).await?;
    outcome
}

/// The outcome of a redrive, in messages; the field names are a contract with scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Published again and removed from the dead-letter queue.
    pub redriven: usize,
    /// Left: this version cannot read them.
    pub unreadable: usize,
    /// Left: their chunk does not exist or does not wait for a worker.
    pub unwanted: usize,
    /// Left: the broker did not confirm them.
    pub refused: usize,
}

/// Publishes again those of the oldest `limit` messages that can be read and whose chunk still waits.
pub async fn redrive(
    db: &DbPool,
    actor: &Actor,
    rabbit: &RabbitQueue,
    limit: usize,
) -> OperationResult<Redriven> {
    let dead = rabbit.dead_letters().await?;
    begin(db, actor, Action::DeadRedrive, json!({"limit": limit})).await?;
    let outcome = redrive_from(&dead, db, rabbit, limit).await;
    let outcome = end(db, actor, Action::DeadRedrive, outcome, |redriven| {
        json!(redriven)
    })
    .await?;
    dead.close().await?;
    Ok(outcome)
}

/// Removes a message only after the broker has confirmed its copy. A crash between the two leaves both, and the claim
/// makes the second one harmless.
async fn redrive_from(
    dead: &DeadLetters,
    db: &DbPool,
    queue: &dyn Queue,
    limit: usize,
) -> OperationResult<Redriven> {
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
