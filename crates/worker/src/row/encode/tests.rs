use futures::TryStreamExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::{PgConnection, Row};
use tidemark_postgres::source_time::SourceTime;
use uuid::Uuid;

use super::*;
use crate::row::columns::{
    CONTACT_DIGEST, Column, KEY, RELATED_DIGEST, ROW_HASH, SOURCE_DIGEST, staging_columns,
    staging_definition, update_list,
};
use crate::row::value::{Date, Numeric};
use crate::test_server::test_server;
use crate::transform::tests::any::{AnySource, any_source, any_text, any_time};

const DIGESTS: Digests = Digests {
    source: 7,
    related: 8,
    contact: Some(9),
};

fn sample<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::default();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

fn encoded(sources: &[AnySource]) -> CopyEncoder {
    let mut encoder = CopyEncoder::new();
    for source in sources {
        encoder.push(&source.transform().unwrap(), DIGESTS);
    }
    encoder
}

async fn server_with_staging() -> PgConnection {
    let mut server = test_server().await;
    execute(
        &mut server,
        format!("CREATE TEMPORARY TABLE staging ({})", staging_definition()),
    )
    .await;
    server
}

async fn execute(server: &mut PgConnection, statement: String) -> u64 {
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(server)
        .await
        .unwrap()
        .rows_affected()
}

async fn copy_in(server: &mut PgConnection, statement: &str, parts: [&[u8]; 3]) -> u64 {
    let mut copy = server.copy_in_raw(statement).await.unwrap();
    for part in parts {
        copy.send(part).await.unwrap();
    }
    copy.finish().await.unwrap()
}

/// The parts of a COPY of these rows.
fn copy_of(encoder: &CopyEncoder, rows: Range<usize>) -> [&[u8]; 3] {
    [HEADER, encoder.rows(rows), TRAILER]
}

async fn copy_to_staging(server: &mut PgConnection, parts: [&[u8]; 3]) -> u64 {
    copy_in(
        server,
        &format!("COPY staging ({}) FROM STDIN (FORMAT binary)", staging_columns()),
        parts,
    )
    .await
}

/// The fields of each tuple of a binary COPY.
fn fields(copy: &[u8]) -> Vec<Vec<Option<&[u8]>>> {
    let mut rest = copy.strip_prefix(HEADER).unwrap();
    let mut rows = Vec::new();
    while rest != TRAILER {
        let count = i16::from_be_bytes(take(&mut rest));
        let row = (0..count).map(|_| {
            let length = i32::from_be_bytes(take(&mut rest));
            let length = usize::try_from(length).ok()?;
            rest.split_off(..length)
        });
        rows.push(row.collect());
    }
    rows
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    bytes.split_off(..N).unwrap().try_into().unwrap()
}

fn assert_same_field(column: &Column, sent: Option<&[u8]>, read: Option<&[u8]>) {
    match (column.sql_type, sent, read) {
        // PostgreSQL prints JSON in its own spelling
        ("jsonb", Some(sent), Some(read)) => {
            let parse = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(&json[1..]).unwrap();
            assert_eq!(parse(sent), parse(read), "{}", column.name);
        }
        _ => assert_eq!(sent, read, "{}", column.name),
    }
}

#[tokio::test]
async fn postgresql_holds_every_column_of_any_row() {
    let sources = sample(&any_source(), 200);
    let encoder = encoded(&sources);
    let parts = copy_of(&encoder, 0..sources.len());
    let mut server = server_with_staging().await;
    assert_eq!(copy_to_staging(&mut server, parts).await, 200);

    let statement = "COPY (SELECT * FROM staging ORDER BY row_hash) TO STDOUT (FORMAT binary)";
    let chunks = server.copy_out_raw(statement).await.unwrap();
    let read = chunks.try_collect::<Vec<_>>().await.unwrap().concat();
    let sent = parts.concat();
    let mut sent = fields(&sent);
    sent.sort_by_key(|row| row[COLUMNS.len()]);
    let columns: Vec<_> = COLUMNS
        .iter()
        .copied()
        .chain([ROW_HASH, SOURCE_DIGEST, RELATED_DIGEST, CONTACT_DIGEST])
        .collect();
    for (sent, read) in sent.into_iter().zip(fields(&read)) {
        assert_eq!((sent.len(), read.len()), (columns.len(), columns.len()));
        for ((column, sent), read) in columns.iter().zip(sent).zip(read) {
            assert_same_field(column, sent, read);
        }
    }
}

