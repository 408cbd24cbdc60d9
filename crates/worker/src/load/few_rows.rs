//! Inserts a few encoded rows into staging by statements of up to sixteen rows.
//!
//! A COPY is at least three messages that the server does not answer. The driver leaves Nagle's algorithm on (sqlx 0.9.0,
//! fixed after it by its pull request 4336), and so the last message waits until the server acknowledges the one before:
//! 40 ms. A statement is one message and one answer.

use std::sync::LazyLock;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{AssertSqlSafe, Encode, PgConnection, Postgres, Type};

use crate::row::columns;
use crate::row::encode::CopyEncoder;

/// They are at most five statements, which take less than a COPY, on the same machine and over a network.
const FEW_ROWS: usize = 31;
/// What takes longer than the 40 ms anyway.
const FEW_BYTES: usize = 256 << 10;
/// Rows of one statement. A session prepares one of each size.
const SIZES: [usize; 5] = [16, 8, 4, 2, 1];

static INSERTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| SIZES.map(insert_of));
static TYPES: LazyLock<Vec<Oid>> =
    LazyLock::new(|| columns::staging().map(|column| oid_of(column.sql_type)).collect());

/// Whether the buffer's rows are inserted faster than copied.
pub(super) fn is_few(buffer: &CopyEncoder) -> bool {
    buffer.row_count() <= FEW_ROWS && buffer.byte_count() <= FEW_BYTES
}

/// Inserts the buffer's rows into staging.
pub(super) async fn insert_rows(
    connection: &mut PgConnection,
    buffer: &CopyEncoder,
) -> Result<(), sqlx::Error> {
    let mut next = 0;
    for (size, statement) in SIZES.iter().zip(INSERTS.iter()) {
        while buffer.row_count() - next >= *size {
            let mut insert = sqlx::query(AssertSqlSafe(statement.as_str()));
            for row in next..next + size {
                for (bytes, oid) in buffer.fields(row).zip(TYPES.iter()) {
                    insert = insert.bind(Field { bytes, oid: *oid });
                }
            }
            insert.execute(&mut *connection).await?;
            next += size;
        }
    }
    Ok(())
}

/// Inserts so many rows.
fn insert_of(rows: usize) -> String {
    let width = columns::staging().count();
    let row = |number| {
        let parameters: Vec<String> = (1..=width)
            .map(|column| format!("${}", number * width + column))
            .collect();
        format!("({})", parameters.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO pg_temp.tidemark_staging ({}) VALUES {}",
        columns::staging_columns(),
        rows.join(", ")
    )
}

/// The type of a parameter, without the limits that the column sets. They are the same on every server.
fn oid_of(sql_type: &str) -> Oid {
    let name = sql_type.split('(').next().unwrap_or(sql_type);
    Oid(match name {
        "boolean" => 16,
        "bytea" => 17,
        "bigint" => 20,
        "integer" => 23,
        "text" => 25,
        "integer[]" => 1007,
        "text[]" => 1009,
        "varchar" => 1043,
        "date" => 1082,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        "jsonb" => 3802,
        other => unreachable!("a column of the target has the type {other}"),
    })
}

/// A value as it is encoded for a binary COPY, which is also the encoding of a parameter.
struct Field<'a> {
    bytes: Option<&'a [u8]>,
    oid: Oid,
}

impl Type<Postgres> for Field<'_> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Field<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(bytes) = self.bytes else {
            return Ok(IsNull::Yes);
        };
        buffer.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.oid))
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    use sqlx::Executor;

    use super::*;
    use crate::load::copy::copy_rows;
    use crate::row::encode::Digests;
    use crate::test_server::test_server;
    use crate::transform::tests::any::any_source;

    #[tokio::test]
    async fn inserted_rows_are_the_rows_that_a_copy_stages() {
        let mut server = test_server().await;
        server
            .execute(AssertSqlSafe(format!(
                "CREATE TEMPORARY TABLE tidemark_staging ({})",
                columns::staging_definition()
            )))
            .await
            .unwrap();
        let mut runner = TestRunner::deterministic();
        let mut encoder = CopyEncoder::new();
        for _ in 0..100 {
            let source = any_source().new_tree(&mut runner).unwrap().current();
            encoder.push(
                &source.transform().unwrap(),
                Digests {
                    source: 7,
                    related: 8,
                    contact: Some(9),
                },
            );
        }
        copy_rows(&mut server, &encoder, 0..encoder.row_count())
            .await
            .unwrap();
        server
            .execute(
                "CREATE TEMPORARY TABLE copied AS SELECT * FROM tidemark_staging; TRUNCATE tidemark_staging",
            )
            .await
            .unwrap();
        insert_rows(&mut server, &encoder).await.unwrap();
        let (staged, different): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM tidemark_staging), \
                    (SELECT count(*) FROM (SELECT s::text FROM tidemark_staging s EXCEPT ALL SELECT c::text FROM copied c) d)",
        )
        .fetch_one(&mut server)
        .await
        .unwrap();
        assert_eq!((staged, different), (100, 0));
    }
}
