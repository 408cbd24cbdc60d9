//! Counts rows and sums digests by bucket of ids. Each server computes the sums of its own rows, so that equal rows are
//! not transferred.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use tidemark_ledger::stored::Stored;

use sqlx::postgres::PgTransaction;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tidemark_shared::fence::SourceVersion;
use tidemark_shared::ids::TenantId;
use tidemark_source::Shape;
use tidemark_source::digest::{
    conversation_digest, event_digest, message_digest, related_digest, working_hours,
};
use tidemark_source::tables::TableShape;
use tidemark_source::view::ViewShape;

use crate::extract::view;
use crate::load::row_digest::Hashing;

/// Buckets of 2,048 ids: a bucket is an id without its last bits.
pub(super) const BUCKET_BITS: i32 = 11;
/// Buckets of one id: the sums are the digests of that conversation.
pub(super) const ONE_ID_BITS: i32 = 0;
/// How many phones are asked for at once.
pub(super) const MAX_CLIENTS: usize = 10_000;
/// How many keys one query of a view reads.
const KEYS_AT_ONCE: usize = 500;

static CONVERSATIONS: LazyLock<String> = LazyLock::new(|| {
    include_str!("conversations.sql")
        .replace("{digest}", &conversation_digest())
        .replace("{related}", &related_digest())
        .replace("{event}", &event_digest())
        .replace("{working_hours}", &working_hours())
});
static MESSAGES: LazyLock<String> =
    LazyLock::new(|| include_str!("messages.sql").replace("{digest}", &message_digest()));

/// The sums of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub count: i64,
    /// The sum of the digests of the conversations' own rows, modulo 2⁶⁴.
    pub source: u64,
    /// The sum of the digests of all rows that belong to them, modulo 2⁶⁴.
    pub related: u64,
    /// Target rows that cannot be proven: without digests, with a wrong one, or newer than the snapshot.
    pub unproven_count: i64,
}

impl Sums {
    /// Whether these sums of the target and those of the source prove the rows equal.
    pub(super) const fn prove_equal(&self, source: &Self) -> bool {
        self.unproven_count == 0
            && self.count == source.count
            && self.source == source.source
            && self.related == source.related
    }
}

/// Sums by bucket.
pub(super) type Buckets = BTreeMap<i64, Sums>;

/// A range of conversation ids, including both ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdRange {
    pub lo: i64,
    pub hi: i64,
}

/// The parameters that every query of the source takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceQuery<'a> {
    pub inboxes: &'a [i32],
    /// See [`TenantContext::digest_seed`](crate::transform::TenantContext::digest_seed).
    pub digest_seed: &'a str,
}

/// Reduces a sum of 64-bit digests modulo 2⁶⁴.
fn modulo(sum: &str) -> Result<u64, sqlx::Error> {
    let sum: i128 = sum
        .parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(u64::try_from(sum.rem_euclid(1 << 64)).expect("a remainder of 2⁶⁴ fits in 64 bits"))
}

pub(super) async fn source_sums(
    connection: &mut PgConnection,
    shape: &Shape,
    source_query: SourceQuery<'_>,
    range: IdRange,
    bits: i32,
) -> Result<Buckets, sqlx::Error> {
    match shape {
        Shape::Tables(tables) => source_sums_from_tables(connection, tables, source_query, range, bits).await,
        Shape::View(view) => source_sums_from_view(connection, view, source_query, range, bits).await,
    }
}

async fn source_sums_from_tables(
    connection: &mut PgConnection,
    tables: &TableShape,
    source_query: SourceQuery<'_>,
    range: IdRange,
    bits: i32,
) -> Result<Buckets, sqlx::Error> {
    let rows = sqlx::query(AssertSqlSafe(tables.statement(&CONVERSATIONS).as_ref()))
        .bind(range.lo)
        .bind(source_query.inboxes)
        .bind(source_query.digest_seed)
        .bind(range.hi)
        .bind(bits)
        .fetch_all(&mut *connection)
        .await?;
    let mut buckets = Buckets::new();
    for row in rows {
        add(&mut buckets, &row)?;
    }
    let messages: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(tables.statement(&MESSAGES).as_ref()))
        .bind(range.lo)
        .bind(source_query.inboxes)
        .bind(range.hi)
        .bind(bits)
        .fetch_all(connection)
        .await?;
    for (bucket, related) in messages {
        let sums = buckets.entry(bucket).or_default();
        sums.related = sums.related.wrapping_add(modulo(&related)?);
    }
    Ok(buckets)
}

