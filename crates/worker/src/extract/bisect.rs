//! Reads that go on without the conversations that the source cannot give: what fails as a whole is read in halves, until
//! the bad conversations stand alone, and what runs out of time in smaller pieces. The snapshot stays the same, so what was handed on before a failure stays good.

use std::collections::HashSet;

use tidemark_ledger::reject::{Reject, RejectSide};
use tidemark_postgres::report::report;
use tidemark_postgres::sqlstate::{FailureKind, sqlstate};
use tidemark_source::SourceError;
use tidemark_source::view::ViewShape;

use super::{ExtractError, Extractor};

impl Extractor<'_> {
    /// Takes these conversations without those that the source cannot give or that do not decode.
    pub(super) async fn bisect(
        &mut self,
        view: Option<&ViewShape>,
        keys: &[i64],
    ) -> Result<(), ExtractError> {
        let mut waiting = vec![keys.to_vec()];
        while let Some(mut keys) = waiting.pop() {
            if keys.len() > self.at_once {
                waiting.push(keys.split_off(self.at_once));
            }
            let (handed_on, withheld) = (self.extracted.found.len(), self.extracted.withheld.len());
            let error = match self.slice(view, &keys).await {
                Ok(()) => continue,
                Err(ExtractError::Source(error)) if error.is_data() || is_timeout(&error) => error,
                Err(error) => return Err(error),
            };
            // nothing is written here that this could undo
            self.tx
                .roll_back_to_start()
                .await
                .map_err(self.source.query_error("go back to a savepoint"))?;
            let withheld = self.extracted.withheld[withheld..].iter();
            let handed_on: HashSet<i64> = self.extracted.found[handed_on..]
                .iter()
                .copied()
                .chain(withheld.map(|one| one.conversation_id))
                .collect();
            let keys_read = keys.len();
            let rest: Vec<i64> = keys.into_iter().filter(|key| !handed_on.contains(key)).collect();
            if is_timeout(&error) {
                // what is left of the chunk is read in pieces of half the size, so that few statements run out of time
                if keys_read == 1 {
                    return Err(error.into());
                }
                self.at_once = (keys_read / 2).max(1);
                tracing::warn!(error = %report(&error), at_once = self.at_once, "less is read at once");
                if !rest.is_empty() {
                    waiting.push(rest);
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
                    waiting.extend([second.to_vec(), first.to_vec()]);
                }
            }
        }
        Ok(())
    }
}

fn is_timeout(error: &SourceError) -> bool {
    error.kind() == FailureKind::Timeout
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
