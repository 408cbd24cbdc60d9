//! The digest of a whole row, computed by the target and stored in its column `row_digest`. It detects a row that
//! something other than a load has changed. Rows that are marked deleted have no digest.
//!
//! The digest is the XOR of three parts: content, time of the first insert, bookkeeping. An update keeps the time of
//! the first insert, and can exchange that part alone.
//!
//! [`Hashing`] selects the hash function. A digest is written with the best function of the server, and checked with
//! all of them: after a move to a newer server, rows still have digests of the older one.

use sqlx::PgConnection;

use crate::row::columns::{Column, digested};

/// The bookkeeping columns that a load writes with every change, without the one that marks a row deleted.
const BOOKKEEPING: [&str; 6] = [
    "etl_run_id",
    "etl_updated_at",
    "source_extracted_at",
    "source_epoch",
    "source_xmax",
    "source_in_progress",
];
/// The first PostgreSQL version that hashes whole rows.
const HASHES_RECORDS: u32 = 140_000;

/// How the server hashes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// Column by column, with the hash function of each type.
    Records,
    /// The row as one text, before PostgreSQL 14.
    Texts,
}

impl Hashing {
    #[must_use]
    pub fn of(connection: &PgConnection) -> Self {
        match connection.server_version_num() {
            Some(version) if version < HASHES_RECORDS => Self::Texts,
            _ => Self::Records,
        }
    }

    fn hash(self, fields: &str, seed: u8) -> String {
        match self {
            Self::Records => format!("hash_record_extended(ROW({fields}), {seed})"),
            Self::Texts => format!("hashtextextended(ROW({fields})::text, {seed})"),
        }
    }

    /// The hash of the columns that staging has, without the contact's digest.
    fn content(self, table: &str) -> String {
        let fields: Vec<String> = digested()
            .map(|Column { name, .. }| format!("{table}.{name}"))
            .collect();
        self.hash(&fields.join(", "), 0)
    }

    /// The hash of the time of the first insert.
    #[must_use]
    pub fn hash_of_insert_time(self, at: &str) -> String {
        self.hash(at, 1)
    }

    /// The digest of a staged row that is inserted now; `written` are the expressions of its bookkeeping columns.
    #[must_use]
    pub fn digest_of_new_row(self, table: &str, written: [&str; BOOKKEEPING.len()]) -> String {
        let (content, inserted) = (self.content(table), self.hash_of_insert_time("now()"));
        format!("{content} # {inserted} # {}", self.hash(&written.join(", "), 2))
    }

    /// The digest of a row as the target stores it.
    #[must_use]
    pub fn digest_of_stored_row(self, table: &str) -> String {
        let inserted = self.hash_of_insert_time(&format!("{table}.etl_inserted_at"));
        let written = BOOKKEEPING.map(|column| format!("{table}.{column}")).join(", ");
        format!(
            "{} # {inserted} # {}",
            self.content(table),
            self.hash(&written, 2)
        )
    }

    /// The condition that a stored row has no digest, or a wrong one by every hash function. The slower text hash is only
    /// computed when the record hash does not match.
    #[must_use]
    pub fn digest_is_invalid(self, table: &str) -> String {
        let texts = format!(
            "{table}.row_digest IS DISTINCT FROM {}",
            Self::Texts.digest_of_stored_row(table)
        );
        match self {
            Self::Records => format!(
                "CASE WHEN {table}.row_digest = {} THEN false ELSE {texts} END",
                self.digest_of_stored_row(table)
            ),
            Self::Texts => texts,
        }
    }
}
