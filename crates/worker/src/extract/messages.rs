//! Reads messages from Chatwoot's own table by a binary COPY. Rows are decoded in the buffer that they were received
//! in, which costs half as much as rows of a query. A COPY is planned each time, which costs more than that where the
//! conversations are few: their messages are rows of a prepared query, in the same format.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row, ValueRef};
use tidemark_postgres::source_time::SourceTime;
use tidemark_source::digest::{MESSAGE_MARKS, message_digest};

use crate::row::source::{MessageMarks, SourceMessage};

#[cfg(test)]
mod tests;

const CONVERSATIONS: &str = "current_setting('tidemark.conversations')::bigint[]";
/// A COPY takes no parameters: a setting of the transaction passes the ids, and the statement is always the same.
const SET_CONVERSATIONS: &str = "SELECT set_config('tidemark.conversations', $1::bigint[]::text, true)";
/// The statement, for a source that has every column.
pub(super) static SELECT: LazyLock<String> = LazyLock::new(|| {
    include_str!("messages.sql")
        .replace("{marks}", MESSAGE_MARKS)
        .replace("{digest}", &message_digest())
        .replace("{conversations}", CONVERSATIONS)
});
/// Bytes of the signature, the flags and the length of the empty header extension.
const HEADER: usize = 11 + 4 + 4;
const FIELDS: i16 = 14;
/// The field count that marks the end.
const END: i16 = -1;

/// Messages as they are read, ordered by conversation, `created_at` and id.
pub(super) struct MessageStream<'c> {
    rows: BoxStream<'c, Result<Bytes, sqlx::Error>>,
    has_begun: bool,
}

impl<'c> MessageStream<'c> {
    /// A COPY. `select` is [`SELECT`] as the source needs it.
    pub async fn copy(
        connection: &'c mut PgConnection,
        select: &str,
        conversations: &[i64],
    ) -> Result<Self, sqlx::Error> {
        let copy = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        sqlx::query(SET_CONVERSATIONS)
            .bind(conversations)
            .execute(&mut *connection)
            .await?;
        Ok(Self {
            rows: connection.copy_out_raw(&copy).await?,
            has_begun: false,
        })
    }

    /// A prepared query, for few conversations.
    pub fn query(connection: &'c mut PgConnection, select: &str, conversations: &[i64]) -> Self {
        let rows = sqlx::query(AssertSqlSafe(select.replace(CONVERSATIONS, "$1::bigint[]")))
            .bind(conversations.to_vec())
            .fetch(connection)
            .and_then(|row| std::future::ready(as_copied(&row)));
        Self {
            rows: rows.boxed(),
            has_begun: true,
        }
    }

    /// The next message. The server sends one row per protocol message.
    pub async fn try_next(&mut self) -> Result<Option<MessageRow>, sqlx::Error> {
        while let Some(mut row) = self.rows.try_next().await? {
            if !self.has_begun {
                self.has_begun = true;
                if row.len() < HEADER {
                    return Err(malformed());
                }
                drop(row.split_to(HEADER));
            }
            if !row.starts_with(&END.to_be_bytes()) {
                return Ok(Some(MessageRow(row)));
            }
        }
        Ok(None)
    }

    /// Discards the remaining rows. The connection cannot run another statement until the COPY is drained.
    pub async fn drain(mut self) -> Result<(), sqlx::Error> {
        while self.rows.try_next().await?.is_some() {}
        Ok(())
    }
}

/// A row of a query as a binary COPY would send it.
fn as_copied(row: &PgRow) -> Result<Bytes, sqlx::Error> {
    let mut copied = BytesMut::new();
    copied.put_i16(FIELDS);
    for column in 0..row.len() {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            copied.put_i32(-1);
            continue;
        }
        let bytes = value.as_bytes().map_err(sqlx::Error::Decode)?;
        copied.put_i32(i32::try_from(bytes.len()).map_err(|_| malformed())?);
        copied.put_slice(bytes);
    }
    Ok(copied.freeze())
}

/// A row of `messages.sql`.
pub(super) struct MessageRow(Bytes);

/// One decoded message.
pub(super) struct Message<'a> {
    pub conversation_id: i64,
    /// The digest that the source computed for it.
    pub digest: i64,
    pub message: SourceMessage<'a>,
}

impl MessageRow {
    pub fn decode(&self) -> Result<Message<'_>, sqlx::Error> {
        let mut fields = Fields(&self.0);
        if fields.take().map(i16::from_be_bytes) != Some(FIELDS) {
            return Err(malformed());
        }
        let conversation_id = fields.number()?.map(i64::from_be_bytes);
        let message = SourceMessage {
            id: required("id", fields.number()?.map(i64::from_be_bytes))?,
            content: fields.text()?,
            sender_type: fields.text()?,
            sender_id: fields.number()?.map(i64::from_be_bytes),
            created_at: {
                let micros = required("created_at", fields.number()?.map(i64::from_be_bytes))?;
                SourceTime::from_micros(micros).ok_or_else(|| undecodable("created_at is out of range"))?
            },
            message_type: fields.number()?.map(i32::from_be_bytes),
            content_type: fields.number()?.map(i32::from_be_bytes),
            status: fields.number()?.map(i32::from_be_bytes),
            private: required("private", fields.number()?)? != [0],
            sentiment: fields.text()?,
            source_id: fields.text()?,
            marks: MessageMarks::parse(fields.text()?),
        };
        Ok(Message {
            conversation_id: required("conversation_id", conversation_id)?,
            digest: required("digest", fields.number()?.map(i64::from_be_bytes))?,
            message,
        })
    }
}

/// The fields of a row that are not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// The next field; `None` for a NULL, whose length is -1.
    fn next(&mut self) -> Result<Option<&'a [u8]>, sqlx::Error> {
        let length = i32::from_be_bytes(self.take().ok_or_else(malformed)?);
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        let (value, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(Some(value))
    }

    fn number<const LENGTH: usize>(&mut self) -> Result<Option<[u8; LENGTH]>, sqlx::Error> {
        let value = self.next()?;
        value
            .map(|value| value.try_into().map_err(|_| malformed()))
            .transpose()
    }

    fn text(&mut self) -> Result<Option<&'a str>, sqlx::Error> {
        let value = self.next()?;
        value
            .map(|value| std::str::from_utf8(value).map_err(|_| undecodable("a text is not in UTF-8")))
            .transpose()
    }
}

fn required<T>(name: &'static str, value: Option<T>) -> Result<T, sqlx::Error> {
    value.ok_or_else(|| undecodable(&format!("{name} is NULL")))
}

/// This message is bad, and the others are not: a data error.
fn undecodable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a message cannot be read: {what}").into())
}

/// The server does not follow the protocol.
fn malformed() -> sqlx::Error {
    sqlx::Error::Protocol("a binary COPY does not have PostgreSQL's format".to_owned())
}