/// Reads the view key by key, as the extraction does. The source computes as much as for a sync, but transfers only sums.
async fn source_sums_from_view(
    connection: &mut PgConnection,
    view: &ViewShape,
    source_query: SourceQuery<'_>,
    range: IdRange,
    bits: i32,
) -> Result<Buckets, sqlx::Error> {
    let select = format!(
        "r.conversation_id >> $4 AS bucket, count(*) AS count, sum(r.digest)::text AS source, sum({})::text AS related",
        view.related_digest()
    );
    let statement = format!("{} GROUP BY 1", view::conversations(view, &select));
    let keys = view::keys_in_range(&mut *connection, view, source_query.inboxes, range.lo, range.hi).await?;
    let mut buckets = Buckets::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let rows = sqlx::query(AssertSqlSafe(statement.as_str()))
            .bind(keys)
            .bind(source_query.inboxes)
            .bind(source_query.digest_seed)
            .bind(bits)
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            add(&mut buckets, &row)?;
        }
    }
    Ok(buckets)
}

fn add(buckets: &mut Buckets, row: &sqlx::postgres::PgRow) -> Result<(), sqlx::Error> {
    let sums = buckets.entry(row.try_get("bucket")?).or_default();
    sums.count += row.try_get::<i64, _>("count")?;
    sums.source = sums.source.wrapping_add(modulo(row.try_get("source")?)?);
    sums.related = sums.related.wrapping_add(modulo(row.try_get("related")?)?);
    Ok(())
}

/// A row whose client is not its contact, and the client's phone in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OtherClient {
    pub conversation: i64,
    pub client: i64,
    pub phone: Option<String>,
}

/// The sums of the target's rows, and those of them whose client is not their contact, ascending. `latest` is the version of
/// the snapshot; `None`: rows that are newer than the snapshot can be proven too.
pub(super) async fn target_sums(
    tx: &mut PgTransaction<'_>,
    tenant: TenantId,
    range: IdRange,
    bits: i32,
    latest: Option<&SourceVersion>,
) -> Result<(Buckets, Vec<OtherClient>), sqlx::Error> {
    let statement =
        include_str!("target.sql").replace("{digest_is_invalid}", &Hashing::of(tx).digest_is_invalid("t"));
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(Stored(tenant))
        .bind(range.lo)
        .bind(range.hi)
        .bind(bits)
        .bind(latest.map(|latest| latest.epoch))
        .bind(latest.map(|latest| latest.snapshot.xmax))
        .bind(latest.map(|latest| latest.snapshot.in_progress))
        .fetch_all(&mut **tx)
        .await?;
    let (mut buckets, mut others) = (Buckets::new(), Vec::new());
    for row in rows {
        add(&mut buckets, &row)?;
        buckets.entry(row.try_get("bucket")?).or_default().unproven_count +=
            row.try_get::<i64, _>("unproven_count")?;
        let ids: Option<Vec<i64>> = row.try_get("ids")?;
        let clients: Option<Vec<i64>> = row.try_get("clients")?;
        let phones: Option<Vec<Option<String>>> = row.try_get("phones")?;
        let found = ids.into_iter().flatten().zip(clients.into_iter().flatten());
        others.extend(
            found
                .zip(phones.into_iter().flatten())
                .map(|((conversation, client), phone)| OtherClient {
                    conversation,
                    client,
                    phone,
                }),
        );
    }
    others.sort_unstable_by_key(|other| other.conversation);
    Ok((buckets, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_differ_by_two_to_the_64_are_equal() {
        assert_eq!(modulo("-1").unwrap(), u64::MAX);
        assert_eq!(modulo("18446744073709551617").unwrap(), 1);
        assert_eq!(modulo("-18446744073709551617").unwrap(), u64::MAX);
        assert!(modulo("1.5").is_err());
    }
}
