//! Live traffic: changes to a sample the way Chatwoot makes them, the ones that leave no trace in
//! `updated_at` included.

mod contacts;
mod conversation_state;
mod deletions;
mod kind;
mod message_edits;
mod new_conversations;
mod new_messages;
mod pace;
mod pick;
mod survey;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{NaiveDateTime, SubsecRound};
use rand::distr::weighted::WeightedIndex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sqlx::{PgConnection, query, query_scalar};
use tokio_util::sync::CancellationToken;

pub use kind::ChangeKind;
use pace::Pace;

use crate::database::Target;

/// How much traffic, and for how long: until `duration` or `count` is reached, or for ever if neither is set.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficOptions {
    /// Changes a second; zero is as fast as possible.
    pub rate_per_second: f64,
    pub duration: Option<Duration>,
    pub count: Option<u64>,
    /// The same seed on the same data makes the same choices; only the times differ.
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

/// What was changed.
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

/// Changes the sample until the options say enough or `stop` is cancelled; a change under way is finished.
///
/// # Errors
/// When the database is not marked as a sample, when the rate is negative or not a number, or when a statement fails.
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

/// What every change needs. Statements commit one by one, as Chatwoot's callbacks do.
struct Changes {
    conn: PgConnection,
    rng: ChaCha8Rng,
    /// The time of the change under way, by the server's clock.
    now: NaiveDateTime,
    kinds: WeightedIndex<u32>,
}

impl Changes {
    async fn connect(target: &Target, seed: u64) -> Result<Self> {
        let mut conn = target.connect_to_sample().await?;
        // As in `create`: a sample need not survive a crash of the server.
        query("SET synchronous_commit = off")
            .execute(&mut conn)
            .await
            .context("prepare the session")?;
        let kinds =
            WeightedIndex::new(ChangeKind::ALL.map(ChangeKind::weight)).context("weigh the changes")?;
        Ok(Self {
            conn,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: NaiveDateTime::default(),
            kinds,
        })
    }

    /// Makes one change and says which. A kind that finds nothing to change is drawn again; a new
    /// conversation always can be made.
    async fn make_one(&mut self) -> Result<ChangeKind> {
        loop {
            let kind = ChangeKind::ALL[self.rng.sample(&self.kinds)];
            self.now = self.read_clock().await?;
            let changed = self
                .make(kind)
                .await
                .with_context(|| format!("make a change: {}", kind.as_str()))?;
            if changed {
                return Ok(kind);
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
            ChangeKind::ConversationDeleted => deletions::delete(self).await,
        }
    }

    /// The server's clock in UTC; without fractions for the writers that store none.
    async fn read_clock(&mut self) -> Result<NaiveDateTime> {
        let now: NaiveDateTime = query_scalar("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
            .fetch_one(&mut self.conn)
            .await
            .context("read the server's clock")?;
        Ok(if self.rng.random_ratio(1, 5) {
            now.trunc_subsecs(0)
        } else {
            now
        })
    }
}
