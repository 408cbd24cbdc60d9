//! What names a changed conversation: small queries on the source, each with its own count of hits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDateTime;
use sqlx::FromRow;
use tidemark_shared::source::{Source, SourceError, SourceTx};

/// Ids a bucket, when membership is compared.
pub(crate) const BUCKET_WIDTH: i64 = 8_192;

const CONVERSATIONS: &str = include_str!("signals/conversations.sql");
// the index on created_at bounds both; an edit of an older message is found by verification
const MESSAGES: &str = "SELECT DISTINCT conversation_id::bigint FROM messages \
     WHERE inbox_id = ANY($1) AND created_at >= $3 AND (created_at >= $2 OR updated_at >= $2)";
const CSAT: &str = "SELECT DISTINCT r.conversation_id FROM csat_survey_responses r \
     JOIN conversations c ON c.id = r.conversation_id \
     WHERE c.inbox_id = ANY($1) AND (r.created_at >= $2 OR r.updated_at >= $2)";
const CONTACTS: &str = "SELECT k.id::bigint, c.id::bigint FROM contacts k \
     LEFT JOIN conversations c ON c.contact_id = k.id AND c.inbox_id = ANY($1) WHERE k.updated_at >= $2 \
       AND k.account_id IN (SELECT account_id FROM inboxes WHERE id = ANY($1))";
const STRETCHES: &str = "SELECT min(id) AS first, max(id) AS last, count(*) AS count FROM ( \
         SELECT id::bigint AS id, (row_number() OVER (ORDER BY id) - 1) / $2 AS part \
         FROM conversations WHERE inbox_id = ANY($1)) c \
     GROUP BY part ORDER BY part";
const IDS_IN_BUCKETS: &str = "SELECT id::bigint FROM conversations \
     WHERE inbox_id = ANY($1) AND id / $3 = ANY($2) ORDER BY id";

/// The tenant's conversations in one stretch of ids, as the source has them.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct SourceBucket {
    pub bucket: i64,
    pub count: i64,
    pub digest: String,
    pub last: i64,
    pub changed: Vec<i64>,
}

/// The ids that the signals named, and how many each did.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    pub ids: BTreeSet<i64>,
    pub counts: BTreeMap<String, i64>,
}

impl Hits {
    pub(crate) fn add(&mut self, signal: &str, ids: impl IntoIterator<Item = i64>) {
        let mut count = 0;
        for id in ids {
            self.ids.insert(id);
            count += 1;
        }
        *self.counts.entry(signal.to_owned()).or_default() += count;
    }
}

/// Reads a tenant's signals inside one snapshot of its source.
pub(crate) struct Signals<'a> {
    pub source: &'a Source,
    pub tx: &'a mut SourceTx,
    pub inboxes: &'a [i32],
}

impl Signals<'_> {
    /// Conversations by bucket, with those that changed since `since`; `None` names none as changed.
    pub(crate) async fn conversations(
        &mut self,
        since: Option<NaiveDateTime>,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        sqlx::query_as(CONVERSATIONS)
            .bind(self.inboxes)
            .bind(since)
            .bind(BUCKET_WIDTH)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed conversations"))
    }

    /// Conversations with messages created since, or edited since and created at most `window` before.
    pub(crate) async fn messages(
        &mut self,
        since: NaiveDateTime,
        window: Duration,
    ) -> Result<Vec<i64>, SourceError> {
        sqlx::query_scalar(MESSAGES)
            .bind(self.inboxes)
            .bind(since)
            .bind(since - window)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for new and edited messages"))
    }

    /// Conversations with satisfaction answers given or changed since.
    pub(crate) async fn csat(&mut self, since: NaiveDateTime) -> Result<Vec<i64>, SourceError> {
        sqlx::query_scalar(CSAT)
            .bind(self.inboxes)
            .bind(since)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for satisfaction answers"))
    }

    /// Contacts changed since, and the conversations that are theirs.
    pub(crate) async fn contacts(
        &mut self,
        since: NaiveDateTime,
    ) -> Result<(BTreeSet<i64>, BTreeSet<i64>), SourceError> {
        let rows: Vec<(i64, Option<i64>)> = sqlx::query_as(CONTACTS)
            .bind(self.inboxes)
            .bind(since)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed contacts"))?;
        let contacts = rows.iter().map(|(contact, _)| *contact).collect();
        let conversations = rows
            .iter()
            .filter_map(|(_, conversation)| *conversation)
            .collect();
        Ok((contacts, conversations))
    }

    /// The tenant's id space in stretches of `size` conversations.
    pub(crate) async fn stretches(&mut self, size: i32) -> Result<Vec<(i64, i64, i64)>, SourceError> {
        sqlx::query_as(STRETCHES)
            .bind(self.inboxes)
            .bind(size)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("cut the conversations into ranges"))
    }

    /// The tenant's conversations in these buckets, ascending.
    pub(crate) async fn ids_in_buckets(&mut self, buckets: &[i64]) -> Result<Vec<i64>, SourceError> {
        sqlx::query_scalar(IDS_IN_BUCKETS)
            .bind(self.inboxes)
            .bind(buckets)
            .bind(BUCKET_WIDTH)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("list its conversations"))
    }
}
