//! What names a changed conversation: small queries on the source, each with its own count of hits.

pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use chrono::NaiveDateTime;
use sqlx::{AssertSqlSafe, FromRow};
use tidemark_shared::source::digest::CONVERSATION_DIGEST;
use tidemark_shared::source::view::ViewShape;
use tidemark_shared::source::{Source, SourceError, SourceTx};

/// Ids a bucket, when digests are compared.
pub(crate) const BUCKET_WIDTH: i64 = 2_048;

static CONVERSATIONS: LazyLock<String> =
    LazyLock::new(|| include_str!("signals/conversations.sql").replace("{digest}", CONVERSATION_DIGEST));
static DIGESTS_IN_BUCKETS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT c.id::bigint, {CONVERSATION_DIGEST} FROM unnest($2::bigint[]) AS b (bucket) \
         JOIN conversations c ON c.id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 AND c.inbox_id = ANY($1) \
          AND c.inbox_id <> ALL($4) AND c.id <> ALL($5::bigint[]) ORDER BY c.id"
    )
});
const MESSAGES: &str = "SELECT DISTINCT conversation_id::bigint FROM messages \
     WHERE inbox_id = ANY($1) AND (created_at >= $2 OR updated_at >= $2)";
// the index on created_at bounds both; an edit of an older message is found by verification
const RECENT_MESSAGES: &str = "SELECT DISTINCT conversation_id::bigint FROM messages \
     WHERE inbox_id = ANY($1) AND created_at >= $3 AND (created_at >= $2 OR updated_at >= $2)";
// an index that begins with updated_at, or a table of at most so many bytes
const ALL_EDITS_ARE_CHEAP: &str = "SELECT pg_relation_size('messages') <= $1 OR EXISTS ( \
     SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
     WHERE i.indrelid = 'messages'::regclass AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'updated_at')";
const CSAT: &str = "SELECT DISTINCT r.conversation_id FROM csat_survey_responses r \
     JOIN conversations c ON c.id = r.conversation_id \
     WHERE c.inbox_id = ANY($1) AND (r.created_at >= $2 OR r.updated_at >= $2)";
const CONTACTS: &str = "SELECT k.id::bigint, c.id::bigint FROM contacts k \
     LEFT JOIN conversations c ON c.contact_id = k.id AND c.inbox_id = ANY($1) AND c.id <> ALL($3::bigint[]) \
     WHERE k.updated_at >= $2 \
       AND k.account_id IN (SELECT account_id FROM inboxes WHERE id = ANY($1))";
const STRETCHES: &str = "SELECT min(id) AS first, max(id) AS last, count(*) AS count FROM ( \
         SELECT id::bigint AS id, (row_number() OVER (ORDER BY id) - 1) / $2 AS part \
         FROM conversations WHERE inbox_id = ANY($1)) c \
     GROUP BY part ORDER BY part";
/// A table of messages up to this size is looked through in a fraction of a second.
const CHEAP_BYTES: i64 = 256 << 20;

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
    /// Set where the source is read through a view: its rows are then all there is to ask.
    pub shape: Option<&'a ViewShape>,
    pub tx: &'a mut SourceTx,
    pub inboxes: &'a [i32],
    /// Those whose history is left to a backfill: only what changes in them is taken.
    pub unfetched: &'a [i32],
    /// Conversations that are set aside, ascending: their own row cannot be read.
    pub unreadable: Vec<i64>,
}

impl Signals<'_> {
    /// Conversations by bucket, with those that changed since `since`; `None` names none as changed.
    pub(crate) async fn conversations(
        &mut self,
        since: Option<NaiveDateTime>,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        self.conversations_within(since, i64::MIN, i64::MAX).await
    }

    /// The same of the conversations `lo..=hi`; a bucket that lies partly outside is cut.
    pub(crate) async fn conversations_within(
        &mut self,
        since: Option<NaiveDateTime>,
        lo: i64,
        hi: i64,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        let statement = self.shape.map(view::conversations);
        let statement = statement.unwrap_or_else(|| CONVERSATIONS.clone());
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(self.inboxes)
            .bind(since)
            .bind(BUCKET_WIDTH)
            .bind(self.unfetched)
            .bind(lo)
            .bind(hi)
            .bind(&self.unreadable)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed conversations"))
    }

    /// Whether the source shows a conversation, whoever's it is.
    pub(crate) async fn any_conversation(&mut self) -> Result<bool, SourceError> {
        let relation = self
            .shape
            .map_or_else(|| "conversations".to_owned(), ViewShape::relation);
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT FROM {relation})")))
            .fetch_one(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for any conversation"))
    }

    /// Conversations with messages created or edited since. Where the source has no index to find edits by and too many
    /// messages to look through, an edit is found when its message was created at most `window` before.
    pub(crate) async fn messages(
        &mut self,
        since: NaiveDateTime,
        window: Duration,
    ) -> Result<Vec<i64>, SourceError> {
        let error = self.source.query_error("look for new and edited messages");
        let cheap: bool = sqlx::query_scalar(ALL_EDITS_ARE_CHEAP)
            .bind(CHEAP_BYTES)
            .fetch_one(self.tx.connection())
            .await
            .map_err(self.source.query_error("look at the size of its messages"))?;
        let query = if cheap {
            sqlx::query_scalar(MESSAGES).bind(self.inboxes).bind(since)
        } else {
            sqlx::query_scalar(RECENT_MESSAGES)
                .bind(self.inboxes)
                .bind(since)
                .bind(since - window)
        };
        query.fetch_all(self.tx.connection()).await.map_err(error)
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
            .bind(&self.unreadable)
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
        let statement = self.shape.map(view::stretches);
        sqlx::query_as(AssertSqlSafe(statement.unwrap_or_else(|| STRETCHES.to_owned())))
            .bind(self.inboxes)
            .bind(size)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("cut the conversations into ranges"))
    }

    /// The tenant's conversations in these buckets with their digests, ascending.
    pub(crate) async fn digests_in_buckets(
        &mut self,
        buckets: &[i64],
    ) -> Result<Vec<(i64, i64)>, SourceError> {
        let statement = self.shape.map(view::digests_in_buckets);
        let statement = statement.unwrap_or_else(|| DIGESTS_IN_BUCKETS.clone());
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(self.inboxes)
            .bind(buckets)
            .bind(BUCKET_WIDTH)
            .bind(self.unfetched)
            .bind(&self.unreadable)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("list its conversations"))
    }
}
