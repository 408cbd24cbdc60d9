//! What freshness costs the source and the ledger.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::{FromRow, PgConnection};
use tokio::time::Instant;

use crate::site::Site;

/// The sessions of the fleet, which say what they are.
const SESSIONS: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark%'";
const PAGES: &str =
    "SELECT (blks_hit + blks_read)::float8 FROM pg_stat_database WHERE datname = current_database()";
const LEDGER: &str = "SELECT count(*)::float8 AS rows, coalesce(sum(size), 0)::float8 AS bytes FROM ( \
         SELECT pg_column_size(r.*) AS size FROM etl_control r \
         UNION ALL SELECT pg_column_size(c.*) FROM etl_chunk c \
         UNION ALL SELECT pg_column_size(a.*) FROM etl_watermark_audit a \
         UNION ALL SELECT pg_column_size(f.*) FROM etl_fence f) ledger";

/// CPU and pages of a source since the beginning.
#[derive(Debug)]
pub struct SourceMeter {
    source: PgConnection,
    begun: Instant,
    pages: f64,
    /// Nanoseconds of CPU of each session: when it was first seen, and at last. A session that is opened later begins at 0.
    sessions: BTreeMap<i32, (u64, u64)>,
    last: (Instant, f64),
}

#[derive(Debug, Clone, Copy)]
pub struct SourceCost {
    /// `None` where the server runs on another machine.
    pub core_percent: Option<f64>,
    pub pages_a_second: f64,
}

impl SourceMeter {
    pub async fn begin(site: &Site) -> Result<Self> {
        let mut source = site.on_source().await?;
        let pages = sqlx::query_scalar(PAGES).fetch_one(&mut source).await?;
        let pids: Vec<i32> = sqlx::query_scalar(SESSIONS).fetch_all(&mut source).await?;
        let begun = Instant::now();
        let seen = pids.into_iter().filter_map(|pid| Some((pid, nanoseconds(pid)?)));
        Ok(Self {
            source,
            begun,
            pages,
            sessions: seen.map(|(pid, used)| (pid, (used, used))).collect(),
            last: (begun, pages),
        })
    }

    /// A session that ends is counted as it was read last, so this is called often.
    pub async fn read(&mut self) -> Result<()> {
        let pids: Vec<i32> = sqlx::query_scalar(SESSIONS).fetch_all(&mut self.source).await?;
        for pid in pids {
            if let Some(used) = nanoseconds(pid) {
                self.sessions.entry(pid).or_insert((0, used)).1 = used;
            }
        }
        let pages = sqlx::query_scalar(PAGES).fetch_one(&mut self.source).await?;
        self.last = (Instant::now(), pages);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a few seconds in nanoseconds")]
    pub fn end(&self) -> SourceCost {
        let seconds = (self.last.0 - self.begun).as_secs_f64();
        let used: u64 = self.sessions.values().map(|(first, last)| last - first).sum();
        SourceCost {
            core_percent: (!self.sessions.is_empty()).then(|| used as f64 / 1e9 / seconds * 100.0),
            pages_a_second: (self.last.1 - self.pages) / seconds,
        }
    }
}

/// The CPU that a process has used; `None` when it has ended or runs elsewhere.
fn nanoseconds(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Rows of the ledger that grow with runs.
#[derive(Debug, FromRow)]
pub struct LedgerSize {
    pub rows: f64,
    pub bytes: f64,
}

impl LedgerSize {
    pub async fn read(target: &mut PgConnection) -> Result<Self> {
        Ok(sqlx::query_as(LEDGER).fetch_one(target).await?)
    }
}