/// One value of each kind of field.
type Probe = (
    Option<i32>,
    Option<i64>,
    Option<bool>,
    Option<u128>,
    Option<String>,
    Vec<String>,
    Option<SourceTime>,
    Option<Date>,
    (Option<i128>, Option<i128>, Option<i128>),
);

fn any_probe() -> impl Strategy<Value = Probe> {
    // every magnitude, not only the largest
    let scaled = |digits: u32| {
        let number = (0..=digits).prop_flat_map(|digits| -(10_i128.pow(digits) - 1)..10_i128.pow(digits));
        option::of(prop_oneof![3 => number.clone(), 1 => number.prop_map(move |n| n / 10_000 * 10_000)])
    };
    (
        option::of(any::<i32>()),
        option::of(any::<i64>()),
        option::of(any::<bool>()),
        option::of(any::<u128>()),
        option::of(any_text()),
        vec(any_text(), 0..5),
        option::of(any_time()),
        any_time().prop_map(Date::of),
        (scaled(12), scaled(14), scaled(5)),
    )
}

fn decimal_text(scaled: i128, places: u32) -> String {
    let (unit, sign) = (10_u128.pow(places), if scaled < 0 { "-" } else { "" });
    let magnitude = scaled.unsigned_abs();
    format!(
        "{sign}{}.{:0width$}",
        magnitude / unit,
        magnitude % unit,
        width = places as usize
    )
}

#[tokio::test]
async fn values_mean_the_same_to_postgresql() {
    let mut server = test_server().await;
    execute(
        &mut server,
        "CREATE TEMPORARY TABLE probe (position serial, int4 integer, int8 bigint, bool boolean, uuid uuid,
         text text, texts text[], time timestamptz, date date,
         n12 numeric(12,1), n14 numeric(14,1), n5 numeric(5,2))"
            .to_owned(),
    )
    .await;

    let probes = sample(&any_probe(), 1_000);
    let mut tuples = Vec::new();
    for (int4, int8, bool, uuid, text, texts, time, date, (n12, n14, n5)) in &probes {
        tuples.extend_from_slice(&11_i16.to_be_bytes());
        write_field(int4, &mut tuples);
        write_field(int8, &mut tuples);
        write_field(bool, &mut tuples);
        write_field(&uuid.map(Uuid::from_u128), &mut tuples);
        write_field(text, &mut tuples);
        write_field(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &mut tuples);
        write_field(time, &mut tuples);
        write_field(date, &mut tuples);
        write_field(&n12.and_then(Numeric::<12, 1>::from_scaled), &mut tuples);
        write_field(&n14.and_then(Numeric::<14, 1>::from_scaled), &mut tuples);
        write_field(&n5.and_then(Numeric::<5, 2>::from_scaled), &mut tuples);
    }
    let statement = "COPY probe (int4, int8, bool, uuid, text, texts, time, date, n12, n14, n5) FROM STDIN (FORMAT binary)";
    copy_in(&mut server, statement, [HEADER, &tuples, TRAILER]).await;

    let select =
        "SELECT int4::text, int8::text, bool, uuid, text, texts, to_json(time AT TIME ZONE 'UTC') #>> '{}',
                  date - DATE '2000-01-01', n12::text, n14::text, n5::text FROM probe ORDER BY position";
    let rows = sqlx::query(select).fetch_all(&mut server).await.unwrap();
    assert_eq!(rows.len(), probes.len());
    for (row, (int4, int8, bool, uuid, text, texts, time, date, (n12, n14, n5))) in rows.iter().zip(probes) {
        assert_eq!(
            row.get::<Option<String>, _>(0),
            int4.map(|number| number.to_string())
        );
        assert_eq!(
            row.get::<Option<String>, _>(1),
            int8.map(|number| number.to_string())
        );
        assert_eq!(row.get::<Option<bool>, _>(2), bool);
        assert_eq!(row.get::<Option<Uuid>, _>(3), uuid.map(Uuid::from_u128));
        assert_eq!(row.get::<Option<String>, _>(4), text);
        assert_eq!(row.get::<Vec<String>, _>(5), texts);
        assert_eq!(row.get::<Option<String>, _>(6), time.map(|time| time.to_string()));
        assert_eq!(row.get::<Option<i32>, _>(7), date.map(Date::days));
        assert_eq!(
            row.get::<Option<String>, _>(8),
            n12.map(|scaled| decimal_text(scaled, 1))
        );
        assert_eq!(
            row.get::<Option<String>, _>(9),
            n14.map(|scaled| decimal_text(scaled, 1))
        );
        assert_eq!(
            row.get::<Option<String>, _>(10),
            n5.map(|scaled| decimal_text(scaled, 2))
        );
    }
}

