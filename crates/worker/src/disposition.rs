//! What becomes of a chunk whose attempt failed. The one place that decides it; leases lost by workers that vanished are
//! counted by rescue, in `shared/db/chunk.rs`.

use std::time::Duration;

use tidemark_shared::db::DbError;
use tidemark_shared::retry::Backoff;
use tidemark_shared::source::SourceError;
use tidemark_shared::sqlstate::{FailureKind, failure_kind};

use crate::execute::ExecuteError;
use crate::extract::ExtractError;
use crate::load::LoadError;
use crate::metrics::Outcome;

/// Failed attempts after which a chunk is dead.
const MAX_FAILURES: i32 = 5;
const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Due again after this long; one failure more.
    Retry(Duration),
    /// Given up on; an operator may retry it.
    Dead,
    /// Nothing passes until somebody mends it: this chunk is dead and the run's waiting chunks are cancelled.
    FailRun,
    /// Due again at once; nobody's fault.
    Release,
    /// Somebody else holds the chunk: leave it alone.
    Leave,
}

impl Disposition {
    /// What it is counted as.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Retry(_) => Outcome::Retry,
            Self::Dead | Self::FailRun => Outcome::Dead,
            Self::Release => Outcome::Released,
            Self::Leave => Outcome::Lost,
        }
    }
}

/// `failures` counts the attempts of this chunk that failed before; `draw` is uniform in `0.0..1.0`.
#[must_use]
pub fn decide(error: &ExecuteError, failures: i32, draw: f64) -> Disposition {
    let kind = match error {
        ExecuteError::LeaseLost | ExecuteError::Load(LoadError::LeaseLost) => return Disposition::Leave,
        ExecuteError::ShuttingDown | ExecuteError::Load(LoadError::Remapped | LoadError::Overtaken) => {
            return Disposition::Release;
        }
        ExecuteError::Extract(ExtractError::TooManyRejects(_))
        | ExecuteError::Load(LoadError::TooManyRejects(_)) => return Disposition::Dead,
        ExecuteError::TimeZone(_) | ExecuteError::Config(_) => FailureKind::Configuration,
        ExecuteError::Source(error) | ExecuteError::Extract(ExtractError::Source(error)) => {
            source_kind(error)
        }
        ExecuteError::Extract(ExtractError::LoadEnded) => FailureKind::Transient,
        ExecuteError::Load(LoadError::Target { source, .. })
        | ExecuteError::Load(LoadError::Ledger(DbError { source, .. }))
        | ExecuteError::Ledger(DbError { source, .. }) => failure_kind(source),
    };
    match kind {
        FailureKind::Configuration => Disposition::FailRun,
        _ if failures + 1 >= MAX_FAILURES => Disposition::Dead,
        FailureKind::Transient | FailureKind::Timeout | FailureKind::Data => {
            Disposition::Retry(BACKOFF.delay(u32::try_from(failures + 1).unwrap_or(1), draw))
        }
    }
}

fn source_kind(error: &SourceError) -> FailureKind {
    match error {
        SourceError::Query { source, .. } => failure_kind(source),
        SourceError::Connect(_) => FailureKind::Transient,
        SourceError::Config(_) | SourceError::Schema { .. } | SourceError::WentBack { .. } => {
            FailureKind::Configuration
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::db::reject::{Reject, RejectSide};

    use super::*;
    use crate::rejects::TooManyRejects;

    fn io() -> ExecuteError {
        let source = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        ExecuteError::Ledger(DbError {
            attempted: "claim",
            source,
        })
    }

    #[test]
    fn a_transient_error_backs_off_and_ends_dead_after_the_limit() {
        assert_eq!(decide(&io(), 0, 1.0), Disposition::Retry(Duration::from_secs(1)));
        assert_eq!(decide(&io(), 2, 1.0), Disposition::Retry(Duration::from_secs(4)));
        assert_eq!(decide(&io(), MAX_FAILURES - 1, 1.0), Disposition::Dead);
    }

    #[test]
    fn losing_the_lease_shutting_down_or_being_overtaken_spends_no_attempt() {
        assert_eq!(
            decide(&ExecuteError::LeaseLost, MAX_FAILURES, 0.5),
            Disposition::Leave
        );
        assert_eq!(
            decide(&ExecuteError::ShuttingDown, MAX_FAILURES, 0.5),
            Disposition::Release
        );
        assert_eq!(
            decide(&ExecuteError::Load(LoadError::Remapped), MAX_FAILURES, 0.5),
            Disposition::Release
        );
        assert_eq!(
            decide(&ExecuteError::Load(LoadError::Overtaken), MAX_FAILURES, 0.5),
            Disposition::Release
        );
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
            decide(&ExecuteError::Extract(too_many.clone().into()), 0, 0.5),
            Disposition::Dead
        );
        assert_eq!(
            decide(&ExecuteError::Load(too_many.into()), 0, 0.5),
            Disposition::Dead
        );
    }

    #[test]
    fn a_wrong_setting_fails_the_run_at_once() {
        assert_eq!(
            decide(&ExecuteError::TimeZone("Mars/Base".into()), 0, 0.5),
            Disposition::FailRun
        );
    }
}
