//! Reads on when the source fails on single conversations or is too slow.
//!
//! After a data error the keys are read again in halves, until every bad conversation stands alone and is rejected.
//! When the source runs out of time, memory or disk they are read again in smaller parts. The snapshot stays the same, so rows that were sent before the
//! failure stay valid.

use std::collections::HashSet;

use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_postgres::report::report;
use tidemark_postgres::sqlstate::{FailureKind, sqlstate};
use tidemark_source::{Shape, SourceError};

use super::extractor::{ExtractError, Extractor};

impl Extractor<'_> {
    /// Reads these conversations, and rejects those that the source cannot read or that do not decode.
    pub(super) async fn read_bisected(&mut self, shape: &Shape, keys: &[i64]) -> Result<(), ExtractError> {
        let mut pending = vec![keys.to_vec()];
        while let Some(mut keys) = pending.pop() {
            if keys.len() > self.key_limit {
                pending.push(keys.split_off(self.key_limit));
            }
            let (done, withheld) = (self.extracted.found.len(), self.extracted.withheld.len());
            let error = match self.read_keys(shape, &keys).await {
                Ok(()) => continue,
                Err(ExtractError::Source(error)) if error.is_data() || error.kind().may_fit_in_parts() => {
                    error
                }
                Err(error) => return Err(error),
            };
            // a rollback loses nothing: the source's transaction only reads
            self.tx
                .roll_back_to_start()
                .await
                .map_err(self.source.query_error("go back to a savepoint"))?;
            let withheld = self.extracted.withheld[withheld..].iter();
            let done: HashSet<i64> = self.extracted.found[done..]
                .iter()
                .copied()
                .chain(withheld.map(|one| one.conversation_id))
                .collect();
            let keys_read = keys.len();
            let rest: Vec<i64> = keys.into_iter().filter(|key| !done.contains(key)).collect();
            if error.kind().may_fit_in_parts() {
                if keys_read == 1 {
                    return Err(error.into());
                }
                // read the rest of the chunk in smaller parts too, so that few further statements fail
                self.key_limit = (keys_read / divisor(error.kind())).max(1);
                tracing::warn!(error = %report(&error), key_limit = self.key_limit, "reading fewer conversations at once");
                if !rest.is_empty() {
                    pending.push(rest);
                }
                continue;
            }
            match rest[..] {
                [] => {}
                [conversation_id] => {
                    self.extracted.found.push(conversation_id);
                    self.rejects.push(unreadable(conversation_id, &error))?;
                }
                _ => {
                    let (first, second) = rest.split_at(rest.len() / 2);
                    pending.extend([second.to_vec(), first.to_vec()]);
                }
            }
        }
        Ok(())
    }
}

/// How much smaller the next part is. A source without memory or disk is not to be asked ten times an attempt.
const fn divisor(kind: FailureKind) -> usize {
    match kind {
        FailureKind::Timeout => 2,
        _ => 8,
    }
}

fn unreadable(conversation_id: i64, error: &SourceError) -> Reject {
    Reject {
        conversation_id,
        side: RejectSide::Source,
        sqlstate: match error {
            SourceError::Query { source, .. } => sqlstate(source),
            _ => None,
        },
        error: report(error),
    }
}
