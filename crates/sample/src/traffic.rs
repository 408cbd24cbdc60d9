//! Live traffic: changes a sample as Chatwoot does, including changes that leave `updated_at` alone.

mod contacts;
mod conversation_state;
mod deletions;
mod kind;
mod message_edits;
mod new_conversations;
mod new_messages;
mod pace;
mod participants;
mod pick;
mod reports;
mod slas;
mod survey;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{NaiveDateTime, SubsecRound};
use rand::distr::weighted::WeightedIndex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sqlx::{PgConnection, query, query_as};
use tidemark_shared::chatwoot::{NEWEST_KNOWN, Version};
use tokio_util::sync::CancellationToken;

pub use kind::ChangeKind;
use pace::Pace;

use crate::database::{Target, is_deadlock, version_of};
use crate::shape::Shape;

/// Rate and end of the traffic. It ends when `duration` or `count` is reached; without both it never ends.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficOptions {
    /// Changes for each second; zero means as fast as possible.
    pub rate_per_second: f64,
    pub duration: Option<Duration>,
    pub count: Option<u64>,
    /// The same seed makes the same choices on the same data; only the times differ.
    pub seed: u64,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        Self {
            rate_per_second: 10.0,
            duration: None,
            count: None,
            seed: 1,
        }
    }
}

/// The number of changes of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TrafficReport {
    pub by_kind: BTreeMap<ChangeKind, u64>,
}

impl TrafficReport {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

/// Changes the sample until the options end it or `stop` is cancelled. The current change is finished first.
///
/// # Errors
/// When the database is not marked as a sample, the rate is negative or not a number, or a statement fails.
pub async fn traffic(url: &str, options: &TrafficOptions, stop: CancellationToken) -> Result<TrafficReport> {
    let mut changes = Changes::connect(&Target::parse(url)?, options.seed).await?;
    let mut pace = Pace::new(options.rate_per_second, options.duration)?;
    let mut report = TrafficReport::default();
    while options.count.is_none_or(|count| report.total() < count) && pace.wait(&stop).await {
        let kind = changes.make_one().await?;
        *report.by_kind.entry(kind).or_default() += 1;
        tracing::debug!(kind = kind.as_str(), "sample changed");
    }
    Ok(report)
}

/// State that every change needs. Each statement commits separately, like Chatwoot's callbacks.
struct Changes {
    conn: PgConnection,
    rng: ChaCha8Rng,
    /// The time of the current change, by the server's clock.
    now: NaiveDateTime,
    kinds: WeightedIndex<u32>,
    version: Version,
    /// What that version has.
    shape: Shape,
}

impl Changes {
    async fn connect(target: &Target, seed: u64) -> Result<Self> {
        let mut conn = target.connect_to_sample().await?;
        // a sample need not survive a crash of the server
        query("SET synchronous_commit = off")
            .execute(&mut conn)
            .await
            .context("prepare the session")?;
        let kinds = WeightedIndex::new(ChangeKind::ALL.map(ChangeKind::weight))
            .context("compute the weights of the changes")?;
        Ok(Self {
            conn,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: NaiveDateTime::default(),
            kinds,
            version: NEWEST_KNOWN,
            shape: Shape::of(NEWEST_KNOWN),
        })
    }

    /// Makes one change and returns its kind. A kind that finds no row, or ends in a deadlock with an upgrade, is drawn again.
    /// A new conversation is always possible.
    async fn make_one(&mut self) -> Result<ChangeKind> {
        loop {
            let kind = ChangeKind::ALL[self.rng.sample(&self.kinds)];
            self.look_at_database().await?;
            match self.make(kind).await {
                Ok(true) => return Ok(kind),
                Ok(false) => {}
                Err(error) if is_deadlock(&error) => tracing::debug!("deadlock with an upgrade"),
                Err(error) => return Err(error.context(format!("make a change: {}", kind.as_str()))),
            }
        }
    }

    async fn make(&mut self, kind: ChangeKind) -> Result<bool> {
        match kind {
            ChangeKind::ConversationCreated => new_conversations::create(self).await,
            ChangeKind::MessageCreated => new_messages::write(self).await,
            ChangeKind::MessageEdited => message_edits::edit(self).await,
            ChangeKind::MessageDeleted => message_edits::delete(self).await,
            ChangeKind::DeliveryChanged => message_edits::deliver(self).await,
            ChangeKind::StatusChanged => conversation_state::change_status(self).await,
            ChangeKind::Resolved => conversation_state::resolve(self).await,
            ChangeKind::Snoozed => conversation_state::snooze(self).await,
            ChangeKind::Assigned => conversation_state::assign(self).await,
            ChangeKind::Labelled => conversation_state::label(self).await,
            ChangeKind::Seen => conversation_state::mark_seen(self).await,
            ChangeKind::SurveyAnswered => survey::answer(self).await,
            ChangeKind::ContactRenamed => contacts::rename(self).await,
            ChangeKind::ContactsMerged => contacts::merge(self).await,
            ChangeKind::SlaChanged => slas::change(self).await,
            ChangeKind::ParticipantJoined => participants::join(self).await,
            ChangeKind::ConversationDeleted => deletions::delete(self).await,
        }
    }

    /// Reads the server's clock in UTC, sometimes without fractions of seconds, as some writers store it; and the version of
    /// Chatwoot, which an upgrade changes meanwhile.
    async fn look_at_database(&mut self) -> Result<()> {
        let (now, comment): (NaiveDateTime, Option<String>) = query_as(
            "SELECT clock_timestamp() AT TIME ZONE 'UTC', shobj_description(oid, 'pg_database') \
             FROM pg_database WHERE datname = current_database()",
        )
        .fetch_one(&mut self.conn)
        .await
        .context("read the server's clock and the sample's version")?;
        self.now = if self.rng.random_ratio(1, 5) {
            now.trunc_subsecs(0)
        } else {
            now
        };
        let version = comment.as_deref().and_then(version_of).unwrap_or(NEWEST_KNOWN);
        if version != self.version {
            self.version = version;
            self.shape = Shape::of(version);
        }
        Ok(())
    }

    fn has_table(&self, table: &str) -> bool {
        self.shape.has(table, "id")
    }

    /// Whether the sample's version has a column of `conversations`.
    fn has(&self, column: &str) -> bool {
        self.shape.has("conversations", column)
    }
}
