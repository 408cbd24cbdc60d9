//! When changes show in the target.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use sqlx::PgConnection;
use tokio::time::Instant;

use super::chatwoot::Written;
use crate::site::Site;

/// The beginning of a change's text; its number follows. Later changes of a conversation have higher numbers.
pub const MARK: &str = "freshness ";
const SHOWN: &str = "SELECT a.tenant_id, a.conversation_id, a.last_message_text \
     FROM unnest($1::integer[], $2::bigint[]) AS w (tenant_id, conversation_id) \
     JOIN conversations_analytics a ON a.tenant_id = w.tenant_id AND a.conversation_id = w.conversation_id";

/// Changes that were committed, and how long each took.
#[derive(Debug)]
pub struct Arrivals {
    target: PgConnection,
    expected: HashMap<Written, Vec<(i64, Instant)>>,
    delays: Vec<Duration>,
}

impl Arrivals {
    pub async fn begin(site: &Site) -> Result<Self> {
        Ok(Self {
            target: site.on_target().await?,
            expected: HashMap::new(),
            delays: Vec::new(),
        })
    }

    pub fn expect(&mut self, written: Written, marker: i64, committed_at: Instant) {
        self.expected
            .entry(written)
            .or_default()
            .push((marker, committed_at));
    }

    /// Some of the changes that do not show yet.
    pub fn missing(&self) -> Vec<(Written, i64)> {
        let first =
            |(written, expected): (&Written, &Vec<(i64, Instant)>)| Some((*written, expected.first()?.0));
        self.expected.iter().filter_map(first).take(5).collect()
    }

    /// Looks which changes show by now. A row with a later change shows the earlier ones.
    pub async fn look(&mut self) -> Result<()> {
        if self.expected.is_empty() {
            return Ok(());
        }
        let (tenants, conversations): (Vec<i32>, Vec<i64>) = self
            .expected
            .keys()
            .map(|written| (written.tenant, written.conversation))
            .unzip();
        let rows: Vec<(i32, i64, Option<String>)> = sqlx::query_as(SHOWN)
            .bind(tenants)
            .bind(conversations)
            .fetch_all(&mut self.target)
            .await?;
        let now = Instant::now();
        for (tenant, conversation, text) in rows {
            let shown = text
                .as_deref()
                .and_then(|text| text.strip_prefix(MARK))
                .and_then(|number| number.parse::<i64>().ok())
                .unwrap_or_default();
            let written = Written { tenant, conversation };
            let Some(expected) = self.expected.get_mut(&written) else {
                continue;
            };
            let delays = &mut self.delays;
            expected.retain(|(marker, committed_at)| {
                let shows = *marker <= shown;
                if shows {
                    delays.push(now.duration_since(*committed_at));
                }
                !shows
            });
            if expected.is_empty() {
                self.expected.remove(&written);
            }
        }
        Ok(())
    }

    /// The delays so far, in seconds.
    pub fn take_delays(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.delays)
            .into_iter()
            .map(|delay| delay.as_secs_f64())
            .collect()
    }
}
