//! Plans that go on without the conversations whose own row the source cannot show: a value that does not cast, a page
//! that is damaged. One of them makes the statement over all of a tenant's conversations fail.
//!
//! They are looked for by halving the ids until each stands alone, set aside in the statements that follow, and named to
//! the run like any other hit: the worker cannot read them either, and rejects them. A conversation that is set aside is
//! neither missing nor gone. A row whose inbox cannot be read is nobody's to reject: it still fails the plan.
//!
//! This is for a tenant alone: a group that cannot be read is planned by halves, down to such a tenant.

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::reject::MAX_REJECTS;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_source::SourceError;

use crate::planning::planner::PlanError;
use crate::planning::signals::{BUCKET_WIDTH, Inboxes, Signals, SourceBucket};

impl Signals<'_> {
    /// A tenant's conversations by bucket, those that cannot be read set aside.
    pub(crate) async fn readable_conversations(
        &mut self,
        db: &DbPool,
        tenant: TenantId,
        inboxes: &Inboxes,
    ) -> Result<Vec<SourceBucket>, PlanError> {
        match self.conversations(inboxes, BUCKET_WIDTH).await {
            Err(error) if error.is_data() => self.roll_back_to_start().await?,
            outcome => return Ok(outcome?),
        }
        // whatever was rejected before is taken by this run anyhow, so it may be set aside on suspicion: what fails for
        // long is not searched for in every plan
        let mut target = ledger::target::begin(db, tenant).await?;
        self.unreadable = ledger::target::open_rejects(&mut target, tenant).await?;
        target.rollback().await.attempt("end the transaction")?;
        match self.conversations(inboxes, BUCKET_WIDTH).await {
            Err(error) if error.is_data() => self.roll_back_to_start().await?,
            outcome => return Ok(outcome?),
        }
        self.set_unreadable_aside(inboxes).await?;
        Ok(self.conversations(inboxes, BUCKET_WIDTH).await?)
    }

    /// Finds the conversations that are not yet set aside and make [`Self::conversations`] fail.
    async fn set_unreadable_aside(&mut self, inboxes: &Inboxes) -> Result<(), PlanError> {
        let mut found = Vec::new();
        let mut waiting: Vec<(i64, i64)> = self.span(&inboxes.ids).await?.into_iter().collect();
        while let Some((lo, hi)) = waiting.pop() {
            let error = match self
                .conversations_within(inboxes, BUCKET_WIDTH, Some(lo..=hi))
                .await
            {
                Ok(_) => continue,
                Err(error) if error.is_data() => error,
                Err(error) => return Err(error.into()),
            };
            self.roll_back_to_start().await?;
            if lo < hi {
                // the mean, rounded down, of any two integers
                let middle = (lo & hi) + ((lo ^ hi) >> 1);
                waiting.extend([(middle + 1, hi), (lo, middle)]);
            } else if found.len() < MAX_REJECTS {
                found.push(lo);
            } else {
                return Err(PlanError::TooManyUnreadable(error));
            }
        }
        tracing::warn!(
            conversations = found.len(),
            "conversations cannot be read, their chunks reject them"
        );
        self.unreadable.extend(found);
        self.unreadable.sort_unstable();
        Ok(())
    }

    /// Lowest and highest id of the tenant's conversations.
    async fn span(&mut self, inboxes: &[i32]) -> Result<Option<(i64, i64)>, SourceError> {
        let statement = match self.shape {
            None => "SELECT min(id)::bigint, max(id)::bigint FROM conversations WHERE inbox_id = ANY($1)"
                .to_owned(),
            Some(view) => format!(
                "SELECT min(v.conversation_id)::bigint, max(v.conversation_id)::bigint FROM {} v \
                 WHERE v.inbox_id = ANY($1)",
                view.relation()
            ),
        };
        let (lo, hi): (Option<i64>, Option<i64>) = sqlx::query_as(AssertSqlSafe(statement))
            .bind(inboxes)
            .fetch_one(self.tx.connection())
            .await
            .map_err(
                self.source
                    .query_error("look for the first and last conversation"),
            )?;
        Ok(lo.zip(hi))
    }
}
