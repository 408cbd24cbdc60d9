//! Waiting for the ledger: what a worker knows is in its hands until it stands there.

use std::future::Future;
use std::time::Duration;

use tidemark_ledger::DbResult;
use tidemark_postgres::report::report;
use tidemark_runtime::lifecycle::Lifecycle;
use tidemark_shared::retry::Backoff;

const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(10),
};

/// Asks the ledger, and while it is away asks again, until the soft stop.
///
/// # Errors
/// With the last answer, when the ledger refuses or the process stops.
pub async fn until_answered<T, F>(lifecycle: &Lifecycle, mut ask: impl FnMut() -> F) -> DbResult<T>
where
    F: Future<Output = DbResult<T>>,
{
    let mut failures = 0;
    loop {
        let error = match ask().await {
            Err(error) if error.is_temporary() => error,
            answer => return answer,
        };
        failures += 1;
        if failures == 1 {
            tracing::warn!(error = %report(&error), "the ledger does not answer, waiting for it");
        }
        tokio::select! {
            () = lifecycle.soft().cancelled() => return Err(error),
            () = tokio::time::sleep(BACKOFF.delay(failures, rand::random())) => {}
        }
    }
}
