//! Reads that go on without the conversations that the source cannot give: what fails as a whole is read in halves, until
//! the bad conversations stand alone. The snapshot stays the same, so what was handed on before a failure stays good.

use std::collections::HashSet;

use sqlx::raw_sql;
use tidemark_shared::db::reject::{Reject, RejectSide};
use tidemark_shared::report::report;
use tidemark_shared::source::SourceError;
use tidemark_shared::source::view::ViewShape;
use tidemark_shared::sqlstate::sqlstate;

use super::{ExtractError, Extractor};

impl Extractor<'_> {
    /// Takes these conversations without those that the source cannot give or that do not decode.
    pub(super) async fn bisect(
        &mut self,
        view: Option<&ViewShape>,
        keys: &[i64],
    ) -> Result<(), ExtractError> {
        let mut waiting = vec![keys.to_vec()];
        while let Some(keys) = waiting.pop() {
            let (handed_on, withheld) = (self.extracted.found.len(), self.extracted.withheld.len());
            let error = match self.slice(view, &keys).await {
                Ok(()) => continue,
                Err(ExtractError::Source(error)) if error.is_data() => error,
                Err(error) => return Err(error),
            };
            self.back_to_savepoint().await?;
            let withheld = self.extracted.withheld[withheld..].iter();
            let handed_on: HashSet<i64> = self.extracted.found[handed_on..]
                .iter()
                .copied()
                .chain(withheld.map(|one| one.conversation_id))
                .collect();
            let rest: Vec<i64> = keys.into_iter().filter(|key| !handed_on.contains(key)).collect();
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

    /// One for the whole chunk: nothing is written here that going back to it could undo.
    pub(super) async fn savepoint(&mut self) -> Result<(), ExtractError> {
        self.control("SAVEPOINT extract").await
    }

    async fn back_to_savepoint(&mut self) -> Result<(), ExtractError> {
        self.control("ROLLBACK TO SAVEPOINT extract").await
    }

    async fn control(&mut self, statement: &'static str) -> Result<(), ExtractError> {
        raw_sql(statement)
            .execute(self.tx.connection())
            .await
            .map_err(self.source.query_error("set a savepoint"))?;
        Ok(())
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
