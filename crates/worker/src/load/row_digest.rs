//! The digest that the target itself computes over a row, kept in it as `row_digest`: a row that was changed by anything
//! but a load no longer has the digest that it shows. Rows that are marked deleted have none.
//!
//! Three parts joined by XOR, since an update keeps the moment of the first insert and knows the digest of the rest only
//! as a whole. [`Hashing`] says by which functions. A digest is written by the best that the server has, and compared by all
//! that it has: a database that moved to a newer server brings digests of the older one along.

use sqlx::PgConnection;

use crate::row::columns::{Column, staging};

/// Bookkeeping that a load writes anew with every change; what marks a row deleted is left out.
const WRITTEN: [&str; 6] = [
    "etl_run_id",
    "etl_updated_at",
    "source_extracted_at",
    "source_epoch",
    "source_xmax",
    "source_in_progress",
];
/// The first version that hashes whole rows.
const HASHES_RECORDS: u32 = 140_000;

/// How the server hashes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// Column by column, as each type hashes its values.
    Records,
    /// As one text, before PostgreSQL 14.
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

    /// Over what staging has of the row `table`.
    fn content(self, table: &str) -> String {
        let fields: Vec<String> = staging()
            .map(|Column { name, .. }| format!("{table}.{name}"))
            .collect();
        self.hash(&fields.join(", "), 0)
    }

    /// Over the moment of the first insert.
    #[must_use]
    pub fn inserted(self, at: &str) -> String {
        self.hash(at, 1)
    }

    /// Over a row of staging that is inserted now, with its other bookkeeping as these expressions give it.
    #[must_use]
    pub fn of_new(self, table: &str, written: [&str; WRITTEN.len()]) -> String {
        let (content, inserted) = (self.content(table), self.inserted("now()"));
        format!("{content} # {inserted} # {}", self.hash(&written.join(", "), 2))
    }

    /// Over a row of the target as it is stored.
    #[must_use]
    pub fn of_stored(self, table: &str) -> String {
        let inserted = self.inserted(&format!("{table}.etl_inserted_at"));
        let written = WRITTEN.map(|column| format!("{table}.{column}")).join(", ");
        format!(
            "{} # {inserted} # {}",
            self.content(table),
            self.hash(&written, 2)
        )
    }

    /// A condition: the row of the target as it is stored has no digest, or one that neither hashing gives it. The texts,
    /// which are dearer, are hashed only for a row that is not proven otherwise, and a server that cannot hash records is
    /// not asked to.
    #[must_use]
    pub fn disowns_stored(self, table: &str) -> String {
        let texts = format!(
            "{table}.row_digest IS DISTINCT FROM {}",
            Self::Texts.of_stored(table)
        );
        match self {
            Self::Records => format!(
                "CASE WHEN {table}.row_digest = {} THEN false ELSE {texts} END",
                self.of_stored(table)
            ),
            Self::Texts => texts,
        }
    }
}
