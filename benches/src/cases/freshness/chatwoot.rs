//! The changes: messages at random instants, as Chatwoot commits them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::RngExt;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arrivals::Arrivals;
use crate::site::Site;

const CHANGES_A_SECOND: f64 = 50.0;
/// Conversations of each tenant that are written in.
const KEPT_BUSY: i32 = 500;
/// $1 the conversation, $2 the text, $3 how many seconds ago
const CHANGE: &str = include_str!("change.sql");

/// A conversation of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Written {
    pub tenant: i32,
    pub conversation: i64,
}

/// Writes in conversations of all tenants.
#[derive(Debug)]
pub struct Chatwoot {
    pool: PgPool,
    /// The conversations of each tenant, and how many of its changes were made.
    by_tenant: Vec<(Vec<Written>, AtomicUsize)>,
    next_marker: AtomicI64,
}

impl Chatwoot {
    pub async fn of(site: &Site, tenants: u16) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .connect(&site.source)
            .await
            .context("connect to the source as Chatwoot")?;
        let mut by_tenant = Vec::new();
        for tenant in 1..=i32::from(tenants) {
            let ids: Vec<i64> = sqlx::query_scalar(
                "SELECT id::bigint FROM conversations WHERE account_id = $1 ORDER BY md5(id::text) LIMIT $2",
            )
            .bind(tenant)
            .bind(KEPT_BUSY)
            .fetch_all(&pool)
            .await?;
            let written = ids
                .into_iter()
                .map(|conversation| Written { tenant, conversation });
            by_tenant.push((written.collect(), AtomicUsize::new(0)));
        }
        Ok(Self {
            pool,
            by_tenant,
            next_marker: 1.into(),
        })
    }

    fn pick(&self) -> Result<(Written, i64)> {
        let tenant = rand::rng().random_range(0..self.by_tenant.len());
        let (conversations, changes) = &self.by_tenant[tenant];
        let marker = self.next_marker.fetch_add(1, Relaxed);
        // in turns: two changes of one conversation at the same time could show in the other order
        let turn = changes.fetch_add(1, Relaxed) % conversations.len().max(1);
        let written = *conversations
            .get(turn)
            .context("every tenant has a conversation")?;
        Ok((written, marker))
    }

    /// Makes changes with the times of the last `period`, all at once.
    pub async fn change_past(&self, period: Duration) -> Result<()> {
        let mut connection = self.pool.acquire().await?;
        let mut tx = connection.begin().await?;
        let count = (period.as_secs_f64() * CHANGES_A_SECOND).round();
        let mut age = period.as_secs_f64();
        while age > 0.0 {
            let (written, marker) = self.pick()?;
            change(&mut tx, written, marker, age).await?;
            age -= period.as_secs_f64() / count;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes changes at random instants; `arrivals` learns when each was committed.
    pub async fn change_for(&self, period: Duration, arrivals: Option<Arc<Mutex<Arrivals>>>) -> Result<()> {
        let ends_at = Instant::now() + period;
        let mut next = Instant::now();
        let mut changes = JoinSet::new();
        loop {
            // instants of a Poisson process
            let pause = -rand::rng().random_range(f64::EPSILON..1.0).ln() / CHANGES_A_SECOND;
            next += Duration::from_secs_f64(pause);
            if next > ends_at {
                break;
            }
            tokio::time::sleep_until(next).await;
            let (written, marker) = self.pick()?;
            let (pool, arrivals) = (self.pool.clone(), arrivals.clone());
            changes.spawn(async move {
                let mut connection = pool.acquire().await?;
                let mut tx = connection.begin().await?;
                change(&mut tx, written, marker, 0.0).await?;
                tx.commit().await?;
                let committed_at = Instant::now();
                if let Some(arrivals) = arrivals {
                    arrivals.lock().await.expect(written, marker, committed_at);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = changes.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn change(connection: &mut sqlx::PgConnection, written: Written, marker: i64, age: f64) -> Result<()> {
    sqlx::query(CHANGE)
        .bind(i32::try_from(written.conversation)?)
        .bind(format!("{}{marker}", super::arrivals::MARK))
        .bind(age)
        .execute(connection)
        .await?;
    Ok(())
}
