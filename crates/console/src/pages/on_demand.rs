//! Answers that cost something: asked for by a person, one at a time, kept with their time.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tidemark_operations::dead_messages::DeadMessages;
use tidemark_operations::doctor::report::DoctorReport;
use tokio::sync::Mutex;

/// An answer with the time at which it was asked for, by the ledger's clock.
#[derive(Debug)]
pub struct Answered<T> {
    pub at: DateTime<Utc>,
    pub answer: Arc<T>,
}

impl<T> Clone for Answered<T> {
    fn clone(&self) -> Self {
        Self {
            at: self.at,
            answer: Arc::clone(&self.answer),
        }
    }
}

/// The last answers. Asking holds the lock, so that only one is asked at a time.
#[derive(Debug, Default)]
pub struct OnDemand {
    pub dead: Mutex<Option<Answered<DeadMessages>>>,
    pub doctor: Mutex<Option<Answered<DoctorReport>>>,
}

impl OnDemand {
    /// After a change the last list is wrong.
    pub async fn forget_dead(&self) {
        *self.dead.lock().await = None;
    }
}
