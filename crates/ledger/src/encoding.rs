//! The encoding of the analytics database. Chatwoot's texts may have any character, so only UTF8 can store them.

use sqlx::PgConnection;

use crate::statements;

statements! {
    FIND_WRONG = include_str!("encoding/find_wrong.sql");
}

/// An encoding other than UTF8.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WrongEncoding {
    pub encoding: String,
    /// Creates another database beside this one.
    pub statement: String,
}

impl WrongEncoding {
    /// What is wrong, and why it cannot be changed.
    #[must_use]
    pub fn problem(&self) -> String {
        format!(
            "its encoding is {}, which cannot store every text of Chatwoot, and PostgreSQL cannot change the encoding of a \
             database: Tidemark needs one with UTF8",
            self.encoding
        )
    }
}

/// The encoding of this database, unless it is UTF8.
pub async fn find_wrong(connection: &mut PgConnection) -> Result<Option<WrongEncoding>, sqlx::Error> {
    sqlx::query_as(FIND_WRONG)
        .persistent(false)
        .fetch_optional(connection)
        .await
}
