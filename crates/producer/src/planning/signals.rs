//! Change signals: small queries on the source that name changed conversations, each with its own count.

pub(crate) mod contacts;
pub(crate) mod inboxes;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;
use tidemark_ledger::stored::{Stored, stored};

use chrono::NaiveDateTime;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use tidemark_ledger::sender::KnownSender;
use tidemark_shared::ids::TenantId;
use tidemark_shared::selection::NameOf;
use tidemark_source::digest::conversation_digest;
use tidemark_source::{Shape, Source, SourceError, SourceTx};

use crate::planning::last_change::{Hit, LastChange};
use crate::planning::member::Member;
use crate::planning::signals::inboxes::Inboxes;

/// Ids in one bucket of a comparison of digests.
pub(crate) const BUCKET_WIDTH: i64 = 2_048;
/// The width of one bucket for all ids of a tenant.
pub(crate) const ALL_IDS: i64 = i64::MAX;

const NEXT_XID: &str =
    "SELECT xmax::text::bigint + age(xmax::xid) FROM pg_snapshot_xmax(pg_current_snapshot()) AS s (xmax)";
static CONVERSATIONS: LazyLock<String> =
    LazyLock::new(|| include_str!("signals/conversations.sql").replace("{digest}", &conversation_digest()));
static DIGESTS_IN_BUCKETS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT c.id::bigint, {} FROM unnest($2::bigint[]) AS b (bucket) \
         JOIN conversations c ON c.id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 AND c.inbox_id = ANY($1) \
          AND c.inbox_id <> ALL($4) AND c.id <> ALL($5::bigint[]) ORDER BY c.id",
        conversation_digest()
    )
});
// Statements over a group limit the scan by the earliest instant of the tenants, and each row by the instant of its tenant.
// $1 inboxes, and for each: $2 its tenant, $3 since; $4 the earliest of these
// $5 the latest time of interest: later times are cut to it. {age} stands for the age of the row's version
// $6 and $7 rows that are older than this age and not later than this time are covered (NULL: none is)
const CHANGED: &str = "SELECT m.tenant_id, c.id::bigint AS id, {age} AS age, least({changed_at}::timestamp, $5) AS changed_at \
     FROM unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) \
     JOIN conversations c ON c.inbox_id = m.inbox_id WHERE {changed_at} >= $4 AND {changed_at} >= m.since \
       AND ($6::integer IS NULL OR {age} <= $6 OR {changed_at} > $7)";
const MESSAGES: &str = include_str!("signals/messages.sql");
// whether `messages` has an index that begins with updated_at, or at most $1 bytes
const CAN_SEARCH_ALL_EDITS: &str = "SELECT pg_relation_size('messages') <= $1 OR EXISTS ( \
     SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
     WHERE i.indrelid = 'messages'::regclass AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'updated_at')";
const SENDERS: &str = include_str!("signals/senders.sql");
// $1 to $4 as in CHANGED, $5 only this conversation, or NULL, $6 the latest time, $7 and $8 what is covered
const CSAT: &str = "SELECT m.tenant_id, r.conversation_id::bigint AS id, min({age}) AS age, \
            max(least(greatest(r.created_at, r.updated_at)::timestamp, $6)) AS changed_at \
     FROM csat_survey_responses r JOIN conversations c ON c.id = r.conversation_id \
     JOIN unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) \
       ON m.inbox_id = c.inbox_id \
     WHERE (r.created_at >= $4 OR r.updated_at >= $4) AND (r.created_at >= m.since OR r.updated_at >= m.since) \
       AND ($5::bigint IS NULL OR r.conversation_id = $5) \
       AND ($7::integer IS NULL OR {age} <= $7 OR greatest(r.created_at, r.updated_at) > $8) \
     GROUP BY 1, 2";
const RELATED: &str = include_str!("signals/related.sql");
const STRETCHES: &str = "SELECT min(id) AS first, max(id) AS last, count(*) AS count FROM ( \
         SELECT id::bigint AS id, (row_number() OVER (ORDER BY id) - 1) / $2 AS part \
         FROM conversations WHERE inbox_id = ANY($1)) c \
     GROUP BY part ORDER BY part";
