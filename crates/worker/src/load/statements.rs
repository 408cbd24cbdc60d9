//! The statements that write rows, in one variant per way the server hashes rows.

use std::sync::LazyLock;

use sqlx::PgConnection;

use super::row_digest::Hashing;
use crate::row::columns;

static STATEMENTS: LazyLock<[Statements; 2]> =
    LazyLock::new(|| [Hashing::Records, Hashing::Texts].map(Statements::new));

pub(super) struct Statements {
    pub merge: String,
    pub tombstone: String,
}

impl Statements {
    fn new(hashing: Hashing) -> Self {
        let written = [
            "$1::bigint",
            "now()",
            "$2::timestamptz",
            "$3::integer",
            "$4::bigint",
            "$5::integer",
        ];
        let merge = include_str!("merge.sql")
            .replace("{columns}", &columns::staging_columns())
            .replace("{updates}", &columns::update_list())
            .replace("{changed}", &columns::changed_list())
            .replace("{digest}", &hashing.digest_of_new_row("s", written))
            .replace(
                "{inserted_now}",
                &hashing.hash_of_insert_time("EXCLUDED.etl_inserted_at"),
            )
            .replace(
                "{inserted_then}",
                &hashing.hash_of_insert_time("t.etl_inserted_at"),
            )
            .replace("{digest_is_invalid}", &hashing.digest_is_invalid("t"));
        let tombstone =
            include_str!("tombstone.sql").replace("{digest_is_invalid}", &hashing.digest_is_invalid("t"));
        Self { merge, tombstone }
    }

    pub fn of(connection: &PgConnection) -> &'static Self {
        match Hashing::of(connection) {
            Hashing::Records => &STATEMENTS[0],
            Hashing::Texts => &STATEMENTS[1],
        }
    }
}
