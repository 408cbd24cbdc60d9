//! The rejects of a chunk, and the limit above which the chunk fails.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use tidemark_ledger::reject::{MAX_REJECT_PERCENT, MAX_REJECTS, Reject};

/// So many rejects that the cause is not a few bad rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{rejected} of {rows} rows cannot be taken, and there may be more: these are no single bad rows; \
     the last is conversation {}: {}", last.conversation_id, last.error
)]
pub struct TooManyRejects {
    pub rejected: usize,
    pub rows: usize,
    pub last: Reject,
}

/// The rejects of one chunk. Extraction and load run at the same time and both add to it.
#[derive(Debug)]
pub struct Rejects {
    /// Conversations that do not count towards the limit; `None`: there is no limit.
    tolerated: Option<HashSet<i64>>,
    collected: Mutex<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    /// Rows of the chunk.
    rows: usize,
    /// How many rejects count towards the limit.
    rejected: usize,
    list: Vec<Reject>,
}

impl Rejects {
    /// `tolerated` are conversations that an earlier run rejected without failing: they do not count towards the limit.
    #[must_use]
    pub fn new(tolerated: HashSet<i64>) -> Self {
        Self {
            tolerated: Some(tolerated),
            collected: Mutex::default(),
        }
    }

    /// Accepts any number of rejects.
    #[must_use]
    pub fn without_limit() -> Self {
        Self {
            tolerated: None,
            collected: Mutex::default(),
        }
    }

    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().expect("no holder of the lock panics")
    }

    /// Sets the number of rows of the chunk. Call it before the first reject.
    pub fn set_row_count(&self, rows: usize) {
        self.collected().rows = rows;
    }

    /// Adds a reject.
    ///
    /// # Errors
    /// When the limit is exceeded: the chunk has to fail.
    pub fn push(&self, reject: Reject) -> Result<(), TooManyRejects> {
        let mut collected = self.collected();
        let rows = collected.rows;
        if let Some(tolerated) = &self.tolerated
            && !tolerated.contains(&reject.conversation_id)
        {
            collected.rejected += 1;
            let rejected = collected.rejected;
            if rejected > MAX_REJECTS && rejected * 100 > rows * MAX_REJECT_PERCENT {
                return Err(TooManyRejects {
                    rejected,
                    rows,
                    last: reject,
                });
            }
        }
        collected.list.push(reject);
        Ok(())
    }

    /// Removes and returns all rejects.
    #[must_use]
    pub fn take(&self) -> Vec<Reject> {
        std::mem::take(&mut self.collected().list)
    }
}

#[cfg(test)]
mod tests {
    use tidemark_ledger::reject::RejectSide;

    use super::*;

    fn reject(conversation_id: i64) -> Reject {
        Reject {
            conversation_id,
            side: RejectSide::Source,
            sqlstate: None,
            error: "unreadable".into(),
        }
    }

    fn refused_at(rejects: &Rejects, rows: usize) -> Option<i64> {
        rejects.set_row_count(rows);
        (1..=1_000).find(|id| rejects.push(reject(*id)).is_err())
    }

    #[test]
    fn too_many_is_both_more_than_a_hundred_and_more_than_one_percent() {
        assert_eq!(refused_at(&Rejects::new(HashSet::new()), 1_000), Some(101));
        assert_eq!(refused_at(&Rejects::new(HashSet::new()), 50), Some(101));
        assert_eq!(refused_at(&Rejects::new(HashSet::new()), 30_000), Some(301));
    }

    #[test]
    fn rejects_that_an_earlier_run_tolerated_do_not_count_again() {
        let tolerated = Rejects::new((1..=500).collect());
        assert_eq!(refused_at(&tolerated, 1_000), Some(601));
        assert_eq!(tolerated.take().len(), 600);
        assert_eq!(refused_at(&Rejects::without_limit(), 1_000), None);
    }
}
