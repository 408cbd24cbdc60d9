//! The statements that write rows.

use std::sync::LazyLock;

use sqlx::PgConnection;

use super::row_digest::Hashing;
use crate::row::columns;

static STATEMENTS: LazyLock<[Statements; 2]> =
    LazyLock::new(|| [Hashing::Records, Hashing::Texts].map(Statements::new));

/// What is written, by how the server hashes rows.
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
            .replace("{digest}", &hashing.of_new("s", written))
            .replace("{inserted_now}", &hashing.inserted("EXCLUDED.etl_inserted_at"))
            .replace("{inserted_then}", &hashing.inserted("t.etl_inserted_at"))
            .replace("{disowned}", &hashing.disowns_stored("t"));
        // $1 tenant, $2 ids, $3 the source's clock, $4 run, $5 epoch, $6 xmax, $7 in progress, $8 whether this is a repair: a
        // row that is not as a load left it has no version to go by
        let tombstone = format!(
            "UPDATE conversations_analytics t \
             SET source_deleted_at = $3, etl_run_id = $4, etl_updated_at = now(), source_extracted_at = $3, \
                 source_epoch = $5, source_xmax = $6, source_in_progress = $7, row_digest = NULL \
             WHERE t.tenant_id = $1 AND t.conversation_id = ANY($2) AND t.source_deleted_at IS NULL \
               AND (($5, $6, -$7, $3) >= (t.source_epoch, t.source_xmax, -t.source_in_progress, t.source_extracted_at) \
                    OR ($8 AND {})) \
             RETURNING t.conversation_id, t.inbox_id",
            hashing.disowns_stored("t")
        );
        Self { merge, tombstone }
    }

    pub fn of(connection: &PgConnection) -> &'static Self {
        match Hashing::of(connection) {
            Hashing::Records => &STATEMENTS[0],
            Hashing::Texts => &STATEMENTS[1],
        }
    }
}
