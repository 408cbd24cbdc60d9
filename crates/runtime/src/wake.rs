//! How the loops of one process wake each other early. Every loop also has ticks: a lost wake delays work by one tick.

use std::sync::Arc;

use tokio::sync::Notify;

/// The wakes of one process, one for each loop that waits for work.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// A run was requested.
    pub request: Arc<Notify>,
    /// Chunks are pending, or there is room for more chunks in flight.
    pub dispatch: Arc<Notify>,
    /// A chunk has ended.
    pub finalize: Arc<Notify>,
    /// A tenant's first full run has succeeded.
    pub analyze: Arc<Notify>,
}
