//! The tenants of a sample.

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::{PgConnection, query_as};

use crate::database::Target;

/// An account of the sample, with the facts for registering it as a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampleTenant {
    pub account_id: i32,
    pub name: String,
    /// Lower-case ASCII letters, digits and dashes. Unique in the sample.
    pub slug: String,
    /// IANA name, from the account's first inbox.
    pub timezone: String,
    /// In ascending order.
    pub inbox_ids: Vec<i32>,
    pub conversations: u64,
}

/// The tenants of an existing sample, ordered by account id. Tenants with higher ids are smaller.
///
/// # Errors
/// When the database is not marked as a sample, or cannot be read.
pub async fn describe(url: &str) -> Result<Vec<SampleTenant>> {
    let mut conn = Target::parse(url)?.connect_to_sample().await?;
    tenants(&mut conn).await
}

pub async fn tenants(conn: &mut PgConnection) -> Result<Vec<SampleTenant>> {
    let rows: Vec<(i32, String, String, Vec<i32>, i64)> = query_as(
        "SELECT a.id, a.name, (array_agg(i.timezone ORDER BY i.id))[1], array_agg(i.id ORDER BY i.id), \
                (SELECT count(*) FROM conversations c WHERE c.account_id = a.id) \
         FROM accounts a JOIN inboxes i ON i.account_id = a.id \
         GROUP BY a.id ORDER BY a.id",
    )
    .fetch_all(conn)
    .await
    .context("read the tenants of the sample")?;
    rows.into_iter()
        .map(|(account_id, name, timezone, inbox_ids, conversations)| {
            Ok(SampleTenant {
                account_id,
                slug: slug(&name),
                name,
                timezone,
                inbox_ids,
                conversations: u64::try_from(conversations)?,
            })
        })
        .collect()
}

/// The name in lower case, without accents, with dashes in place of other characters.
fn slug(name: &str) -> String {
    let plain = name
        .to_lowercase()
        .chars()
        .map(without_accent)
        .collect::<String>();
    plain
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

fn without_accent(c: char) -> char {
    match c {
        'á' | 'à' | 'â' | 'ã' => 'a',
        'é' | 'ê' => 'e',
        'í' => 'i',
        'ó' | 'ô' | 'õ' => 'o',
        'ú' => 'u',
        'ç' => 'c',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn a_slug_is_plain_ascii() {
        assert_eq!(slug("Imobiliária Sol & Lua 2"), "imobiliaria-sol-lua-2");
    }
}
