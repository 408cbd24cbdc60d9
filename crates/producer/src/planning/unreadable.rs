//! Finds conversations whose own row the source cannot read, because a value does not cast or a page is damaged. One such
//! row fails the statement over all conversations of a tenant.
//!
//! The ids are halved until each unreadable conversation is found. Later statements exclude them, and the plan names them like
//! any other hit: the worker cannot read them either, and rejects them. An excluded conversation counts neither as missing
//! nor as gone. A row whose inbox cannot be read belongs to no tenant that could reject it, and still fails the plan.
//!
//! This works on one tenant: a group that cannot be read is halved until one tenant is left.

use sqlx::AssertSqlSafe;
use tidemark_ledger as ledger;
use tidemark_ledger::Attempt;
use tidemark_ledger::reject::MAX_REJECTS;
use tidemark_postgres::DbPool;
use tidemark_shared::ids::TenantId;
use tidemark_source::SourceError;

use crate::planning::error::PlanError;
use crate::planning::signals::inboxes::Inboxes;
use crate::planning::signals::{BUCKET_WIDTH, Signals, SourceBucket};

const SPAN: &str = "SELECT min(id)::bigint, max(id)::bigint FROM conversations WHERE inbox_id = ANY($1)";

impl Signals<'_> {
    /// A tenant's conversations by bucket, without those that cannot be read.
    pub(crate) async fn readable_conversations(
        &mut self,
        db: &DbPool,
        tenant: TenantId,
        inboxes: &Inboxes,
    ) -> Result<Vec<SourceBucket>, PlanError> {
        match self.conversations(inboxes, BUCKET_WIDTH).await {
            Err(error) if error.is_data() => self.recover().await?,
            outcome => return Ok(outcome?),
        }
        // open rejects are planned anyway, so all of them may be excluded: a lasting failure costs no search in every plan
        let mut target = ledger::target::begin(db, tenant).await?;
        self.unreadable = ledger::target::list_open_rejects(&mut target, tenant).await?;
        target.rollback().await.attempt("end the transaction")?;
        match self.conversations(inboxes, BUCKET_WIDTH).await {
            Err(error) if error.is_data() => self.recover().await?,
            outcome => return Ok(outcome?),
        }
        self.exclude_unreadable(inboxes).await?;
        Ok(self.conversations(inboxes, BUCKET_WIDTH).await?)
    }

    /// Finds and excludes the conversations that still make [`Self::conversations`] fail.
    async fn exclude_unreadable(&mut self, inboxes: &Inboxes) -> Result<(), PlanError> {
        let mut found = Vec::new();
        let mut ranges: Vec<(i64, i64)> = self.span(&inboxes.ids).await?.into_iter().collect();
        while let Some((lo, hi)) = ranges.pop() {
            let error = match self.conversations_within(inboxes, BUCKET_WIDTH, lo..=hi).await {
                Ok(_) => continue,
                Err(error) if error.is_data() => error,
                Err(error) => return Err(error.into()),
            };
            self.recover().await?;
            if lo < hi {
                // the mean, rounded down, without an overflow
                let middle = (lo & hi) + ((lo ^ hi) >> 1);
                ranges.extend([(middle + 1, hi), (lo, middle)]);
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
        let statement = self.shape.statement(SPAN, |view| {
            format!(
                "SELECT min(v.conversation_id)::bigint, max(v.conversation_id)::bigint FROM {} v \
                 WHERE v.inbox_id = ANY($1)",
                view.relation()
            )
        });
        let (lo, hi): (Option<i64>, Option<i64>) = sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(inboxes)
            .fetch_one(self.tx.connection())
            .await
            .map_err(self.source.query_error("find the first and last conversation"))?;
        Ok(lo.zip(hi))
    }
}
