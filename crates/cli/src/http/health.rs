//! Whether this process lives and can do its work, as it is now and not as it was meant to be.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;
use tidemark_shared::broker::{PublisherHealth, Queue, QueueHealth};
use tidemark_shared::db::connect::{Schema, applied_migrations, schema};
use tidemark_shared::job::Lane;
use tidemark_shared::lifecycle::Lifecycle;

/// A loop that has not come round for so long hangs. A plan of a large tenant is one turn, and each of its statements
/// has two minutes.
const LONGEST_TURN: Duration = Duration::from_secs(600);
/// For the database's answer. Whoever asks waits seldom longer than a few seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What is looked at.
pub struct Health {
    pub role: &'static str,
    pub instance: String,
    pub db: PgPool,
    pub queue: Arc<dyn Queue>,
    pub lifecycle: Lifecycle,
    /// Whether the process executes chunks, for which it must be subscribed.
    pub works: bool,
}

/// An answer; the process is well when every check that counts is.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ok: bool,
    role: &'static str,
    instance: String,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// What does not count is shown all the same.
    counts: bool,
    detail: String,
}

impl Check {
    fn new(name: impl Into<String>, ok: bool, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok,
            counts: true,
            detail: detail.into(),
        }
    }
}

impl Health {
    fn report(&self, checks: Vec<Check>) -> Report {
        Report {
            ok: checks.iter().all(|check| check.ok || !check.counts),
            role: self.role,
            instance: self.instance.clone(),
            checks,
        }
    }

    pub fn started(&self) -> Report {
        self.report(vec![Check::new("started", true, "the loops have been started")])
    }

    /// Every loop comes round.
    pub fn live(&self) -> Report {
        let loops = self.lifecycle.loops().into_iter();
        self.report(
            loops
                .map(|one| {
                    let ago = one.turned_ago.as_secs();
                    let turns = one.turned_ago < LONGEST_TURN;
                    Check::new(
                        format!("loop {}", one.name),
                        turns,
                        format!("came round {ago} s ago"),
                    )
                })
                .collect(),
        )
    }

    /// Work that comes now can be done: the ledger answers and is this build's, and who executes chunks is subscribed.
    /// A producer without a broker is ready: it plans, and what it plans waits in the ledger.
    pub async fn ready(&self) -> Report {
        let stopping = self.lifecycle.soft().is_cancelled();
        let running = if stopping { "stopping" } else { "running" };
        let mut checks = vec![Check::new("running", !stopping, running), self.database().await];
        let queue = self.queue.health();
        if self.works {
            checks.extend(Lane::ALL.map(|lane| subscribed(&queue, lane)));
        }
        let (ok, detail) = match queue.publisher {
            PublisherHealth::Idle => (true, "not needed yet"),
            PublisherHealth::Connected => (true, "connected"),
            PublisherHealth::Failing => (false, "the last publication failed"),
        };
        checks.push(Check {
            counts: false,
            ..Check::new("publisher", ok, detail)
        });
        self.report(checks)
    }

    async fn database(&self) -> Check {
        let asking = async { applied_migrations(&mut *self.db.acquire().await?).await };
        let (ok, detail) = match tokio::time::timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(applied)) => match schema(&applied) {
                Schema::Current => (true, "reachable and migrated"),
                Schema::Behind => (false, "reachable, and not migrated: run `tidemark migrate`"),
                Schema::TooNew => (false, "reachable, and migrated by a newer tidemark"),
            },
            // no text of the driver: it may name the login
            Ok(Err(_)) => (false, "not reachable"),
            Err(_) => (false, "no answer within 2 s"),
        };
        Check::new("database", ok, detail)
    }
}

fn subscribed(queue: &QueueHealth, lane: Lane) -> Check {
    let name = format!("chunks.{}", lane.as_str());
    let consumer = queue
        .consumers
        .iter()
        .find(|consumer| consumer.queue.ends_with(&name));
    let ok = consumer.is_some_and(|consumer| consumer.subscribed);
    Check::new(name, ok, if ok { "subscribed" } else { "not subscribed" })
}
