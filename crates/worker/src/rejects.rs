//! What a chunk cannot take, gathered from all sides, and when that is too much.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use tidemark_ledger::reject::{MAX_REJECT_PERCENT, MAX_REJECTS, Reject};

/// Not single rows are wrong, but something else.
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

/// The rejects of one chunk. Extraction and load, side by side, both add to it.
#[derive(Debug)]
pub struct Rejects {
    /// Conversations that do not count; `None` when there is no limit.
    tolerated: Option<HashSet<i64>>,
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    /// Rows of the chunk.
    rows: usize,
    /// Those of `list` that count.
    rejected: usize,
    list: Vec<Reject>,
}

impl Rejects {
    /// `tolerated` are conversations that an earlier run rejected and that did not hinder it: they do not count again.
    #[must_use]
    pub fn new(tolerated: HashSet<i64>) -> Self {
        Self {
            tolerated: Some(tolerated),
            gathered: Mutex::default(),
        }
    }

    /// Takes any number.
    #[must_use]
    pub fn without_limit() -> Self {
        Self {
            tolerated: None,
            gathered: Mutex::default(),
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().expect("no holder of the lock panics")
    }

    /// Says how many rows the chunk has; to be called before anything is rejected.
    pub fn expect_rows(&self, rows: usize) {
        self.gathered().rows = rows;
    }

    /// Adds a reject.
    ///
    /// # Errors
    /// When there are now too many of them for the chunk to go on.
    pub fn push(&self, reject: Reject) -> Result<(), TooManyRejects> {
        let mut gathered = self.gathered();
        let rows = gathered.rows;
        if let Some(tolerated) = &self.tolerated
            && !tolerated.contains(&reject.conversation_id)
        {
            gathered.rejected += 1;
            let rejected = gathered.rejected;
            if rejected > MAX_REJECTS && rejected * 100 > rows * MAX_REJECT_PERCENT {
                return Err(TooManyRejects {
                    rejected,
                    rows,
                    last: reject,
                });
            }
        }
        gathered.list.push(reject);
        Ok(())
    }

    /// All that were added, once.
    #[must_use]
    pub fn take(&self) -> Vec<Reject> {
        std::mem::take(&mut self.gathered().list)
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
        rejects.expect_rows(rows);
        (1..=1_000).find(|id| rejects.push(reject(*id)).is_err())
    }

    #[test]
    fn too_many_is_both_more_than_a_hundred_and_more_than_one_percent() {
        assert_eq!(refused_at(&Rejects::new(HashSet::new()), 1_000), Some(101));
        assert_eq!(refused_at(&Rejects::new(HashSet::new()), 50), Some(101));
        assert_eq!(refused_at(&Rejects::new(HashSet::new()), 30_000), Some(301));
    }

    #[test]
    fn rejects_that_did_not_hinder_an_earlier_run_do_not_count_again() {
        let tolerated = Rejects::new((1..=500).collect());
        assert_eq!(refused_at(&tolerated, 1_000), Some(601));
        assert_eq!(tolerated.take().len(), 600);
        assert_eq!(refused_at(&Rejects::without_limit(), 1_000), None);
    }
}
