//! Copies rows into a table with PostgreSQL's binary COPY format, which needs no escaping.

use anyhow::{Context, Result};
use chrono::NaiveDateTime;
use sqlx::PgConnection;
use uuid::Uuid;

/// Signature, flags and length of the header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
/// PostgreSQL counts microseconds from 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A table and the columns of its rows, in order.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static str,
}

/// Rows of one table.
#[derive(Debug)]
pub struct Rows {
    table: &'static Table,
    bytes: Vec<u8>,
}

impl Rows {
    pub fn new(table: &'static Table) -> Self {
        Self {
            table,
            bytes: HEADER.to_vec(),
        }
    }

    /// Adds a row. The types must match the columns exactly.
    pub fn push(&mut self, fields: &[&dyn Field]) {
        let count = i16::try_from(fields.len()).expect("no table has 32,768 columns");
        self.bytes.extend_from_slice(&count.to_be_bytes());
        for field in fields {
            field.put(&mut self.bytes);
        }
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub async fn copy(mut self, conn: &mut PgConnection) -> Result<()> {
        self.bytes.extend_from_slice(&TRAILER.to_be_bytes());
        let Table { name, columns } = self.table;
        let statement = format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)");
        let context = || format!("copy into {name}");
        let mut copy = conn.copy_in_raw(&statement).await.with_context(context)?;
        copy.send(self.bytes).await.with_context(context)?;
        copy.finish().await.with_context(context)?;
        Ok(())
    }
}

/// A value of a column: its length, then its bytes.
pub trait Field {
    fn put(&self, out: &mut Vec<u8>);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).expect("a value is far below 2 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

impl Field for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.to_be_bytes());
    }
}

impl Field for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.to_be_bytes());
    }
}

impl Field for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.to_be_bytes());
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &[u8::from(*self)]);
    }
}

impl Field for &str {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
}

impl Field for NaiveDateTime {
    fn put(&self, out: &mut Vec<u8>) {
        (self.and_utc().timestamp_micros() - EPOCH_MICROS).put(out);
    }
}

impl Field for Uuid {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(out),
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
}

/// JSON text for a `jsonb` column; a `json` column takes a `&str`.
#[derive(Debug, Clone, Copy)]
pub struct Jsonb(pub &'static str);

impl Field for Jsonb {
    fn put(&self, out: &mut Vec<u8>) {
        let length = i32::try_from(self.0.len() + 1).expect("a value is far below 2 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        // version of the external jsonb format
        out.push(1);
        out.extend_from_slice(self.0.as_bytes());
    }
}