#[tokio::test]
async fn an_upsert_made_of_the_lists_replaces_all_but_the_key() {
    let sources = sample(&any_source(), 20);
    let mut newer = sample(&any_source(), 20);
    for (newer, source) in newer.iter_mut().zip(&sources) {
        newer.tenant.tenant_id = source.tenant.tenant_id;
        newer.conversation.id = source.conversation.id;
    }
    let mut server = server_with_staging().await;
    let (columns, key, update) = (staging_columns(), KEY.join(", "), update_list());
    execute(
        &mut server,
        format!("CREATE TEMPORARY TABLE target (LIKE staging, PRIMARY KEY ({key}))"),
    )
    .await;
    for sources in [sources, newer] {
        execute(&mut server, "TRUNCATE staging".to_owned()).await;
        copy_to_staging(&mut server, copy_of(&encoded(&sources), 0..20)).await;
        let upsert = format!(
            "INSERT INTO target ({columns}) SELECT {columns} FROM staging ON CONFLICT ({key}) DO UPDATE SET {update}"
        );
        assert_eq!(execute(&mut server, upsert).await, 20);
    }
    let same = "SELECT count(*) FROM target JOIN staging ON target IS NOT DISTINCT FROM staging";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(same)
            .fetch_one(&mut server)
            .await
            .unwrap(),
        20
    );
}

#[tokio::test]
async fn any_range_of_rows_is_a_copy_of_its_own() {
    let sources = sample(&any_source(), 5);
    let encoder = encoded(&sources);
    let mut server = server_with_staging().await;
    for (rows, count) in [(0..0, 0), (1..3, 2), (4..5, 1), (0..1, 1), (3..4, 1)] {
        assert_eq!(copy_to_staging(&mut server, copy_of(&encoder, rows)).await, count);
    }
    let ids = "SELECT conversation_id FROM staging ORDER BY conversation_id";
    let ids = sqlx::query_scalar::<_, i64>(ids)
        .fetch_all(&mut server)
        .await
        .unwrap();
    let mut expected: Vec<_> = sources.iter().map(|source| source.conversation.id).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

#[test]
fn a_hash_is_of_the_content() {
    for source in sample(&any_source(), 20) {
        let hash = |source: &AnySource| CopyEncoder::new().push(&source.transform().unwrap(), DIGESTS);
        let mut encoder = encoded(&sample(&any_source(), 3));
        let row = source.transform().unwrap();
        assert_eq!(encoder.push(&row, DIGESTS), hash(&source.clone()));

        let mut other = source.clone();
        other.conversation.waiting_since = match other.conversation.waiting_since {
            Some(_) => None,
            None => Some(SourceTime::MIN),
        };
        assert_ne!(hash(&other), hash(&source));
    }
}

#[test]
fn null_and_empty_have_different_hashes() {
    let [mut null, mut empty] = [0; 2].map(|_| sample(&any_source(), 1).remove(0));
    empty.clone_from(&null);
    null.conversation.inbox_timezone = None;
    empty.conversation.inbox_timezone = Some(String::new());
    let hash = |source: &AnySource| CopyEncoder::new().push(&source.transform().unwrap(), DIGESTS);
    assert_ne!(hash(&null), hash(&empty));
}

#[test]
fn a_cleared_encoder_starts_again() {
    let sources = sample(&any_source(), 2);
    let mut encoder = encoded(&sources[..1]);
    let copy = copy_of(&encoder, 0..1).concat();
    assert_eq!(
        (encoder.row_count(), encoder.byte_count()),
        (1, copy.len() - HEADER.len() - TRAILER.len())
    );
    encoder.clear();
    assert_eq!((encoder.row_count(), encoder.byte_count()), (0, 0));
    encoder.push(&sources[0].transform().unwrap(), DIGESTS);
    assert_eq!(copy_of(&encoder, 0..1).concat(), copy);
}
