//! Checks whether this process is alive and can work now.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidemark_broker::{ConsumerHealth, PublisherHealth, Queue, QueueHealth};
use tidemark_ledger::migrations::{Schema, applied_migrations, schema};
use tidemark_postgres::DbPool;
use tidemark_postgres::fault::refuses_login;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_runtime::pulse::LoopHealth;
use tidemark_shared::job::Lane;

/// A loop without a turn for so long hangs. The plan of a large tenant is one turn, and each of its statements may take two
/// minutes.
const LONGEST_TURN: Duration = Duration::from_secs(600);
/// For the database's answer. Supervisors rarely wait longer than a few seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The parts to check.
pub struct Health {
    pub role: &'static str,
    pub instance: String,
    pub db: DbPool,
    pub queue: Arc<dyn Queue>,
    pub lifecycle: Lifecycle,
    /// The process executes chunks, so it must be subscribed.
    pub works: bool,
}

/// The result; `ok` when all checks that count are.
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
    /// Checks that do not count are only shown.
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

    /// Checks that every loop still turns.
    pub fn live(&self) -> Report {
        self.report(self.lifecycle.loops().iter().map(turns).collect())
    }

    /// Checks that the ledger answers and has tables that this version works with, and that a worker is subscribed. A producer
    /// without a broker is ready: its plans wait in the ledger.
    pub async fn ready(&self) -> Report {
        let stopping = self.lifecycle.soft().is_cancelled();
        let running = if stopping { "stopping" } else { "running" };
        let mut checks = vec![
            Check::new("running", !stopping, running),
            self.check_database().await,
        ];
        // a restart does not help, and another loop may work
        checks.extend(self.lifecycle.loops().iter().filter_map(fails));
        let queue = self.queue.health();
        if self.works {
            checks.extend(Lane::ALL.map(|lane| subscribed(&queue, lane)));
        }
        // without events the finalizer polls, so they do not count
        checks.extend(events(&queue));
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

    async fn check_database(&self) -> Check {
        let asking = async { applied_migrations(&mut *self.db.begin().await?).await };
        let (ok, detail) = match tokio::time::timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(applied)) => match schema(&applied) {
                Schema::Current => (true, "reachable and migrated"),
                Schema::Behind => (false, "reachable, and not migrated: run `tidemark migrate`"),
                Schema::Newer(_) => (
                    true,
                    "reachable, and migrated by a newer tidemark, which this one works with",
                ),
                Schema::TooNew(_) => (
                    false,
                    "reachable, and migrated by a newer tidemark, which this one does not work with",
                ),
            },
            Ok(Err(error)) if refuses_login(&error) => (
                false,
                "the server refuses user or password, which are read again at each attempt",
            ),
            // the error text of the driver may name the login
            Ok(Err(_)) => (false, "not reachable"),
            Err(_) => (false, "no answer within 2 s"),
        };
        Check::new("database", ok, detail)
    }
}

fn turns(one: &LoopHealth) -> Check {
    let ago = one.since_last_beat.as_secs();
    Check::new(
        format!("loop {}", one.name),
        one.since_last_beat < LONGEST_TURN,
        format!("last turn {ago} s ago"),
    )
}

/// A loop whose turns fail: it repeats them until they work.
fn fails(one: &LoopHealth) -> Option<Check> {
    let failure = one.failure.as_ref()?;
    let code = failure
        .sqlstate
        .as_ref()
        .map(|code| format!(" (SQLSTATE {code})"));
    let detail = format!("its last turn failed{}: see the log", code.unwrap_or_default());
    Some(Check {
        counts: false,
        ..Check::new(format!("loop {}", one.name), false, detail)
    })
}

fn subscribed(queue: &QueueHealth, lane: Lane) -> Check {
    let name = format!("chunks.{}", lane.as_str());
    let consumer = consumer(queue, &name);
    subscription(name, queue, consumer.is_some_and(|consumer| consumer.subscribed))
}

fn events(queue: &QueueHealth) -> Option<Check> {
    let consumer = consumer(queue, "events")?;
    Some(Check {
        counts: false,
        ..subscription("events", queue, consumer.subscribed)
    })
}

/// Queue names start with the prefix of the installation.
fn consumer<'a>(queue: &'a QueueHealth, name: &str) -> Option<&'a ConsumerHealth> {
    let mut consumers = queue.consumers.iter();
    consumers.find(|consumer| consumer.queue.ends_with(name))
}

fn subscription(name: impl Into<String>, queue: &QueueHealth, ok: bool) -> Check {
    let detail = match ok {
        true => "subscribed",
        false if queue.refuses_login => "not subscribed: the broker refuses user, password or virtual host",
        false => "not subscribed",
    };
    Check::new(name, ok, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_hangs_is_named() {
        let after = |seconds| {
            turns(&LoopHealth {
                name: "dispatcher",
                since_last_beat: Duration::from_secs(seconds),
                failure: None,
            })
        };
        assert!(after(599).ok);
        let hanging = after(600);
        assert!(!hanging.ok && hanging.counts);
        assert_eq!(hanging.name, "loop dispatcher");
    }

    #[test]
    fn a_lane_without_a_consumer_is_not_subscribed() {
        let lane = |subscribed| ConsumerHealth {
            queue: "tidemark.chunks.live".into(),
            subscribed,
        };
        let queue = |consumers| QueueHealth {
            refuses_login: false,
            publisher: PublisherHealth::Idle,
            consumers,
        };
        assert!(!subscribed(&queue(vec![]), Lane::Live).ok);
        assert!(!subscribed(&queue(vec![lane(false)]), Lane::Live).ok);
        assert!(subscribed(&queue(vec![lane(true)]), Lane::Live).ok);
        assert!(!subscribed(&queue(vec![lane(true)]), Lane::Bulk).ok);
    }
}
