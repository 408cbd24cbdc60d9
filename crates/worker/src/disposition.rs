//! What becomes of a chunk whose attempt failed. The one place that decides it; leases lost by workers that vanished are
//! counted by rescue, in `shared/db/chunk.rs`.

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
/// For a server that is away. The cap is what a chunk loses at most after it has come back.
const AWAY: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(15),
};

/// For a comparison that waits for a sync: dispatch brings it forward as soon as it is due.
const UNTIL_DUE: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Due again after this long; one failure more.
    Retry(Duration),
    /// Due again after this long; no failure of the chunk, since a server is away.
    Wait(Duration),
    /// Due again after this long, since what it waits for has not come yet.
    Defer(Duration),
    /// Given up on; an operator may retry it.
    Dead,
    /// Nothing passes until somebody mends it: this chunk is dead and the run's waiting chunks are cancelled.
    FailRun,
    /// Due again at once if no other attempt holds it; nobody's fault.
    Release,
}

impl Disposition {
    /// What it is counted as.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Retry(_) => Outcome::Retry,
            Self::Dead | Self::FailRun => Outcome::Dead,
            Self::Release => Outcome::Released,
            Self::Wait(_) | Self::Defer(_) => Outcome::Postponed,
        }
    }
}

/// How often a chunk was tried.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// Claims, the one that failed now included.
    pub attempts: i32,
    /// Those of them that failed before now.
    pub failures: i32,
}

/// `draw` is uniform in `0.0..1.0`.
#[must_use]
pub fn decide(error: &ExecuteError, tried: Tried, draw: f64) -> Disposition {
    let kind = match error {
        ExecuteError::LeaseLost
        | ExecuteError::ShuttingDown
        | ExecuteError::Load(LoadError::LeaseLost | LoadError::Remapped | LoadError::Overtaken) => {
            return Disposition::Release;
        }
        ExecuteError::Extract(ExtractError::TooManyRejects(_))
        | ExecuteError::Load(LoadError::TooManyRejects(_)) => return Disposition::Dead,
        ExecuteError::Unsettled(_) => {
            return Disposition::Defer(UNTIL_DUE);
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
        FailureKind::Unavailable => {
            Disposition::Wait(AWAY.delay(count(tried.attempts - tried.failures), draw))
        }
        FailureKind::Transient | FailureKind::Timeout | FailureKind::Data => {
            let failures = tried.failures + 1;
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

    const FIRST: Tried = Tried {
        attempts: 1,
        failures: 0,
    };

    fn failed(failures: i32) -> Tried {
        Tried {
            attempts: failures + 1,
            failures,
        }
    }

    fn broken() -> sqlx::Error {
        sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn what_breaks_off_in_the_middle_backs_off_and_ends_dead_after_the_limit() {
        let merge = ExecuteError::Load(LoadError::Target {
            attempted: "merge rows into the target",
            source: broken(),
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
    fn a_server_that_is_away_is_waited_for_however_long_it_takes() {
        let away = [
            ExecuteError::Load(LoadError::Unreachable(broken())),
            ExecuteError::Ledger(DbError {
                attempted: "list the tenant's inboxes",
                source: sqlx::Error::PoolTimedOut,
            }),
            ExecuteError::Source(SourceError::Unreachable {
                name: "main".into(),
                server: "chatwoot:5432/chatwoot".into(),
                source: broken(),
            }),
        ];
        for error in away {
            assert_eq!(
                decide(&error, FIRST, 1.0),
                Disposition::Wait(Duration::from_secs(1))
            );
            let often = Tried {
                attempts: 1_000,
                failures: MAX_FAILURES - 1,
            };
            assert_eq!(decide(&error, often, 1.0), Disposition::Wait(AWAY.cap));
        }
    }

    #[test]
    fn losing_the_lease_shutting_down_or_being_overtaken_spends_no_attempt() {
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
    fn too_many_rejects_are_not_tried_again() {
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
