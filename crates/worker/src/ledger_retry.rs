//! Retries ledger statements while the ledger is unavailable, so that a worker does not lose an outcome.

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

/// Repeats a statement while the ledger is unavailable, until the soft stop.
///
/// # Errors
/// The last error, when it is permanent or the process stops.
pub async fn retry_while_unavailable<T, F>(lifecycle: &Lifecycle, mut ask: impl FnMut() -> F) -> DbResult<T>
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
            tracing::warn!(error = %report(&error), "ledger unavailable, waiting for it");
        }
        tokio::select! {
            () = lifecycle.soft().cancelled() => return Err(error),
            () = tokio::time::sleep(BACKOFF.delay(failures, rand::random())) => {}
        }
    }
}
