//! What holds watermarks back: open and prepared transactions, a standby's replay, a source that went back in time.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use super::{KnownState, Source};
use crate::fence::oldest_writer;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::Finding;
use tidemark_shared::fence::Holder;

/// Longer than an ordinary transaction, and than a deployment.
const LONG: TimeDelta = TimeDelta::minutes(5);
/// A standby that is further behind is not following.
const FOLLOWING: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug, FromRow)]
struct Position {
    now: DateTime<Utc>,
    xmax: i64,
    replayed_at: Option<DateTime<Utc>>,
    /// What it has received is replayed: it is as far as its primary.
    is_caught_up: bool,
}

#[derive(Debug, FromRow)]
struct Prepared {
    gid: String,
    prepared: DateTime<Utc>,
}

impl Source {
    pub(super) async fn check_fence(
        &self,
        connection: &mut PgConnection,
        known: KnownState,
        is_standby: bool,
        findings: &mut Vec<Finding>,
    ) {
        let looked = if is_standby {
            self.check_replay(connection, findings).await
        } else {
            self.check_writers(connection, known, findings).await
        };
        if let Err(error) = looked {
            findings.push(Finding::not_checked("fence", report(&error)));
        }
    }

    async fn position(connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
        sqlx::query_as(
            "SELECT clock_timestamp() AS now, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax, \
                    pg_last_xact_replay_timestamp() AS replayed_at, \
                    coalesce(pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn(), false) AS is_caught_up",
        )
        .fetch_one(connection)
        .await
    }

    async fn check_replay(
        &self,
        connection: &mut PgConnection,
        findings: &mut Vec<Finding>,
    ) -> Result<(), sqlx::Error> {
        let at = Self::position(connection).await?;
        let behind = at.replayed_at.map(|replayed_at| at.now - replayed_at);
        findings.push(match behind {
            Some(behind) if behind > FOLLOWING && !at.is_caught_up => Finding::warning(
                "fence",
                format!("the standby has replayed nothing for {} s: it does not follow", behind.num_seconds()),
            )
            .todo("SELECT * FROM pg_stat_wal_receiver;   -- there; and look at its primary"),
            Some(_) => Finding::ok(
                "fence",
                "a standby: watermarks stay 10 s behind its replay, and writes whose timestamps were fixed long before are \
                 left to `lookback` and `verify`",
            ),
            None => Finding::ok(
                "fence",
                "the standby has replayed no commit since it started: watermarks stay until it has",
            ),
        });
        Ok(())
    }

    async fn check_writers(
        &self,
        connection: &mut PgConnection,
        known: KnownState,
        findings: &mut Vec<Finding>,
    ) -> Result<(), sqlx::Error> {
        let at = Self::position(&mut *connection).await?;
        if let Err(error) = self.check_not_restored(known.highest_xmax, at.xmax) {
            findings.push(Finding::error("fence", report(&error)).todo(format!(
                "tidemark source accept-restore --source {} --reason '…'   # if it is the right server",
                self.name()
            )));
        }
        let prepared: Vec<Prepared> = sqlx::query_as(
            "SELECT gid, prepared FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared",
        )
        .fetch_all(&mut *connection)
        .await?;
        let forgotten: Vec<&Prepared> = prepared
            .iter()
            .filter(|one| at.now - one.prepared > LONG)
            .collect();
        for one in &forgotten {
            findings.push(
                Finding::warning(
                    "fence",
                    format!(
                        "prepared transaction {} waits since {}: watermarks stay before it",
                        one.gid,
                        one.prepared.format("%Y-%m-%d %H:%M:%SZ")
                    ),
                )
                .todo(format!(
                    "ROLLBACK PREPARED '{}';   -- or COMMIT PREPARED",
                    one.gid.replace('\'', "''")
                )),
            );
        }
        let holder = oldest_writer(connection).await?;
        match holder {
            Some(holder) if holder.prepared.is_none() && is_long(&holder, known, at.now) => {
                findings.push(held_by(&holder));
            }
            _ if forgotten.is_empty() => {
                findings.push(Finding::ok("fence", "no transaction has been writing for long"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where the login may not see since when, what a producer saw last tells.
fn is_long(holder: &Holder, known: KnownState, now: DateTime<Utc>) -> bool {
    match holder.since {
        Some(since) => now - since > LONG,
        None => match (known.sampled_at, known.fence_at) {
            (Some(sampled_at), Some(fence_at)) => sampled_at - fence_at > LONG,
            _ => false,
        },
    }
}

fn held_by(holder: &Holder) -> Finding {
    let pid = holder.pid.unwrap_or_default();
    let who: Vec<&str> = [&holder.user, &holder.application, &holder.state]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    let since = holder.since.map_or_else(String::new, |since| {
        format!(" since {}", since.format("%Y-%m-%d %H:%M:%SZ"))
    });
    Finding::warning(
        "fence",
        format!(
            "pid {pid} ({}) has been writing in one transaction{since}: watermarks stay before it",
            who.join(", ")
        ),
    )
    .todo(format!(
        "SELECT pg_terminate_backend({pid});   -- at the source, if nobody needs it"
    ))
}