/// A scan of `messages` up to this size takes a fraction of a second.
const SMALL_TABLE_BYTES: i64 = 256 << 20;

/// A signal of rows that belong to a conversation, besides messages and satisfaction answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RelatedSignal {
    Events,
    Slas,
    Participants,
}

impl RelatedSignal {
    pub(crate) const ALL: [Self; 3] = [Self::Events, Self::Slas, Self::Participants];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Slas => "slas",
            Self::Participants => "participants",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == name)
    }
}

#[derive(Debug, FromRow)]
struct RelatedHit {
    kind: String,
    #[sqlx(flatten)]
    hit: Hit,
}

/// A tenant's conversations at the source in one bucket of ids.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct SourceBucket {
    #[sqlx(try_from = "Stored<TenantId>")]
    pub tenant_id: TenantId,
    pub bucket: i64,
    pub count: i64,
    pub digest: String,
    /// Conversations in `count` that changed.
    pub changed_count: i64,
    pub changed_digest: String,
    pub last: i64,
    /// Ids of changed conversations, in no order.
    pub changed: Vec<i64>,
    /// The names that the tenant's conversations show through a view, in its first bucket.
    #[sqlx(default)]
    pub names: Option<Json<Vec<ShownName>>>,
    /// For each of `changed` its digest, the age of its row's version and its time. Empty where the source is read
    /// through a view.
    #[sqlx(default)]
    pub changed_digests: Vec<i64>,
    #[sqlx(default)]
    pub changed_ages: Vec<i32>,
    #[sqlx(default)]
    pub changed_times: Vec<NaiveDateTime>,
}

/// A kind of name, the id, the digest of the texts, and the texts in the order of the target's columns.
pub(crate) type ShownName = (NameOf, i64, String, Vec<Option<String>>);

impl SourceBucket {
    pub(crate) fn digest_sum(&self) -> i128 {
        parse_sum(&self.digest)
    }

    /// The changed conversations with their last changes.
    pub(crate) fn last_changes(&self) -> impl Iterator<Item = (i64, LastChange)> {
        let known = self
            .changed_ages
            .iter()
            .zip(&self.changed_times)
            .map(|(age, changed_at)| LastChange {
                age: *age,
                changed_at: Some(*changed_at),
            });
        let unknown = std::iter::repeat(LastChange::UNKNOWN);
        self.changed.iter().copied().zip(known.chain(unknown))
    }

    /// The count and the sum of the digests of unchanged conversations.
    pub(crate) fn unchanged(&self) -> (i64, i128) {
        let digest = self.digest_sum() - parse_sum(&self.changed_digest);
        (self.count - self.changed_count, digest)
    }
}

/// A sum of digests as PostgreSQL prints it.
pub(crate) fn parse_sum(digests: &str) -> i128 {
    digests
        .parse()
        .expect("64-bit digests of any number of rows add up to less than 127 bits")
}

/// The ids that the signals named, and the count of each signal.
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

/// Reads the signals of a group of tenants inside one snapshot of their source.
pub(crate) struct Signals<'a> {
    pub source: &'a Source,
    /// Of a source that is read through a view, only the view's rows can be read.
    pub shape: &'a Shape,
    pub tx: &'a mut SourceTx,
    /// Excluded conversations, ascending: their own row cannot be read. Always empty for a group of several tenants.
    pub unreadable: Vec<i64>,
}

impl<'a> Signals<'a> {
    pub(crate) const fn new(source: &'a Source, shape: &'a Shape, tx: &'a mut SourceTx) -> Self {
        Self {
            source,
            shape,
            tx,
            unreadable: Vec::new(),
        }
    }

    /// The statement with the age of the row that `alias` names.
    fn aged(&self, statement: &str, placeholder: &str, table: &str, alias: &str) -> String {
        statement.replace(placeholder, &self.shape.row_age(table, alias))
    }

    /// The transaction from which PostgreSQL counts ages, the same until the transaction ends.
    pub(crate) async fn next_xid(&mut self) -> Result<i64, SourceError> {
        sqlx::query_scalar(NEXT_XID)
            .fetch_one(self.tx.connection())
            .await
            .map_err(self.source.query_error("read the next transaction id"))
    }

