//! Encodes rows for PostgreSQL's binary COPY, with a hash of their content.
//!
//! The encoding is unambiguous: equal bytes mean equal rows. So the hash of the bytes is a hash of the content.

use std::ops::Range;

use tidemark_shared::contact_digest::bound_to;
use xxhash_rust::xxh3::xxh3_128;

use super::columns::{COLUMNS, TargetRow};
use super::copy_value::{CopyValue, write_field};

#[cfg(test)]
mod tests;

/// The signature, no flags, no header extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(crate) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// XXH3-128 of a row's content, stored in `row_hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowHash(pub [u8; 16]);

/// The source's digests of the rows that a target row is made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digests {
    /// The digest of the conversation's own row.
    pub source: i64,
    /// The digest of its messages and all other related rows.
    pub related: i64,
    /// The digest of its contact; `None` without one, and where the source is read through a view.
    pub contact: Option<i64>,
}

/// What makes two versions of a row equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub hash: RowHash,
    pub digests: Digests,
}

/// Collects rows for `COPY … (tenant_id, …, contact_digest) FROM STDIN (FORMAT binary)`.
#[derive(Default)]
pub struct CopyEncoder {
    tuples: Vec<u8>,
    /// The end of each row in `tuples`.
    ends: Vec<usize>,
    /// The conversation and content of each row.
    rows: Vec<(i64, Content)>,
}

impl CopyEncoder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a row with its hash.
    pub fn push(&mut self, row: &TargetRow<'_>, digests: Digests) -> RowHash {
        // hash and digests follow the content
        let field_count = i16::try_from(COLUMNS.len() + 4).expect("PostgreSQL has at most 1600 columns");
        field_count.write(&mut self.tuples);
        let content = self.tuples.len();
        row.write(&mut self.tuples);
        let hash = RowHash(xxh3_128(&self.tuples[content..]).to_be_bytes());
        write_field(&hash, &mut self.tuples);
        write_field(&digests.source, &mut self.tuples);
        write_field(&digests.related, &mut self.tuples);
        write_field(
            &digests.contact.map(|digest| bound_to(digest, hash.0)),
            &mut self.tuples,
        );
        self.ends.push(self.tuples.len());
        self.rows
            .push((row.identity.conversation_id, Content { hash, digests }));
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
        self.rows[row].0
    }

    /// Bytes of all rows.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.tuples.len()
    }

    /// The encoded rows of that range, to send between the header and the trailer of a COPY. A refused load is repeated
    /// in halves without encoding again.
    ///
    /// # Panics
    /// When the range is not within `0..row_count()`.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> &[u8] {
        let start_of = |row: usize| if row == 0 { 0 } else { self.ends[row - 1] };
        &self.tuples[start_of(rows.start)..start_of(rows.end)]
    }

    /// Keeps the rows for which `keep`, called with a row's conversation and content, is true.
    pub fn retain(&mut self, mut keep: impl FnMut(i64, Content) -> bool) {
        let rows = std::mem::take(&mut self.rows);
        let ends = std::mem::take(&mut self.ends);
        let (mut start, mut kept) = (0, 0);
        for (row, end) in rows.into_iter().zip(ends) {
            if keep(row.0, row.1) {
                self.tuples.copy_within(start..end, kept);
                kept += end - start;
                self.ends.push(kept);
                self.rows.push(row);
            }
            start = end;
        }
        self.tuples.truncate(kept);
    }

    /// The encoded fields of a row; `None` is NULL.
    ///
    /// # Panics
    /// When the row is not within `0..row_count()`.
    pub fn fields(&self, row: usize) -> impl Iterator<Item = Option<&[u8]>> {
        // behind the number of fields
        let mut rest = &self.rows(row..row + 1)[2..];
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            // NULL has the length -1
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (field, behind) = behind.split_at(length.unwrap_or(0));
            rest = behind;
            Some(length.map(|_| field))
        })
    }

    /// Removes the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.tuples.clear();
        self.ends.clear();
        self.rows.clear();
    }
}

impl CopyValue for RowHash {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}
