//! Decides what happens to a chunk whose attempt failed. No other code decides it, except for workers that vanished:
//! rescue counts their lost leases in the ledger.

use std::time::Duration;

use tidemark_ledger::DbError;
use tidemark_postgres::sqlstate::{FailureKind, control_failure_kind, failure_kind};
use tidemark_shared::retry::Backoff;

use crate::error::ExecuteError;
use crate::extract::ExtractError;
use crate::load::LoadError;
use crate::metrics::Outcome;

/// Failed attempts after which a chunk is dead.
const MAX_FAILURES: i32 = 5;
const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};
/// While a server is unavailable. The cap is the longest that a chunk still waits after the server is back.
const UNAVAILABLE_BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(15),
};

/// While a comparison waits for a sync: dispatch brings it forward when the sync has ended.
const DEFERRAL: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Due again after this delay. Counts as a failure.
    Retry(Duration),
    /// Due again after this delay. A server is unavailable, so it counts as no failure.
    Wait(Duration),
    /// Due again after this delay: the sync that it waits for has not run yet.
    Defer(Duration),
    /// No further attempt, unless an operator retries it.
    Dead,
    /// A configuration error blocks the whole run: this chunk is dead and the run's waiting chunks are cancelled.
    FailRun,
    /// Due again at once, unless another attempt has claimed it. Counts as no failure.
    Release,
}

impl Disposition {
    /// The outcome label of the metrics.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Retry(_) => Outcome::Retry,
            Self::Dead | Self::FailRun => Outcome::Dead,
            Self::Release => Outcome::Released,
            Self::Wait(_) | Self::Defer(_) => Outcome::Postponed,
        }
    }
}

/// How often a chunk was attempted.
#[derive(Debug, Clone, Copy)]
pub struct AttemptCounts {
    /// Claims, including the one that has just failed.
    pub attempts: i32,
    /// Failures before the current one.
    pub failures: i32,
}

/// Maps an error and the attempt counts to a disposition. `draw` is uniform in `0.0..1.0`.
#[must_use]
pub fn decide(error: &ExecuteError, counts: AttemptCounts, draw: f64) -> Disposition {
    let kind = match error {
        ExecuteError::LeaseLost
        | ExecuteError::ShuttingDown
        | ExecuteError::Load(LoadError::LeaseLost | LoadError::Remapped | LoadError::Overtaken) => {
            return Disposition::Release;
        }
        ExecuteError::Extract(ExtractError::TooManyRejects(_))
        | ExecuteError::Load(LoadError::TooManyRejects(_)) => return Disposition::Dead,
        ExecuteError::Unsettled(_) => {
            return Disposition::Defer(DEFERRAL);
        }
        ExecuteError::Load(LoadError::MassDelete { .. })
        | ExecuteError::TimeZone(_)
        | ExecuteError::PrivacyKey(_)
        | ExecuteError::Removed(_)
        | ExecuteError::Config(_) => FailureKind::Configuration,
        ExecuteError::Source(error) | ExecuteError::Extract(ExtractError::Source(error)) => error.kind(),
        ExecuteError::Empty(_)
        | ExecuteError::Panicked(_)
        | ExecuteError::Extract(ExtractError::LoadEnded) => FailureKind::Transient,
        ExecuteError::Load(LoadError::Target { source, .. }) => failure_kind(source),
        ExecuteError::Load(LoadError::Unreachable(source) | LoadError::Ledger(DbError { source, .. }))
        | ExecuteError::Ledger(DbError { source, .. }) => control_failure_kind(source),
    };
    match kind {
        FailureKind::Configuration => Disposition::FailRun,
        FailureKind::Unavailable | FailureKind::Exhausted => {
            Disposition::Wait(UNAVAILABLE_BACKOFF.delay(count(counts.attempts - counts.failures), draw))
        }
        FailureKind::Transient | FailureKind::Timeout | FailureKind::Limit | FailureKind::Data => {
            let failures = counts.failures + 1;
            if failures >= MAX_FAILURES {
                Disposition::Dead
            } else {
                Disposition::Retry(BACKOFF.delay(count(failures), draw))
            }
        }
    }
}

fn count(attempts: i32) -> u32 {
    u32::try_from(attempts).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use tidemark_ledger::reject::{Reject, RejectSide};
    use tidemark_source::SourceError;

    use super::*;
    use crate::rejects::TooManyRejects;

    const FIRST: AttemptCounts = AttemptCounts {
        attempts: 1,
        failures: 0,
    };

    fn failed(failures: i32) -> AttemptCounts {
        AttemptCounts {
            attempts: failures + 1,
            failures,
        }
    }

    fn connection_reset() -> sqlx::Error {
        sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn an_interrupted_attempt_backs_off_and_is_dead_after_the_limit() {
        let merge = ExecuteError::Load(LoadError::Target {
            attempted: "merge rows into the target",
            source: connection_reset(),
        });
        assert_eq!(
            decide(&merge, FIRST, 1.0),
            Disposition::Retry(Duration::from_secs(1))
        );
        assert_eq!(
            decide(&merge, failed(2), 1.0),
            Disposition::Retry(Duration::from_secs(4))
        );
        assert_eq!(decide(&merge, failed(MAX_FAILURES - 1), 1.0), Disposition::Dead);
    }

    #[test]
    fn an_unavailable_server_is_waited_for_without_limit() {
        let unavailable = [
            ExecuteError::Load(LoadError::Unreachable(connection_reset())),
            ExecuteError::Ledger(DbError {
                attempted: "list the tenant's inboxes",
                source: sqlx::Error::PoolTimedOut,
            }),
            ExecuteError::Source(SourceError::Unreachable {
                name: "main".into(),
                server: "chatwoot:5432/chatwoot".into(),
                source: connection_reset(),
            }),
        ];
        for error in unavailable {
            assert_eq!(
                decide(&error, FIRST, 1.0),
                Disposition::Wait(Duration::from_secs(1))
            );
            let often = AttemptCounts {
                attempts: 1_000,
                failures: MAX_FAILURES - 1,
            };
            assert_eq!(
                decide(&error, often, 1.0),
                Disposition::Wait(UNAVAILABLE_BACKOFF.cap)
            );
        }
    }

    #[test]
    fn a_lost_lease_a_shutdown_or_a_later_read_counts_as_no_failure() {
        for error in [
            ExecuteError::LeaseLost,
            ExecuteError::ShuttingDown,
            ExecuteError::Load(LoadError::LeaseLost),
            ExecuteError::Load(LoadError::Remapped),
            ExecuteError::Load(LoadError::Overtaken),
        ] {
            assert_eq!(decide(&error, failed(MAX_FAILURES), 0.5), Disposition::Release);
        }
    }

    #[test]
    fn too_many_rejects_are_not_retried() {
        let too_many = TooManyRejects {
            rejected: 101,
            rows: 1_000,
            last: Reject {
                conversation_id: 7,
                side: RejectSide::Target,
                sqlstate: Some("23514".into()),
                error: "merge rows into the target".into(),
            },
        };
        assert_eq!(
            decide(&ExecuteError::Extract(too_many.clone().into()), FIRST, 0.5),
            Disposition::Dead
        );
        assert_eq!(
            decide(&ExecuteError::Load(too_many.into()), FIRST, 0.5),
            Disposition::Dead
        );
    }

    #[test]
    fn a_wrong_setting_fails_the_run_at_once() {
        assert_eq!(
            decide(&ExecuteError::TimeZone("Mars/Base".into()), FIRST, 0.5),
            Disposition::FailRun
        );
    }
}
