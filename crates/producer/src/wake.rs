//! How the loops of one process wake each other early. Every loop also looks by itself: a lost wake costs a tick.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tidemark_shared::lifecycle::Lifecycle;
use tidemark_shared::pulse;
use tokio::sync::Notify;

/// Wakes of one process.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// Somebody has asked for a run.
    pub request: Arc<Notify>,
    /// Chunks are pending, or room has become free.
    pub dispatch: Arc<Notify>,
    /// A chunk has reached a terminal state.
    pub finalize: Arc<Notify>,
}

/// Waits for a wake, for the next tick (jittered, so that processes do not look in step) or for the stop; `false` when
/// stopping.
pub(crate) async fn pause(wake: &Notify, tick: Duration, lifecycle: &Lifecycle) -> bool {
    pulse::beat();
    let tick = tick.mul_f64(rand::rng().random_range(0.8..1.2));
    tokio::select! {
        () = lifecycle.soft().cancelled() => return false,
        () = wake.notified() => {}
        () = tokio::time::sleep(tick) => {}
    }
    !lifecycle.soft().is_cancelled()
}
