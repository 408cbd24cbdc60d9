//! Rows as PostgreSQL's COPY reads them in binary, with a hash over their content.
//!
//! A NULL is a length of -1 and an empty text a length of 0, and every value starts with its length: equal bytes
//! mean equal rows, and the hash over the bytes is a hash over the content.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use super::columns::{COLUMNS, TargetRow};
use super::copy_value::{CopyValue, write_field};

#[cfg(test)]
mod tests;

/// Signature, no flags, no header extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(crate) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// XXH3-128 of a row's content, as `row_hash` holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowHash(pub [u8; 16]);

/// The digests that the source had for what a row is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of the conversation's own row.
    pub source: i64,
    /// Of its messages and all else that belongs to it.
    pub related: i64,
}

/// Collects rows for `COPY … (tenant_id, …, row_hash) FROM STDIN (FORMAT binary)`; the buffer is kept for reuse.
#[derive(Default)]
pub struct CopyEncoder {
    tuples: Vec<u8>,
    /// Where each row ends in `tuples`.
    ends: Vec<usize>,
    /// Each row's conversation.
    ids: Vec<i64>,
}

impl CopyEncoder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a row with its hash.
    pub fn push(&mut self, row: &TargetRow<'_>, digests: Digests) -> RowHash {
        // hash and digests follow the content
        let field_count = i16::try_from(COLUMNS.len() + 3).expect("PostgreSQL has at most 1600 columns");
        field_count.write(&mut self.tuples);
        let content = self.tuples.len();
        row.write(&mut self.tuples);
        let hash = RowHash(xxh3_128(&self.tuples[content..]).to_be_bytes());
        write_field(&hash, &mut self.tuples);
        write_field(&digests.source, &mut self.tuples);
        write_field(&digests.related, &mut self.tuples);
        self.ends.push(self.tuples.len());
        self.ids.push(row.identity.conversation_id);
        hash
    }

    #[must_use]
    pub fn row_count(&self) -> usize {
        self.ends.len()
    }

    /// The conversation of a row.
    ///
    /// # Panics
    /// When the row is not within `0..row_count()`.
    #[must_use]
    pub fn conversation_id(&self, row: usize) -> i64 {
        self.ids[row]
    }

    /// Bytes of all rows.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.tuples.len()
    }

    /// The rows of that range, to go between the header and the trailer of a COPY: so a refused load can be bisected
    /// without encoding anything again.
    ///
    /// # Panics
    /// When the range is not within `0..row_count()`.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> &[u8] {
        let start_of = |row: usize| if row == 0 { 0 } else { self.ends[row - 1] };
        &self.tuples[start_of(rows.start)..start_of(rows.end)]
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.tuples.clear();
        self.ends.clear();
        self.ids.clear();
    }
}

impl CopyValue for RowHash {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}