    /// Makes the transaction usable after a failed statement. It undoes nothing, since nothing is written.
    pub(crate) async fn recover(&mut self) -> Result<(), SourceError> {
        self.tx
            .roll_back_to_start()
            .await
            .map_err(self.source.query_error("go back to a savepoint"))
    }

    /// Conversations by tenant and bucket of `width` ids, with the ids of changed ones. Through a view also the names that
    /// they show, unless no tenant has a `since`.
    pub(crate) async fn conversations(
        &mut self,
        inboxes: &Inboxes,
        width: i64,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        let with_names = inboxes.earliest().is_some();
        self.read_buckets(inboxes, width, None, with_names).await
    }

    /// The same for the ids in `part` only; a bucket that is partly outside is cut.
    pub(crate) async fn conversations_within(
        &mut self,
        inboxes: &Inboxes,
        width: i64,
        part: RangeInclusive<i64>,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        let with_names = inboxes.earliest().is_some();
        self.read_buckets(inboxes, width, Some(part), with_names).await
    }

    /// As [`Self::conversations`], for tenants whose names have been read.
    pub(crate) async fn conversations_without_names(
        &mut self,
        inboxes: &Inboxes,
        width: i64,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        self.read_buckets(inboxes, width, None, false).await
    }

    async fn read_buckets(
        &mut self,
        inboxes: &Inboxes,
        width: i64,
        part: Option<RangeInclusive<i64>>,
        with_names: bool,
    ) -> Result<Vec<SourceBucket>, SourceError> {
        let tables = self.aged(&CONVERSATIONS, "{age}", "conversations", "c");
        let statement = self
            .shape
            .statement(&tables, |shape| view::conversations(shape, with_names));
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&inboxes.ids)
            .bind(stored(&inboxes.tenants))
            .bind(&inboxes.fetched)
            .bind(&inboxes.since)
            .bind(width)
            .bind(part.as_ref().map(|part| *part.start()))
            .bind(part.as_ref().map(|part| *part.end()))
            .bind(&self.unreadable)
            .bind(inboxes.latest())
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed conversations"))
    }

    /// Conversations that changed by their own timestamps. Every tenant must have a `since`.
    pub(crate) async fn changed(&mut self, inboxes: &Inboxes) -> Result<Vec<Hit>, SourceError> {
        let tables = self.aged(CHANGED, "{age}", "conversations", "c");
        let statement = self.shape.statement(&tables, view::changed);
        let earliest = inboxes.earliest();
        let covered = inboxes.covered_by_all();
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&inboxes.ids)
            .bind(stored(&inboxes.tenants))
            .bind(&inboxes.since)
            .bind(earliest)
            .bind(inboxes.latest())
            .bind(covered.map(|covered| covered.age))
            .bind(covered.map(|covered| covered.until))
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for changed conversations"))
    }

    /// Conversations with messages that were created or edited since. Where the source has no index for edits and too many
    /// messages to scan, only edits of messages are found that were created at most `window` before.
    pub(crate) async fn messages(
        &mut self,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
        window: Duration,
        only: Option<i64>,
    ) -> Result<Vec<Hit>, SourceError> {
        let cheap: bool = sqlx::query_scalar(CAN_SEARCH_ALL_EDITS)
            .bind(SMALL_TABLE_BYTES)
            .fetch_one(self.tx.connection())
            .await
            .map_err(self.source.query_error("check the size of its messages"))?;
        let covered = inboxes.covered_by_all();
        let statement = self.aged(MESSAGES, "{age}", "messages", "messages");
        let statement = self.shape.on_tables(&statement);
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&inboxes.ids)
            .bind(stored(&inboxes.tenants))
            .bind(&inboxes.since)
            .bind(earliest)
            .bind((!cheap).then(|| earliest - window))
            .bind(only)
            .bind(inboxes.latest())
            .bind(covered.map(|covered| covered.age))
            .bind(covered.map(|covered| covered.until))
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for new and edited messages"))
    }

    /// Conversations with satisfaction answers that were given or changed since.
    pub(crate) async fn csat(
        &mut self,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
        only: Option<i64>,
    ) -> Result<Vec<Hit>, SourceError> {
        let covered = inboxes.covered_by_all();
        let statement = self.aged(CSAT, "{age}", "csat_survey_responses", "r");
        let statement = self.shape.on_tables(&statement);
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&inboxes.ids)
            .bind(stored(&inboxes.tenants))
            .bind(&inboxes.since)
            .bind(earliest)
            .bind(only)
            .bind(inboxes.latest())
            .bind(covered.map(|covered| covered.age))
            .bind(covered.map(|covered| covered.until))
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for satisfaction answers"))
    }

    /// Conversations with reporting events, states of an SLA or participants that were written since, each with the name of
    /// its signal.
    pub(crate) async fn related(
        &mut self,
        inboxes: &Inboxes,
        earliest: NaiveDateTime,
        only: Option<i64>,
    ) -> Result<Vec<(RelatedSignal, Hit)>, SourceError> {
        let covered = inboxes.covered_by_all();
        let mut statement = RELATED.to_owned();
        for (placeholder, table, alias) in [
            ("{age_of_event}", "reporting_events", "e"),
            ("{age_of_sla}", "applied_slas", "l"),
            ("{age_of_participant}", "conversation_participants", "y"),
        ] {
            statement = self.aged(&statement, placeholder, table, alias);
        }
        let statement = self.shape.on_tables(&statement);
        let found: Vec<RelatedHit> = sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&inboxes.ids)
            .bind(stored(&inboxes.tenants))
            .bind(&inboxes.since)
            .bind(earliest)
            .bind(only)
            .bind(inboxes.latest())
            .bind(covered.map(|covered| covered.age))
            .bind(covered.map(|covered| covered.until))
            .fetch_all(self.tx.connection())
            .await
            .map_err(
                self.source
                    .query_error("look for reporting events, SLAs and participants"),
            )?;
        Ok(found
            .into_iter()
            .filter_map(|found| Some((RelatedSignal::named(&found.kind)?, found.hit)))
            .collect())
    }

    /// The senders that the source deleted.
    pub(crate) async fn deleted_senders(
        &mut self,
        known: Vec<KnownSender>,
    ) -> Result<Vec<KnownSender>, SourceError> {
        let column = |of: fn(&KnownSender) -> i64| -> Vec<i64> { known.iter().map(of).collect() };
        let types: Vec<&str> = known.iter().map(|sender| sender.sender_type.as_str()).collect();
        let deleted: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(self.shape.on_tables(SENDERS).as_ref()))
            .bind(types)
            .bind(column(|sender| sender.sender_id))
            .bind(column(|sender| sender.first_message_id))
            .bind(column(|sender| sender.last_message_id))
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("look for deleted senders of messages"))?;
        let deleted: BTreeSet<usize> = deleted
            .into_iter()
            .filter_map(|position| usize::try_from(position).ok())
            .collect();
        let all = known.into_iter().enumerate();
        Ok(all
            .filter(|(position, _)| deleted.contains(position))
            .map(|(_, sender)| sender)
            .collect())
    }

    /// First id, last id and count of stretches of `size` conversations.
    pub(crate) async fn stretches(
        &mut self,
        inboxes: &[i32],
        size: i32,
    ) -> Result<Vec<(i64, i64, i64)>, SourceError> {
        let statement = self.shape.statement(STRETCHES, view::stretches);
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(inboxes)
            .bind(size)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("cut the conversations into ranges"))
    }

    /// The conversations in these buckets with their digests, ascending, without inboxes that wait for a backfill.
    pub(crate) async fn digests_in_buckets(
        &mut self,
        member: &Member,
        buckets: &[i64],
    ) -> Result<Vec<(i64, i64)>, SourceError> {
        let statement = self
            .shape
            .statement(&DIGESTS_IN_BUCKETS, view::digests_in_buckets);
        sqlx::query_as(AssertSqlSafe(statement.as_ref()))
            .bind(&member.inboxes)
            .bind(buckets)
            .bind(BUCKET_WIDTH)
            .bind(&member.unfetched)
            .bind(&self.unreadable)
            .fetch_all(self.tx.connection())
            .await
            .map_err(self.source.query_error("list its conversations"))
    }
}
