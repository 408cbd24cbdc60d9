//! Checks for causes that stop watermarks: open and prepared transactions, standby replay, a restored source.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use super::{KnownState, Source};
use crate::error::SourceError;
use crate::fence::oldest_writer;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Check, Finding, Found, SourceFound};
use tidemark_shared::fence::Holder;

/// Longer than an ordinary transaction or a deployment.
const LONG_TRANSACTION: TimeDelta = TimeDelta::minutes(5);
/// A standby that is further behind does not follow its primary.
const MAX_REPLAY_LAG: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug, FromRow)]
struct Position {
    now: DateTime<Utc>,
    xmax: i64,
    replayed_at: Option<DateTime<Utc>>,
    /// Whether everything received is replayed, so that the standby is level with its primary.
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
        let checked = if is_standby {
            self.check_replay(connection, findings).await
        } else {
            self.check_writers(connection, known, findings).await
        };
        if let Err(error) = checked {
            findings.push(Finding::not_checked(Check::Fence, report(&error)));
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
            Some(behind) if behind > MAX_REPLAY_LAG && !at.is_caught_up => {
                Finding::warning(Check::Fence, SourceFound::ReplaysNothing(behind.num_seconds()))
                    .todo("SELECT * FROM pg_stat_wal_receiver;   -- on the standby; then check its primary")
            }
            Some(_) => Finding::ok(Check::Fence, SourceFound::Standby),
            None => Finding::ok(Check::Fence, SourceFound::NoCommitReplayed),
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
            findings.push(Finding::error(Check::Fence, went_back(&error)).todo(format!(
                "tidemark source accept-restore --source {} --reason '…'   # if this is the right server",
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
            .filter(|one| at.now - one.prepared > LONG_TRANSACTION)
            .collect();
        for one in &forgotten {
            findings.push(
                Finding::warning(
                    Check::Fence,
                    SourceFound::Prepared {
                        gid: one.gid.clone(),
                        since: one.prepared,
                    },
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
                findings.push(long_transaction(&holder));
            }
            _ if forgotten.is_empty() => {
                findings.push(Finding::ok(Check::Fence, SourceFound::NoLongWriter));
            }
            _ => {}
        }
        Ok(())
    }
}

fn went_back(error: &SourceError) -> Found {
    match error {
        SourceError::WentBack {
            name,
            server,
            known,
            seen,
        } => SourceFound::WentBack {
            name: name.clone(),
            server: server.clone(),
            known: *known,
            seen: *seen,
        }
        .into(),
        other => Found::Failed(report(other)),
    }
}

/// A login without the right to see the start time relies on the producer's last sample.
fn is_long(holder: &Holder, known: KnownState, now: DateTime<Utc>) -> bool {
    match holder.since {
        Some(since) => now - since > LONG_TRANSACTION,
        None => match (known.sampled_at, known.fence_at) {
            (Some(sampled_at), Some(fence_at)) => sampled_at - fence_at > LONG_TRANSACTION,
            _ => false,
        },
    }
}

fn long_transaction(holder: &Holder) -> Finding {
    let pid = holder.pid.unwrap_or_default();
    let who: Vec<String> = [&holder.user, &holder.application, &holder.state]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .cloned()
        .collect();
    Finding::warning(
        Check::Fence,
        SourceFound::LongWriter {
            pid,
            who,
            since: holder.since,
        },
    )
    .todo(format!(
        "SELECT pg_terminate_backend({pid});   -- on the source, if nobody needs it"
    ))
}
